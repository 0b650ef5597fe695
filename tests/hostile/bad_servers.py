"""Servers that nobody means well with: what each sends, as raw bytes, to whoever connects."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

Send = Callable[[bytes], None]
#: Called with a function that sends, and the number of the connection.
Behaviour = Callable[[Send, int], None]

JSON = "application/vnd.pypi.simple.v1+json"


@cache
def _bomb() -> bytes:
    return gzip.compress(b"<a>" * (20 << 20), 1)


def _answer(body: bytes, *, status: str = "200 OK", kind: str = JSON, length: int | str | None = None, more: str = ""):
    """A whole answer."""
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n{more}\r\n"
    return lambda send, number: send(head.encode() + body)


def _packed(body: Callable[[], bytes], encoding: str) -> Behaviour:
    """An answer that is dear to make, and is made when somebody asks."""

    def behave(send: Send, number: int) -> None:
        _answer(body(), more=f"Content-Encoding: {encoding}\r\n")(send, number)

    return behave


def _head(more: str = "", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {JSON}\r\nConnection: close\r\n{more}\r\n".encode()


def _forever(*first: bytes, again: bytes, pause: float = 0.0) -> Behaviour:
    """Something, and then something again and again."""

    def behave(send: Send, number: int) -> None:
        for piece in first:
            send(piece)
        while True:
            send(again)
            time.sleep(pause)

    return behave


def _raw(*pieces: bytes, wait: float = 0.0) -> Behaviour:
    def behave(send: Send, number: int) -> None:
        for piece in pieces:
            send(piece)
        time.sleep(wait)

    return behave


def _redirect(target: str, status: str = "302 Found") -> Behaviour:
    return _answer(b"", status=status, more=f"Location: {target}\r\n")


def _circle(send: Send, number: int) -> None:
    send(_head(f"Location: /{number}\r\nContent-Length: 0\r\n", "302 Found"))


def _growing(send: Send, number: int) -> None:
    send(_head(f"Location: /{'a' * (number * 50)}\r\nContent-Length: 0\r\n", "302 Found"))


def _page(**more: object) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "toy", "files": [], **more}).encode()


def _file(**more: object) -> bytes:
    return _page(files=[{"filename": "toy-1.0.tar.gz", "url": "toy-1.0.tar.gz", "hashes": {}, **more}])


_DRIP = 0.3
_HTML = "text/html"
BEHAVIOURS: dict[str, Behaviour] = {
    "hangs up": _raw(),
    "says nothing": _raw(wait=60),
    "speaks another protocol": _raw(b"220 smtp.example ESMTP\r\n", wait=1),
    "speaks TLS": _raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100),
    "rubbish": _raw(bytes(range(256)) * 100),
    "half a status": _raw(b"HTTP/1.1 2"),
    "a status of letters": _raw(b"HTTP/1.1 abc OK\r\n\r\n"),
    "status 0": _raw(_head(status="000 x")),
    "status 999": _answer(b"x", status="999 x"),
    "status of 5 digits": _raw(_head(status="20000 x")),
    "continue forever": _forever(again=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "continue, slowly": _forever(again=b"HTTP/1.1 100 Continue\r\n\r\n", pause=_DRIP),
    "another protocol then": _raw(_head("Upgrade: x\r\n", "101 Switching Protocols"), wait=1),
    "no content": _raw(_head(status="204 No Content")),
    "partial content": _answer(b"x", status="206 Partial Content"),
    "not modified": _raw(_head(status="304 Not Modified")),
    "a head that drips": _forever(b"HTTP/1.1 200 OK\r\nX: ", again=b"a", pause=_DRIP),
    "a head without end": _forever(b"HTTP/1.1 200 OK\r\n", again=b"X: y\r\n"),
    "a line without end": _forever(b"HTTP/1.1 200 OK\r\nX: ", again=b"y" * 65536),
    "a status without end": _forever(b"HTTP/1.1 200 ", again=b"y" * 65536),
    "ten thousand lines": _raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n"),
    "lines of nothing": _raw(b"HTTP/1.1 200 OK\r\n: \r\n:\r\n\0: \0\r\n\r\n"),
    "cookies": _answer(b"x", more="".join(f"Set-Cookie: c{i}={'x' * 500}\r\n" for i in range(90))),
    "itself elsewhere": _redirect("/"),
    "a circle": _circle,
    "a growing circle": _growing,
    "a file of ours": _redirect("file:///etc/passwd"),
    "another scheme": _redirect("gopher://127.0.0.1:1/x"),
    "a script": _redirect("javascript:alert(1)"),
    "nowhere": _redirect(""),
    "no place": _answer(b"", status="302 Found"),
    "a place without end": _redirect("/" + "a" * 60_000),
    "a place that is none": _redirect("http://[::1/x"),
    "a port that is none": _redirect("http://127.0.0.1:99999/x"),
    "a host that is none": _redirect("http://.invalid./x"),
    "a place with a password": _redirect("http://me:secret@127.0.0.1:1/x"),
    "moved for good": _redirect("/", "308 Permanent Redirect"),
    "less than it says": _answer(b"x", length=1000),
    "more than it says": _answer(b"x" * 100_000, length=1),
    "a negative size": _answer(b"x", length=-5),
    "a size of letters": _answer(b"x", length="many"),
    "a size that is far too large": _answer(b"x", length=10**18),
    "a size of 5000 digits": _answer(b"x", length="9" * 5000),
    "two sizes": _answer(b"x", more="Content-Length: 7\r\n"),
    "no size, no end": _forever(_head(), again=b"x" * 65536),
    "a body that drips": _forever(_head(), again=b"x", pause=_DRIP),
    "a body that drips, of a known size": _forever(_head("Content-Length: 100000\r\n"), again=b"x", pause=_DRIP),
    "chunks without end": _forever(_head("Transfer-Encoding: chunked\r\n"), again=b"5\r\nhello\r\n"),
    "chunks that drip": _forever(_head("Transfer-Encoding: chunked\r\n"), again=b"1\r\nx\r\n", pause=_DRIP),
    "a chunk of no size": _raw(_head("Transfer-Encoding: chunked\r\n"), b"zz\r\nhello\r\n"),
    "a chunk of negative size": _raw(_head("Transfer-Encoding: chunked\r\n"), b"-5\r\nhello\r\n"),
    "a chunk of huge size": _raw(_head("Transfer-Encoding: chunked\r\n"), b"ffffffffffffffff\r\nhello\r\n", wait=1),
    "half a chunk": _raw(_head("Transfer-Encoding: chunked\r\n"), b"ff\r\nhello"),
    "chunks and a size": _raw(_head("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), b"5\r\nhello\r\n0\r\n\r\n"),
    "a trailer without end": _forever(_head("Transfer-Encoding: chunked\r\n"), b"0\r\n", again=b"X: y\r\n"),
    "a packed bomb": _packed(_bomb, "gzip"),
    "a deflated bomb": _packed(lambda: zlib.compress(b"x" * (60 << 20), 1), "deflate"),
    "packed rubbish": _answer(b"rubbish", more="Content-Encoding: gzip\r\n"),
    "half a packed page": _packed(lambda: _bomb()[:500], "gzip"),
    "packed often": _packed(_bomb, "gzip, " * 30 + "gzip"),
    "packed in a way nobody knows": _answer(b"x", more="Content-Encoding: x-secret\r\n"),
    "an image": _answer(b"\x89PNG", kind="image/png"),
    "a type of rubbish": _answer(b"x", kind=";;;=\x01"),
    "a charset nobody knows": _answer(b"<a>", kind="text/html; charset=x-secret"),
    "UTF-16": _answer("<a href='toy-1.0.tar.gz'>".encode("utf-16"), kind=_HTML),
    "an empty page": _answer(b""),
    "an empty list": _answer(_page()),
    "half a JSON page": _answer(_page()[:-5]),
    "JSON in JSON": _answer(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "lists in lists": _answer(b"[" * 200_000),
    "a number of 100,000 digits": _answer(b'{"meta": {"api-version": "1.1"}, "files": ' + b"9" * 100_000 + b"}"),
    "not a number": _answer(b'{"meta": {"api-version": NaN}}'),
    "another shape": _answer(b'{"meta": [], "files": {"a": 1}, "name": 7}'),
    "files that are none": _answer(_page(files=[None, 7, "x", [], {}])),
    "a later API": _answer(_page(meta={"api-version": "99.0"})),
    "a file of ours as a file": _answer(_file(url="file:///etc/passwd")),
    "a script as a file": _answer(_file(url="javascript:alert(1)")),
    "another hash": _answer(_file(hashes={"sha256": "0" * 64})),
    "a hash of no digits": _answer(_file(hashes={"sha256": "z\n\x1b[31m"})),
    "a size that is none": _answer(_file(size=-1)),
    "a name that leads away": _answer(_file(filename="../../toy-1.0.tar.gz")),
    "HTML in HTML": _answer(b"<div>" * 10_000, kind=_HTML),
    "HTML without end": _forever(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", again=b"<a href='toy-1.0.tar.gz'>x</a>" * 2000
    ),
    "links": _answer(b"<a href='toy-1.0.tar.gz'>toy-1.0.tar.gz</a>" * 5_000, kind=_HTML),
    "anchors in anchors": _answer(b"<a href=x>" * 20_000, kind=_HTML),
    "many links": _answer(b"<a href='toy-1.0.tar.gz'>toy-1.0.tar.gz</a>" * 150_000, kind=_HTML),
    "openings": _answer(b"<!" * 500_000, kind=_HTML),
    "an attribute list": _answer(b"<a " + b"x=1 " * 500_000, kind=_HTML),
    "many files": _answer(_page(files=[{"filename": "toy-1.0.tar.gz", "url": "x", "hashes": {}}] * 60_000)),
    "half a tag": _answer(b"<a href='" + b"x" * 1_000_000, kind=_HTML),
    "an entity bomb": _answer(b"<!DOCTYPE x [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]><a>&b;</a>", kind=_HTML),
    "401": _answer(b"", status="401 Unauthorized", more='WWW-Authenticate: Basic realm="\x1b[31m"\r\n'),
    "403": _answer(b"", status="403 Forbidden"),
    "404": _answer(b"", status="404 Not Found"),
    "407": _answer(b"", status="407 Proxy Authentication Required"),
    "410": _answer(b"", status="410 Gone"),
    "429, in 30 years": _answer(b"", status="429 Too Many Requests", more="Retry-After: 1000000000\r\n"),
    "500": _answer(b"x" * 100_000, status="500 Internal Server Error"),
    "500, without end": _forever(_head(status="500 Internal Server Error"), again=b"x" * 65536),
    "503": _answer(b"", status="503 Service Unavailable", more="Retry-After: 1000000000\r\n"),
}


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """The address of a server on the loopback interface that behaves so."""
    stopped = threading.Event()
    numbers = itertools.count(1)
    listening = socket.create_server(("127.0.0.1", 0), backlog=50)
    listening.settimeout(0.1)

    def serve(connection: socket.socket, number: int) -> None:
        def send(data: bytes) -> None:
            if stopped.is_set():
                raise OSError("enough")
            connection.sendall(data)

        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            connection.recv(65536)
            behaviour(send, number)

    def accept() -> None:
        while not stopped.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listening.accept()
                threading.Thread(target=serve, args=(connection, next(numbers)), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        stopped.set()
        thread.join()
        listening.close()
