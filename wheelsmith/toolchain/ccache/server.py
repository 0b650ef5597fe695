"""What a build asks for compiled objects, and offers its own: a Unix socket in its directory, served from outside.

In: where entries are, and whether new ones are taken. Out: a socket on which ccache finds its "storage helper"
(protocol: `doc/remote_storage_helper_spec.md` of ccache) and `device.py` its device code. A build can ask for entries
of its own scope and offer new ones, a limited number of bytes, and nothing else: it sees neither the directory nor the
network nor the credentials. How many ask at once, and what is held in memory for them, is limited. A place that fails
is left alone after three failures in a row; that is noted, and never fails a build.
"""

from __future__ import annotations

import contextlib
import os
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path
from socket import socket

from wheelsmith.events import Listener, Note
from wheelsmith.toolchain.ccache.entries import LARGEST, Sealed, Unauthenticated

_GREETING = b"\x01\x01\x00"  # protocol 1, one capability: get, put, remove
_OK, _NOT_DONE = b"\x00", b"\x01"
_GET, _PUT, _REMOVE, _STOP = 0, 1, 2, 3
_LONGEST_NAME = 64  # bytes; ccache's have 20, `device.py`'s 32
_MOST_CLIENTS = 256  # at once; a build has a few for each compiler that runs
_MOST_READERS = 16  # of the places, at once
_MOST_HELD = 1 << 30  # bytes of entries that come and go, together
_PATIENCE = 3  # failures in a row after which a place is left alone


@dataclass(slots=True)
class Level:
    """A place of entries, nearest first. `shown` names it in notes."""

    entries: Sealed
    shown: str
    _failures: dict[str, int] = field(default_factory=lambda: {"read": 0, "write": 0})
    _refused: bool = False

    def get(self, name: str, listener: Listener) -> bytes | None:
        """The entry, or None."""
        try:
            return self._try("read", lambda: self.entries.get(name), listener)
        except Unauthenticated:
            if not self._refused:
                self._refused = True
                text = f"entries of the compile cache {self.shown} are not taken: they are damaged, or not sealed with"
                listener(Note("compile", f"{text} the key that this build has", warning=True))
            return None

    def put(self, name: str, data: bytes, listener: Listener) -> bool:
        """Keep an entry; whether it is kept."""

        def keep() -> bytes:
            self.entries.put(name, data)
            return b""

        return self._try("write", keep, listener) is not None

    def _try(self, what: str, action: Callable[[], bytes | None], listener: Listener) -> bytes | None:
        if self._failures[what] >= _PATIENCE:
            return None
        try:
            result = action()
        except OSError as error:
            self._failures[what] += 1
            if self._failures[what] == _PATIENCE:
                text = f"the cache {self.shown} cannot be used to {what}, going on without: {error}"
                listener(Note("compile", text, warning=True))
            return None
        self._failures[what] = 0
        return result


@dataclass(slots=True)
class CacheServer:
    """Answers the compilers of one build.

    Attributes:
        levels: where entries are; what is found in a farther place is kept in the nearer ones.
        last: who is asked for what no level has, and given nothing; None: nobody.
        listener: told of places that fail and of entries that are not believed.
        budget: bytes of new entries that this build may still have kept; 0: the cache is read-only.
    """

    levels: tuple[Level, ...]
    listener: Listener
    budget: int
    last: Level | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _clients: threading.Semaphore = field(default_factory=lambda: threading.BoundedSemaphore(_MOST_CLIENTS))
    _readers: threading.Semaphore = field(default_factory=lambda: threading.BoundedSemaphore(_MOST_READERS))
    _held: int = 0

    @contextmanager
    def at(self, path: Path) -> Iterator[None]:
        """Listen at `path` while the context lasts. A client's connection needs a path of at most 107 bytes."""
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    with contextlib.suppress(OSError):  # a compiler that was stopped hangs up in the middle
                        outer._talk(self.rfile, self.wfile)
                finally:
                    outer._clients.release()

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128

            def verify_request(self, request: object, client_address: object) -> bool:
                return outer._clients.acquire(blocking=False)

            def process_request(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
                try:
                    super().process_request(request, client_address)
                except RuntimeError:  # no thread can be started
                    outer._clients.release()
                    self.shutdown_request(request)

            def handle_error(self, request: object, client_address: object) -> None:
                """A compiler without its answer compiles."""

        path.unlink(missing_ok=True)
        # A long path is bound through its directory: sun_path holds 108 bytes (unix(7)).
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            server = Server(f"/proc/self/fd/{directory}/{path.name}", Handler)
        finally:
            os.close(directory)
        thread = threading.Thread(target=server.serve_forever, name="compile cache", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            path.unlink(missing_ok=True)

    def _talk(self, source: BufferedIOBase, sink: BufferedIOBase) -> None:
        sink.write(_GREETING)
        while request := source.read(1):
            try:
                if not self._answer(request[0], source, sink):
                    return
            except EOFError:
                return

    def _answer(self, request: int, source: BufferedIOBase, sink: BufferedIOBase) -> bool:
        """Read the rest of a request and answer it; False: it is none, hang up."""
        if request == _STOP:  # the build does not decide how long this server lives
            sink.write(_OK)
            return True
        if request not in (_GET, _PUT, _REMOVE):
            return False
        name = _exactly(source, _exactly(source, 1)[0]).hex()
        known = name if 2 < len(name) <= 2 * _LONGEST_NAME else ""
        if request == _GET:
            self._give(known, sink)
            return True
        if request == _PUT:
            return self._take(known, source, sink)
        sink.write(_NOT_DONE)  # nothing is removed by a build
        return True

    def _give(self, name: str, sink: BufferedIOBase) -> None:
        with self._readers:
            data = self._get(name) if name else None
        with self._holding(len(data or b"")) as held:
            sink.write(_NOT_DONE if data is None or not held else _OK + struct.pack("=Q", len(data)) + data)

    def _take(self, name: str, source: BufferedIOBase, sink: BufferedIOBase) -> bool:
        _exactly(source, 1)  # the flag "overwrite": the last one wins, as the manifest of a unit grows
        (size,) = struct.unpack("=Q", _exactly(source, 8))
        with self._holding(size) as held:
            if not held or size > LARGEST:
                return False
            data = _exactly(source, size)
            sink.write(_OK if name and self._put(name, data) else _NOT_DONE)
        return True

    @contextmanager
    def _holding(self, size: int) -> Iterator[bool]:
        """Whether so many bytes more may be held in memory while the context lasts."""
        with self._lock:
            held = self._held + size <= _MOST_HELD
            self._held += size if held else 0
        try:
            yield held
        finally:
            with self._lock:
                self._held -= size if held else 0

    def _get(self, name: str) -> bytes | None:
        for depth, level in enumerate(self.levels):
            data = level.get(name, self.listener)
            if data is not None:
                if self.budget:
                    for nearer in self.levels[:depth]:
                        nearer.put(name, data, self.listener)
                return data
        data = None if self.last is None else self.last.get(name, self.listener)
        if data is not None and self.budget:
            for level in self.levels:
                level.put(name, data, self.listener)
        return data

    def _put(self, name: str, data: bytes) -> bool:
        with self._lock:
            if len(data) > self.budget:
                return False
            self.budget -= len(data)
        kept = [level.put(name, data, self.listener) for level in self.levels]
        return any(kept)


def _exactly(source: BufferedIOBase, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise EOFError
    return data
