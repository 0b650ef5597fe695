"""How long, and how much, a server may keep us: for the sessions of `http.py`.

In: requests. Out: an adapter for `requests.Session` that bounds the head of an answer and whole pages in time and
bytes, tries again what may be a hiccup; and chunks of a download that is not slower than a
floor. Fails with `requests.RequestException`.
"""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import contextmanager, suppress
from threading import Event, Timer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from wheelsmith.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import urllib3

#: Seconds to connect, and to wait for the next bytes.
TIMEOUT = (10.0, 60.0)
#: Redirects of one request.
MOST_REDIRECTS = 10
HEAD_SECONDS = 60.0  # for the head of an answer, however steadily it comes
PAGE_SECONDS, PAGE_BYTES = 120.0, 128 << 20  # of a page, unpacked; the largest of a public index has 30 MB
SLOWEST, GRACE = 1000, 60.0  # bytes a second of a download, on average after so many seconds
LARGEST = 64 << 30  # bytes of a download; no source or wheel comes near (see `most_bytes`)
LONGEST = 6 * 3600.0  # seconds of a download
#: How many GB one download or one `git fetch` may bring, instead of `LARGEST`.
LIMIT_VARIABLE = "WHEELSMITH_FETCH_LIMIT_GB"
LIMIT_REMEDY = f"If it really has so much, set {LIMIT_VARIABLE} to more (in GB, 10^9 bytes)."
_PAUSES = (0.1, 0.5)  # seconds before the second and the third try
_CHUNK = 1 << 18


def most_bytes() -> int:
    """Bytes that one download or one `git fetch` may bring.

    Raises:
        UsageError: the variable is no number of GB.
    """
    text = os.environ.get(LIMIT_VARIABLE, "")
    if not text:
        return LARGEST
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII) or not float(text):
        raise UsageError(f"{LIMIT_VARIABLE} is {text!r}.", "Give a number of GB, as in 20.")
    return int(float(text) * 10**9)


class _Watched:
    """A connection whose answer's head must be there in time: single bytes now and then are no sign of life."""

    def getresponse(self) -> Any:
        sock = getattr(self, "sock", None)
        with _cut_after(HEAD_SECONDS, sock):
            response = super().getresponse()  # type: ignore[misc]  # of the class that this is mixed into
        response.watched_socket = sock  # which the connection itself may have let go of by now
        return response


@contextmanager
def _cut_after(seconds: float, sock: socket.socket | None) -> Iterator[Event]:
    """End a connection from outside, whatever its reader waits for; the event tells that it was."""
    late = Event()

    def cut() -> None:
        late.set()
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    watch = Timer(seconds, cut)
    watch.daemon = True
    watch.start()
    try:
        yield late
    finally:
        watch.cancel()


class _Connection(_Watched, HTTPConnection):
    pass


class _SecureConnection(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


class Session(requests.Session):
    """A session that does not stumble over where a server sends it."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where to, if anywhere."""
        target: str | None = super().get_redirect_target(resp)
        try:
            _ = urlsplit(target or "").port
        except ValueError as error:
            raise requests.exceptions.InvalidURL(f"it leads to what is no URL: {error}") from error
        return target


class Patient(HTTPAdapter):
    """Tries again what may be a hiccup. (urllib3's own retries log the whole URL, with the tokens in its query.)"""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the manager, with connections that are watched."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> urllib3.ProxyManager:
        """The same for a proxy."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(self, request: requests.PreparedRequest, stream: bool = False, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send, and read the answer where that is asked for."""
        started = time.monotonic()
        for seconds in _PAUSES:
            try:
                response = super().send(request, stream=True, **kwargs)
            except requests.exceptions.SSLError:
                raise
            except requests.ConnectionError:
                if time.monotonic() - started > HEAD_SECONDS:  # that was no hiccup
                    raise
                time.sleep(seconds)
                continue
            if response.status_code not in {502, 503, 504}:
                break
            response.close()
            time.sleep(seconds)
        else:
            response = super().send(request, stream=True, **kwargs)
        if not stream:
            _read(response)
        return response


def _socket_of(response: requests.Response) -> socket.socket | None:
    inner = getattr(response.raw, "_original_response", None) or getattr(response.raw, "_fp", None)
    return getattr(inner, "watched_socket", None) or getattr(response.raw, "watched_socket", None)


def _read(response: requests.Response) -> None:
    """Take a page in, within its limits."""
    pieces, size = [], 0
    with _cut_after(PAGE_SECONDS, _socket_of(response)) as late:
        try:
            while piece := response.raw.read1(_CHUNK, decode_content=True):
                pieces.append(piece)
                size += len(piece)
                if size > PAGE_BYTES or late.is_set():
                    break
        except (OSError, HTTPError):
            if not late.is_set():
                raise
    if size > PAGE_BYTES or late.is_set():
        response.close()
        what = f"{PAGE_BYTES >> 20} MiB" if size > PAGE_BYTES else f"{PAGE_SECONDS:.0f} seconds"
        raise requests.ConnectionError(f"the page does not end within {what}")
    response._content, response._content_consumed = b"".join(pieces), True  # type: ignore[attr-defined]


def steady(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes, not unpacked.

    Raises:
        requests.ConnectionError: it comes too slowly, or is too large.
    """
    started, size, most = time.monotonic(), 0, most_bytes()
    with _cut_after(LONGEST, _socket_of(response)) as late:
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            size += len(chunk)
            passed = time.monotonic() - started
            if passed > GRACE and size < SLOWEST * passed:
                raise requests.ConnectionError(f"less than {SLOWEST:,} bytes a second came")
            if size > most:
                raise requests.ConnectionError(f"it does not end within {most / 10**9:.3g} GB")
            yield chunk
        if late.is_set():
            raise requests.ConnectionError(f"it does not end within {LONGEST:.0f} seconds")
