"""ASGI middleware in front of the routes: how large and how slow a request may be, and how many there are."""

import asyncio
import math
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mgie.server.errors import APIError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server takes on."""

    max_upload_bytes: int = 50 * 2**20
    """Of the body of one request."""
    max_pixels: int = 50_000_000
    """Of all the pictures of one request together."""
    max_queue: int = 64
    """Photos that wait."""
    max_batch: int = 8
    """Pictures painted together."""
    timeout: float = 300.0
    """Seconds until an edit must be done, waiting included."""
    upload_timeout: float = 60.0
    """Seconds until the body of a request must be here."""


class LimitBodies:
    """Refuses bodies that are too large, as soon as that is known, and those that come too slowly.

    Nothing is kept of a body here. An error found while a body is read is raised where the application reads,
    and becomes an answer there.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers it."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            return await self.app(scope, receive, send)
        error = self._refusal(dict(scope["headers"]))
        if error is not None:
            return await error.response()(scope, receive, send)
        self.open += 1
        try:
            await self.app(scope, self._guarded(receive), send)
        finally:
            self.open -= 1

    def _refusal(self, headers: dict[bytes, bytes]) -> APIError | None:
        """Returns what speaks against a request before its body is read."""
        if int(headers.get(b"content-length", b"0")) > self.limits.max_upload_bytes:  # the server checked it
            return self._too_large()
        # Bodies wait on disk, a file each: of these there may be as many again as photos wait to be edited.
        if self.open >= 2 * self.limits.max_queue + self.limits.max_batch:
            return busy(f"{self.open} requests are open", 5)
        return None

    def _guarded(self, receive: Receive) -> Receive:
        """Returns `receive` with limits on bytes and time, until the body has ended."""
        seconds = self.limits.upload_timeout
        num_bytes, deadline, reading = 0, time.monotonic() + seconds, True

        async def guarded() -> Message:
            nonlocal num_bytes, reading
            if not reading:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                raise APIError(
                    408,
                    f"the request was not complete after {seconds:g} s; send smaller pictures",
                    "request_timeout",
                    headers={"connection": "close"},
                ) from None
            num_bytes += len(message.get("body", b""))
            if num_bytes > self.limits.max_upload_bytes:
                raise self._too_large()
            reading = message.get("more_body", False)
            return message

        return guarded

    def _too_large(self) -> APIError:
        most = self.limits.max_upload_bytes / 2**20
        return APIError(
            413, f"the request is too large; expected at most {most:.3g} MB in all", "request_too_large"
        )


def busy(reason: str, seconds: float) -> APIError:
    """Returns the error of a server with too much to do; `seconds` is when to try again."""
    wait = min(max(math.ceil(seconds), 1), 60)
    return APIError(
        429,
        f"{reason}, no more are taken now; try again in {wait} s",
        "rate_limit_exceeded",
        headers={"retry-after": str(wait)},
    )
