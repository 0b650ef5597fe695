"""Running the server until it is told to stop.

In: `Settings`, an address, a number of processes. Out: nothing; it returns after SIGINT or SIGTERM, when running
requests are done. Several processes share one listening socket, and one that dies is started again. Fails with
`UsageError` when the address cannot be had, and with `StoreError`.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from wheelsmith.errors import UsageError
from wheelsmith.index.publish import publish
from wheelsmith.index.transactions import open_index
from wheelsmith.index.web.site import render
from wheelsmith.server.app import IndexServer
from wheelsmith.server.timeouts import bounded_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wheelsmith.server.settings import Settings

_LOG = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1  # prctl(2): a process gets a signal when its parent dies


def serve(settings: Settings, host: str, port: int, *, workers: int = 1, ready: Callable[[str], None]) -> None:
    """Serve the index of `settings`; `ready` is called with its URL when it accepts connections.

    Args:
        settings: how to behave.
        host: address to listen on.
        port: TCP port; 0 lets the system choose.
        workers: processes; of a bucket one.
        ready: hears the URL.

    Raises:
        UsageError: the address cannot be had, or a bucket is to have several workers.
        StoreError: the directory cannot be written.
    """
    if workers < 1 or (workers > 1 and settings.directory is None):
        raise UsageError(f"It cannot be served by {workers} processes.", "Give --workers 1, or more for a directory.")
    shown = f"[{host}]" if ":" in host else host
    if workers == 1:
        server, listener = prepare(settings, host, port)
        with listener:
            ready(f"http://{shown}:{listener.getsockname()[1]}/")
            with suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it has stopped
                server.run(sockets=[listener])
        return
    prepare_index(settings)
    with listen(host, port) as listener, tempfile.TemporaryDirectory(prefix="wheelsmith-metrics-") as numbers:
        ready(f"http://{shown}:{listener.getsockname()[1]}/")

        def work() -> None:
            with suppress(KeyboardInterrupt):
                _uvicorn(settings, Path(numbers)).run(sockets=[listener])

        _supervise(work, workers)


def prepare(settings: Settings, host: str, port: int) -> tuple[uvicorn.Server, socket.socket]:
    """Return a server that is ready to `run`, and its listening socket. Raises what `serve` raises."""
    prepare_index(settings)
    listener = listen(host, port)
    try:
        return _uvicorn(settings, None), listener
    except BaseException:
        listener.close()
        raise


def prepare_index(settings: Settings) -> None:
    """Make sure that there is an index, and that its pages for people are there.

    Raises:
        UsageError: it is served read-only, and there is none.
        StoreError: it cannot be written.
    """
    if not settings.takes_uploads:
        open_index(settings.root)
        return
    publish([], settings.root)  # an empty index is one too, and what a dead writer left is finished
    if (directory := settings.directory) is not None:
        render(directory, url=settings.public_url)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        UsageError: the address cannot be had.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"Nothing can listen on {host}:{port}: {error}.", "Give another --host or --port.") from error
    return listener


def _uvicorn(settings: Settings, numbers: Path | None) -> uvicorn.Server:
    server = IndexServer(settings, numbers)
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
    logging.getLogger("uvicorn.error").addFilter(_is_not_noise)  # strangers could fill a disk with it
    return uvicorn.Server(config)


def _is_not_noise(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("Invalid HTTP request", "Unsupported upgrade", "No supported WebSocket"))


def _supervise(work: Callable[[], None], count: int) -> None:
    """Run `work` in `count` processes until this one is told to stop; none of them outlives it."""
    running: set[int] = set()
    stopping = False

    def stop(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    parent = os.getpid()
    try:
        while running or not stopping:
            while len(running) < count and not stopping:
                if (pid := os.fork()) == 0:
                    _become(work, before, parent)
                running.add(pid)
                if stopping:
                    stop(0, None)
            try:
                pid, status = os.wait()
            except ChildProcessError:
                return
            running.discard(pid)
            if not stopping:
                _LOG.error("a process of the server ended (%s) and is started again", status)
                time.sleep(0.5)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _become(work: Callable[[], None], handlers: Mapping[signal.Signals, object], parent: int) -> None:
    """Be a worker, and end."""
    code = 1
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == parent:
            work()
            code = 0
    except Exception:
        _LOG.exception("server")
    finally:
        os._exit(code)
