"""`mgie demo`: the web demo, served from this machine to its own browser or to others."""

import errno
import importlib.util
import os
import socket
from functools import partial
from typing import Annotated

import typer

from mgie.cli.options import Debug, Device, DType, load_pipeline
from mgie.errors import ConfigError
from mgie.model_folder import BUILT_IN_MODELS, find_model_folder


def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="Model to begin with; repeated: others to choose from. As for mgie edit."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 7860,
    device: Device = None,
    dtype: DType = "float32",
    debug: Debug = False,
) -> None:
    """Serve the web demo."""
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("the demo needs gradio, which is not installed; run: pip install 'mgie[demo]'")
    names = [*(model or []), *BUILT_IN_MODELS]
    for name in names:
        find_model_folder(name)
    check_address(host, port)
    # Read by gradio when it is imported: no counting of users, no look for newer versions.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    print("starting ...", flush=True)
    from mgie.demo.app import build_app, launch
    from mgie.demo.models import Models

    app = build_app(Models(names, partial(load_pipeline, device=device, dtype=dtype)))
    _, url, _ = launch(app, host, port, prevent_thread_lock=True)
    print(f"the demo is at {url} (Ctrl-C ends it)", flush=True)
    app.block_thread()


def check_address(host: str, port: int) -> None:
    """Refuses an address that cannot be listened at.

    Raises:
        ConfigError: the port is taken, or the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} is taken; choose another one with --port") from error
        raise ConfigError(
            f"cannot listen at {host} port {port}: {error.strerror}; try --host 127.0.0.1 or another --port"
        ) from error
