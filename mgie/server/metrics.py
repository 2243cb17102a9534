"""What Prometheus reads at `/metrics`."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mgie.server.errors import CLIENT_LEFT

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


class Metrics:
    """Counters of one server, in a registry of their own: several may live in one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("mgie_requests", "Requests by status", ["status"], registry=registry)
        self.images = Counter("mgie_images", "Edited pictures", registry=registry)
        self.seconds = Histogram(
            "mgie_seconds",
            "Time of a step: an edit's wait in the queue, or one step of a batch",
            ["step"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "mgie_batch_size",
            "Pictures painted together",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self._queue_length = Gauge("mgie_queue_length", "Photos that wait", registry=registry)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Reads the length of the queue from here on."""
        self._queue_length.set_function(length)

    def time(self, seconds: Mapping[str, float]) -> None:
        """Notes the seconds that some steps took."""
        for step, value in seconds.items():
            self.seconds.labels(step).observe(value)

    def text(self) -> bytes:
        """Returns all of it as Prometheus reads it."""
        return generate_latest(self.registry)


class CountRequests:
    """ASGI middleware that counts answers by status; a client that left before its answer is a 499."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status = CLIENT_LEFT

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            self.metrics.requests.labels(str(status)).inc()
