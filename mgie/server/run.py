"""The server process: its socket, and uvicorn on it until Ctrl-C."""

import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from mgie.errors import ConfigError

_GRACE = 30
"""Seconds that running requests have to finish when the server ends."""


class Server(uvicorn.Server):
    """uvicorn's server, which tells when it is ready.

    Args:
        app: the ASGI application.
        on_ready: called once, when requests are answered.
    """

    def __init__(self, app: Any, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE)
        )
        self.on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, then listens."""
        await super().startup(sockets=sockets)
        if self.started:
            self.on_ready()


def bound_socket(host: str, port: int) -> socket.socket:
    """Returns a socket on an address, before anything slow is done; nobody can connect to it yet.

    Args:
        host: name or number of an address of this machine.
        port: 0 takes any that is free.

    Raises:
        ConfigError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot serve on {host}:{port}: {error.strerror or error}; choose another --host or --port"
        ) from error
    return sock


def is_local(sock: socket.socket) -> bool:
    """Returns whether only this machine can reach a socket."""
    host = sock.getsockname()[0]
    return host == "::1" or host.startswith("127.")


def url(sock: socket.socket) -> str:
    """Returns the address of a socket as one types it."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
