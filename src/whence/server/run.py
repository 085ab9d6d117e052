"""Starts the server on a loopback address, and ends it in order.

Comes in: a home, an address. Goes out: a process that listens until it is told to stop, and then
answers what it has taken, ends what is open, and gives its segment up.
"""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from whence import _extras
from whence.errors import ConfigError
from whence.server import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

PORT = 4318
"""Where exporters of OTLP over HTTP send by default."""
GRACE_S = 10
"""How long requests that are being answered may take when the server is told to stop."""
_PACKAGES = ("litestar", "uvicorn", "opentelemetry.proto.collector.trace.v1.trace_service_pb2")


def serve(
    home: Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    durable: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Listen until the process is interrupted or told to end.

    Args:
        home: The home folder; it is made if there is none.
        host: A loopback address.
        port: The port; 0 for any that is free.
        durable: Bring what was received to the disk before it is answered.
        on_ready: Called with the URL as soon as the server takes requests.

    Raises:
        ConfigError: The address is none of this machine's loopback, or is in use.
        StoreError: The home cannot be used.
        MissingExtraError: The packages of the server are not installed.
    """
    guard.check_bind(host)
    for package in _PACKAGES:
        _extras.require(package, "server", "whence serve")
    import uvicorn  # noqa: PLC0415 - an extra

    from whence.server.app import create_app  # noqa: PLC0415
    from whence.server.intake import Intake  # noqa: PLC0415

    listener = _listen(host, port)
    intake = Intake(home, durable=durable)
    intake.start()
    try:
        config = uvicorn.Config(
            create_app(intake),
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_S,
        )
        bound = listener.getsockname()
        name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        if on_ready is not None:
            on_ready(f"http://{name}:{bound[1]}")
        with _told_to_end():
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        intake.stop()
        listener.close()


@contextmanager
def _told_to_end() -> Generator[None]:
    """Let SIGTERM end the server and not the process, which has something to write still.

    uvicorn passes the signal on when it has stopped, and the default is to end at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that connections wait from now on."""
    name = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in name else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((name, port))
        listener.listen(512)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); "
            "name another port with --port"
        ) from error
    listener.setblocking(False)  # noqa: FBT003 - the one argument of a method of sockets
    return listener
