"""The routes: OpenAI's `images/edits` and `models`, health, metrics; who may use them; errors as JSON."""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mgie.errors import CheckpointError, MGIEError
from mgie.models.safety import SafetyChecker
from mgie.pipeline import MGIEPipeline
from mgie.server.batching import BatchWorker, EditResult, QueueFullError, ServerClosedError
from mgie.server.errors import CLIENT_LEFT, APIError, api_error
from mgie.server.files import MEDIA_TYPES, FileStore
from mgie.server.limits import LimitBodies, Limits, busy
from mgie.server.metrics import CountRequests, Metrics
from mgie.server.requests import MAX_FIELD_BYTES, MAX_IMAGES, EditForm, answer, prepare, read_form

T = TypeVar("T")


class ImageEditing:
    """What the routes share: the model behind its queue, the limits, and the files behind links.

    Args:
        pipeline: the model.
        model: the name that it is served under.
        limits: what is taken on.
        safety_checker: looks at the results.
    """

    def __init__(
        self, pipeline: MGIEPipeline, model: str, limits: Limits, safety_checker: SafetyChecker | None
    ) -> None:
        self.model, self.limits = model, limits
        self.defaults = pipeline.defaults
        self.metrics, self.files = Metrics(), FileStore()
        self.worker = BatchWorker(pipeline, limits, self.metrics, safety_checker)
        self.created = int(time.time())
        # Pictures are large, decoded: few at a time are between their file and the queue.
        self._codecs = CapacityLimiter(min(os.cpu_count() or 1, 4))

    async def edit(self, request: Request) -> dict[str, Any]:
        """Returns the answer to a request for edits.

        Raises:
            APIError: the request cannot be followed, or not in time.
            ClientDisconnect: nobody waits for it any more.
        """
        start = time.monotonic()
        kind = request.headers.get("content-type", "")
        if not kind.lower().startswith("multipart/form-data"):
            raise APIError(400, f"the body is {kind[:80] or 'untyped'}; expected multipart/form-data")
        fields = len(EditForm.model_fields)
        async with request.form(
            max_files=MAX_IMAGES + 2, max_fields=2 * fields, max_part_size=MAX_FIELD_BYTES
        ) as form:
            asked = read_form(form)
            if asked.form.model not in (None, self.model):
                raise _no_model(asked.form.model)
            with _refused_when_full():
                self.worker.check_room(len(asked.images))
                ready = await self._in_thread(prepare, asked, self.defaults, self.limits.max_pixels)
                futures = self.worker.submit(ready.tasks)
        results = await self._results(request, futures)

        def keep(content: bytes) -> str:
            name = self.files.add(content, ready.form.output_format)
            return str(request.url_for("file", name=name))

        data = await self._in_thread(answer, ready, results, self.model, keep)
        self.metrics.time({"request": time.monotonic() - start})
        return {
            "created": int(time.time()),
            "data": data,
            "model": self.model,
            "output_format": ready.form.output_format,
        }

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await to_thread.run_sync(lambda: function(*arguments), limiter=self._codecs)

    async def _results(
        self, request: Request, futures: "Sequence[Future[EditResult]]"
    ) -> Sequence[EditResult]:
        """Returns what the worker made; edits that nobody waits for are taken back."""
        edits = asyncio.ensure_future(_all(futures))
        leaving = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait(
                {edits, leaving}, timeout=self.limits.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if edits.done():
                return edits.result()
            if leaving.done():
                raise ClientDisconnect
            raise APIError(
                504, f"the edit was not done after {self.limits.timeout:g} s; try again later", "edit_timeout"
            )
        except ServerClosedError as error:
            raise APIError(503, str(error), "shutting_down") from error
        finally:
            leaving.cancel()
            edits.cancel()
            for future in futures:
                future.cancel()


def create_app(
    pipeline: MGIEPipeline,
    model: str,
    *,
    api_key: str | None = None,
    limits: Limits | None = None,
    safety_checker: SafetyChecker | None = None,
) -> FastAPI:
    """Returns the application; its lifespan starts and ends the thread that edits.

    Args:
        pipeline: the model; it belongs to the application from now on.
        model: the name that it is served under.
        api_key: asked of every client, but for `/health` and results behind links; None lets everybody in.
        limits: what is taken on.
        safety_checker: looks at the results; those that it flags are refused.
    """
    limits = limits or Limits()
    editing = ImageEditing(pipeline, model, limits, safety_checker)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        editing.worker.start()
        try:
            yield
        finally:
            await to_thread.run_sync(editing.worker.close)

    app = FastAPI(title="mgie", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.editing = editing
    app.add_middleware(LimitBodies, limits=limits)
    app.add_middleware(CountRequests, metrics=editing.metrics)
    _add_routes(app, editing, api_key)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return app


def warm_up(pipeline: MGIEPipeline) -> None:
    """Edits a grey picture in one step, so that the first request does not wait for what is set up once."""
    pipeline(Image.new("RGB", (64, 64), "grey"), "make it red", num_inference_steps=1)


def _add_routes(app: FastAPI, editing: ImageEditing, api_key: str | None) -> None:
    def authorised(request: Request) -> None:
        given = request.headers.get("authorization", "")
        expected = f"Bearer {api_key}"
        if api_key and not secrets.compare_digest(given.encode("latin-1"), expected.encode()):
            raise APIError(
                401,
                f"the API key is {'wrong' if given else 'missing'}; "
                "expected the header 'Authorization: Bearer KEY'",
                "invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )

    locked = [Depends(authorised)]
    card = {"id": editing.model, "object": "model", "created": editing.created, "owned_by": "mgie"}

    @app.post("/v1/images/edits", dependencies=locked, openapi_extra=_form_schema())
    async def edits(request: Request) -> JSONResponse:
        return JSONResponse(await editing.edit(request))

    @app.get("/v1/images/files/{name}")
    async def file(name: str) -> Response:
        content = editing.files.get(name)
        if content is None:
            raise APIError(404, "there is no such file, or no longer; edit the picture again", "not_found")
        headers = {"x-content-type-options": "nosniff", "cache-control": "private, max-age=3600"}
        return Response(content, media_type=MEDIA_TYPES[name.rpartition(".")[2]], headers=headers)

    @app.get("/v1/models", dependencies=locked)
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{name:path}", dependencies=locked)
    async def model(name: str) -> dict[str, Any]:
        if name != editing.model:
            raise _no_model(name)
        return card

    @app.get("/health")
    async def health() -> JSONResponse:
        alive = editing.worker.is_alive
        return JSONResponse({"status": "ok" if alive else "stopped"}, 200 if alive else 503)

    @app.get("/metrics", dependencies=locked)
    async def metrics() -> Response:
        return Response(editing.metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def _all(futures: "Sequence[Future[EditResult]]") -> list[EditResult]:
    return [await asyncio.wrap_future(future) for future in futures]


async def _disconnected(request: Request) -> None:
    """Returns when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


@contextlib.contextmanager
def _refused_when_full() -> Any:
    try:
        yield
    except QueueFullError as error:
        raise busy(str(error), error.seconds) from error
    except ServerClosedError as error:
        raise APIError(503, str(error), "shutting_down") from error


def _no_model(name: str | None) -> APIError:
    return APIError(
        404, f"there is no model '{str(name)[:80]}' here; see /v1/models", "model_not_found", "model"
    )


def _form_schema() -> dict[str, Any]:
    schema = EditForm.model_json_schema()
    file = {"type": "string", "format": "binary"}
    schema["properties"] |= {"image": file, "image[]": {"type": "array", "items": file}, "mask": file}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


# Errors, all of them as JSON.


async def _on_api_error(_: Request, error: Any) -> Response:
    return error.response()


async def _on_mgie_error(_: Request, error: Any) -> Response:
    broken = isinstance(error, CheckpointError)
    return (APIError(500, str(error), "server_error") if broken else api_error(error)).response()


async def _on_http_error(_: Request, error: Any) -> Response:
    codes = {404: "not_found", 405: "method_not_allowed"}
    message = {404: "there is no such path", 405: "this path is not for this method"}.get(
        error.status_code, str(error.detail)
    )
    return APIError(
        error.status_code, message, codes.get(error.status_code), headers=error.headers
    ).response()


async def _on_client_left(_: Request, __: Any) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _on_failure(_: Request, __: Any) -> Response:
    return APIError(500, "the server failed; its log says why", "server_error").response()


_HANDLERS: dict[Any, Any] = {
    APIError: _on_api_error,
    MGIEError: _on_mgie_error,
    HTTPException: _on_http_error,
    ClientDisconnect: _on_client_left,
    Exception: _on_failure,
}
