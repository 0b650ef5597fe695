"""Running the server until it is told to stop.

In: `Settings` and an address. Out: nothing; it returns after SIGINT or SIGTERM, when running requests are done.
Fails with `UsageError` when the address cannot be had, and with `StoreError`.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn

from wheelsmith.errors import UsageError
from wheelsmith.index.publish import publish
from wheelsmith.index.transactions import open_index
from wheelsmith.index.web.site import render
from wheelsmith.server.app import IndexServer
from wheelsmith.server.timeouts import bounded_protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from wheelsmith.server.settings import Settings


def serve(settings: Settings, host: str, port: int, *, ready: Callable[[str], None]) -> None:
    """Serve the index of `settings`; `ready` is called with its URL when it accepts connections.

    Args:
        settings: how to behave.
        host: address to listen on.
        port: TCP port; 0 lets the system choose.
        ready: hears the URL.

    Raises:
        UsageError: the address cannot be had.
        StoreError: the directory cannot be written.
    """
    server, listener = prepare(settings, host, port)
    with listener:
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listener.getsockname()[1]}/")
        with suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it has stopped
            server.run(sockets=[listener])


def prepare(settings: Settings, host: str, port: int) -> tuple[uvicorn.Server, socket.socket]:
    """Return a server that is ready to `run`, and its listening socket. Raises what `serve` raises."""
    if settings.takes_uploads:
        publish([], settings.root)  # an empty index is one too, and what a dead writer left is finished
        if (directory := settings.directory) is not None:
            render(directory, url=settings.public_url)
    else:
        open_index(settings.root)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"Nothing can listen on {host}:{port}: {error}.", "Give another --host or --port.") from error
    server = IndexServer(settings)
    config = uvicorn.Config(
        server.app,
        http=bounded_protocol(settings, server.quick),
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, int(settings.request_seconds)),
        timeout_graceful_shutdown=max(1, int(settings.stall_seconds)),
    )
    return uvicorn.Server(config), listener
