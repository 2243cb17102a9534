"""`mgie serve`: the HTTP API."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mgie.cli.options import (
    Debug,
    Device,
    DType,
    Model,
    SafetyCheck,
    load_pipeline,
    load_safety_checker,
)
from mgie.errors import ConfigError
from mgie.model_folder import BUILT_IN_MODELS, find_model_folder

_PACKAGES = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")


def serve(
    model: Model = "mgie-tiny",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="MGIE_API_KEY", help="Asked of clients; better given in the environment."),
    ] = None,
    max_upload_mb: Annotated[float, typer.Option(min=0.01, help="Largest request.")] = 50.0,
    max_megapixels: Annotated[
        float, typer.Option(min=0.01, max=100, help="All pictures of one request together.")
    ] = 50.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Photos that wait; more are refused.")] = 64,
    max_batch: Annotated[int, typer.Option(min=1, help="Pictures painted together.")] = 8,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that an edit may take, with its wait.")
    ] = 300.0,
    upload_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a request may take to come.")
    ] = 60.0,
    safety_checker: SafetyCheck = None,
    device: Device = None,
    dtype: DType = "float32",
    debug: Debug = False,
) -> None:
    """Serve edits over HTTP, as OpenAI's images API does (needs the extra `serve`)."""
    folder = find_model_folder(model)
    name = folder.resolve().name if model not in BUILT_IN_MODELS and Path(model).is_dir() else model
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"mgie serve needs {', '.join(missing)}, which is not installed; pip install 'mgie[serve]'"
        )
    from mgie.server.limits import Limits
    from mgie.server.run import Server, bound_socket, is_local, url

    limits = Limits(
        max_upload_bytes=int(max_upload_mb * 2**20),
        max_pixels=int(max_megapixels * 10**6),
        max_queue=max_queue,
        max_batch=max_batch,
        timeout=timeout,
        upload_timeout=upload_timeout,
    )
    with bound_socket(host, port) as sock:
        if not is_local(sock) and not api_key:
            print("mgie: everybody who reaches this address can edit; set MGIE_API_KEY", file=sys.stderr)
        pipeline = load_pipeline(str(folder), device, dtype)
        checker = None if safety_checker is None else load_safety_checker(safety_checker, pipeline)

        from mgie.server.app import create_app, warm_up

        warm_up(pipeline)
        app = create_app(pipeline, name, api_key=api_key, limits=limits, safety_checker=checker)
        server = Server(app, lambda: print(f"serving {name} on {url(sock)}", flush=True))
        server.run(sockets=[sock])
