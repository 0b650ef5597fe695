"""The shared cache behind the local one: a bucket or Redis, for builds that have no network.

In: a URL. Out: a Unix socket in the build root on which ccache finds its "storage helper" (protocol:
`doc/remote_storage_helper_spec.md` of ccache). A build can ask for entries and offer new ones, and nothing else: it
sees neither the network nor the credentials. A server that fails is left alone after three failures in a row; that is
noted and never fails a build. Opening fails with `UsageError`.
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
from typing import TYPE_CHECKING, Protocol

from wheelsmith.distribution import extra_remedy
from wheelsmith.errors import UsageError
from wheelsmith.events import Listener, Note

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

SCHEMES = ("s3", "gs", "az", "redis", "rediss", "unix")
_GREETING = b"\x01\x01\x00"  # protocol 1, one capability: get, put, remove
_OK, _NOT_DONE, _ERROR = b"\x00", b"\x01", b"\x02"
_GET, _PUT, _REMOVE, _STOP = 0, 1, 2, 3
_LARGEST = 1 << 30  # bytes of an entry; no object file comes near
_PATIENCE = 3  # failures in a row after which a server is left alone
_TIMEOUT = 10  # seconds


class Remote(Protocol):
    """Entries by name, somewhere else. Any failure is an OSError."""

    def get(self, name: str) -> bytes | None:
        """The entry, or None."""

    def put(self, name: str, data: bytes) -> None:
        """Keep an entry."""


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """Answers ccache on a Unix socket."""

    remote: Remote
    url: str
    listener: Listener
    _failures: dict[str, int] = field(default_factory=lambda: {"read": 0, "write": 0})

    @contextmanager
    def at(self, path: Path) -> Iterator[None]:
        """Listen at `path` (at most 107 bytes) while the context lasts."""
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):  # a compiler that was stopped hangs up in the middle
                    outer._talk(self.rfile, self.wfile)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128

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
                answer = self._answer(request[0], source)
            except EOFError:
                return
            if answer is None:
                return
            sink.write(answer)

    def _answer(self, request: int, source: BufferedIOBase) -> bytes | None:
        if request == _STOP:  # the room does not decide how long this server lives
            return _OK
        if request not in (_GET, _PUT, _REMOVE):
            return None
        name = _exactly(source, _exactly(source, 1)[0]).hex()
        if request == _GET:
            data = self._try("read", lambda: self.remote.get(name))
            return _NOT_DONE if data is None else _OK + struct.pack("=Q", len(data)) + data
        if request == _PUT:
            _exactly(source, 1)  # the flag "overwrite": the last one wins, as the manifest of a unit grows
            (size,) = struct.unpack("=Q", _exactly(source, 8))
            if size > _LARGEST:
                return None
            data = _exactly(source, size)
            return _OK if self._try("write", lambda: self._put(name, data)) is not None else _NOT_DONE
        return _NOT_DONE  # nothing is removed by a build

    def _put(self, name: str, data: bytes) -> bytes:
        self.remote.put(name, data)
        return b""

    def _try(self, what: str, action: Callable[[], bytes | None]) -> bytes | None:
        if self._failures[what] >= _PATIENCE:
            return None
        try:
            result = action()
        except OSError as error:
            self._failures[what] += 1
            if self._failures[what] == _PATIENCE:
                text = f"the cache {self.url} cannot be used to {what}, going on without: {error}"
                self.listener(Note("compile", text, warning=True))
            return None
        self._failures[what] = 0
        return result


def _exactly(source: BufferedIOBase, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise EOFError
    return data


def connect(url: str) -> Remote:
    """Open `s3://bucket/prefix`, `gs://…`, `az://…`, `redis://host:port/db`, `rediss://…`, `unix:///path`.

    Credentials come from the URL (Redis) or from the vendor's own variables (`AWS_ACCESS_KEY_ID`, …). Nothing is sent
    yet: a server that is not there shows at the first entry.

    Raises:
        UsageError: the scheme is not known, a library is not installed, or the URL is not valid.
    """
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise UsageError(
            f"{shown(url)} is no compile cache: {scheme}:// is not known.",
            f"Use a directory, or a URL that begins with one of {', '.join(SCHEMES)}.",
        )
    try:
        return _redis(url) if scheme in ("redis", "rediss", "unix") else _bucket(url)
    except ModuleNotFoundError as error:
        raise UsageError(f"The cache {shown(url)} needs the package {error.name}.", extra_remedy("cloud")) from error
    except ValueError as error:
        raise UsageError(
            f"The cache {shown(url)} cannot be opened: {error}.", "Check the URL and the variables."
        ) from error


def shown(url: str) -> str:
    """The URL without a password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url


@dataclass(frozen=True, slots=True)
class _Calls:
    """A remote made of two functions."""

    getting: Callable[[str], bytes | None]
    putting: Callable[[str, bytes], object]

    def get(self, name: str) -> bytes | None:
        return self.getting(name)

    def put(self, name: str, data: bytes) -> None:
        self.putting(name, data)


def _redis(url: str) -> Remote:
    import redis

    client = redis.Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)

    def get(name: str) -> bytes | None:
        with _as_os_error(redis.RedisError):
            found = client.get(f"wheelsmith:{name}")
            return found if isinstance(found, bytes) else None

    def put(name: str, data: bytes) -> None:
        with _as_os_error(redis.RedisError):
            client.set(f"wheelsmith:{name}", data)

    return _Calls(get, put)


def _bucket(url: str) -> Remote:
    from datetime import timedelta

    import obstore
    from obstore.exceptions import BaseError, UnknownConfigurationKeyError
    from obstore.store import from_url

    plain = url.startswith("s3") and os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    options: ClientConfig = {"timeout": f"{_TIMEOUT}s", "connect_timeout": f"{_TIMEOUT}s"}
    if plain:
        options["allow_http"] = True
    try:
        retries: RetryConfig = {"max_retries": 1, "retry_timeout": timedelta(seconds=_TIMEOUT)}
        store = from_url(url, client_options=options, retry_config=retries)
    except (BaseError, UnknownConfigurationKeyError) as error:
        raise ValueError(str(error)) from error

    def get(name: str) -> bytes | None:
        with _as_os_error(BaseError):
            try:
                return bytes(obstore.get(store, _path(name)).bytes())
            except FileNotFoundError:
                return None

    def put(name: str, data: bytes) -> None:
        with _as_os_error(BaseError):
            obstore.put(store, _path(name), data)

    return _Calls(get, put)


def _path(name: str) -> str:
    return f"{name[:2]}/{name[2:]}"


@contextmanager
def _as_os_error(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        raise OSError(str(error).partition("\n")[0][:200]) from error
