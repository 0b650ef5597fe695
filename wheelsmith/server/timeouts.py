"""Connections that cost nothing: slow, silent, endless and malformed requests are cut off, and refusals are heard.

In: bytes from clients, at their speed. Out: uvicorn's HTTP protocol with clocks and bounds. From the moment that a
connection is free, a request's headers must be complete in time, whatever trickles in, and in `MAX_HEAD` bytes; who
does not read is dropped, buffers and all. Bodies come with a Content-Length or not at all, and never with GET: no proxy
in front can then disagree with us about where a request ends. Pages that lie ready are answered on the spot. Uploads
have a clock of their own in `upload`; their refusals use `LingeringResponse`. Nothing can fail.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wheelsmith.server.limits import Gate, address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from wheelsmith.server.settings import Settings

MAX_HEAD = 64 << 10  # bytes of a request line and all headers
MAX_URL = 8 << 10
_MAX_PIPELINED = 16
_ALWAYS = (b"/health", b"/metrics")  # answered however many other requests there are


def bounded_protocol(
    settings: Settings, quick: Callable[[bytes, list[tuple[bytes, bytes]]], tuple[bytes, bytes] | None]
) -> type[HttpToolsProtocol]:
    """The protocol class with the limits of `settings`, for `uvicorn.Config(http=…)`.

    Args:
        settings: limits and times.
        quick: gets URL and headers of a GET, and returns head (without its first line's end and the date) and body of
            the answer if that lies ready; it must not block.
    """
    gate = Gate(settings.max_connections, settings.max_waiting, settings.max_per_address)

    class BoundedProtocol(HttpToolsProtocol):
        address = ""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.address = address_of(self.client)
            self._request_clock = self._clock(settings.request_seconds)
            self._write_clock: asyncio.TimerHandle | None = None
            self._head = self._length = self._pipelined = 0
            self._in_head, self._began, self._is_quick = True, False, False
            self._working, self._wrong = 0, 0
            if not gate.opened(self):
                self.give_up()

        def data_received(self, data: bytes) -> None:
            if self._wrong:
                return
            self._began, self._pipelined = False, 0
            super().data_received(data)
            if self._in_head and not self._wrong:
                self._head = 0 if self._began else self._head + len(data)
                if self._head > MAX_HEAD:
                    self._refuse(431)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head = self._began = True
            self._is_quick = False
            self._length = 0
            self._pipelined += 1
            if self._pipelined > _MAX_PIPELINED:
                self._refuse(429)

        def on_url(self, url: bytes) -> None:
            self._length += len(url)
            if self._length > MAX_URL:
                self._refuse(414)
            elif not self._wrong:
                super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._length += len(name) + len(value) + 4
            if self._length > MAX_HEAD:
                self._refuse(431)
            elif not self._wrong:
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._request_clock.cancel()
            self._in_head = False
            if self._wrong:
                return
            method = self.parser.get_method()
            if wrong := _wrong(method, self.parser.get_http_version(), self.headers):
                self._refuse(wrong)
                return
            free = self.cycle is None or self.cycle.response_complete
            if method == b"GET" and free and not self.flow.write_paused and self.parser.should_keep_alive():
                answer = quick(self.url, self.headers)
                if answer is not None:
                    self._answer(*answer)
                    return
            self._working += 1
            if not gate.works(self) and not self.url.startswith(_ALWAYS):
                app, self.app = self.app, _busy
                super().on_headers_complete()
                self.app = app
            else:
                super().on_headers_complete()

        def _answer(self, head: bytes, body: bytes) -> None:
            """Send what lies ready."""
            self._is_quick = True
            date = b"".join(b"%s: %s\r\n" % pair for pair in self.server_state.default_headers)
            self.transport.writelines((head, date, b"\r\n", body))
            self.server_state.total_requests += 1
            gate.waits(self)
            self._request_clock = self._clock(settings.request_seconds)

        def on_body(self, body: bytes) -> None:
            if not self._wrong and not self._is_quick:
                super().on_body(body)

        def on_message_complete(self) -> None:
            if not self._wrong and not self._is_quick:
                super().on_message_complete()
            self._in_head = self._began = True  # what follows in this piece is at most one piece of the next head

        def on_response_complete(self) -> None:
            self._request_clock.cancel()
            self._working -= 1
            gate.done(self)
            if not self._working and not self.transport.is_closing():
                gate.waits(self)
                self._request_clock = self._clock(settings.request_seconds)
            super().on_response_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._write_clock = self._clock(settings.stall_seconds)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._write_clock is not None:
                self._write_clock.cancel()

        def connection_lost(self, exc: Exception | None) -> None:
            self._request_clock.cancel()
            if self._write_clock is not None:
                self._write_clock.cancel()
            for _ in range(self._working):
                gate.done(self)
            self._working = 0
            gate.closed(self)
            super().connection_lost(exc)

        def give_up(self) -> None:
            """Close at once, whatever is on its way."""
            transport: Any = self.transport
            transport.abort()

        def send_400_response(self, msg: str) -> None:
            self._refuse(400)

        def _refuse(self, status: int) -> None:
            """Say what is wrong with what a client sends, and listen no more."""
            if self._wrong:
                return
            self._wrong = status
            text = f"{_WHY.get(status, HTTPStatus(status).phrase)}\n".encode()
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%s" % (status, HTTPStatus(status).phrase.encode(), len(text), text)
            )
            self.transport.close()

        def _clock(self, seconds: float) -> asyncio.TimerHandle:
            return self.loop.call_later(seconds, self.give_up)

    return BoundedProtocol


_WHY = {
    400: "This is no HTTP request that is understood here.",
    411: "A body must state its Content-Length.",
    413: "A request to read has no body.",
    414: f"The URL has more than {MAX_URL} bytes.",
    431: f"The headers have more than {MAX_HEAD} bytes.",
    429: "Too many requests at once on one connection.",
}


def _wrong(method: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> int:
    """The status that refuses a request as a whole, or 0."""
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            return 411
        elif name == b"content-length" and method in {b"GET", b"HEAD"} and value.strip() != b"0":
            return 413
    return 400 if hosts > 1 or (not hosts and version != "1.0") else 0


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a request that is one too many."""
    response = PlainTextResponse("Too many requests at once; try again.\n", 503, {"retry-after": "5"})
    await response(scope, receive, send)


class LingeringResponse(PlainTextResponse):
    """A plain answer, sent at once; then at most `most` further bytes are thrown away, for at most `seconds`.

    Closing while a client still sends would reset the connection, and twine and uv would show that, not the reason
    (RFC 9112 section 9.6, "lingering close").
    """

    def __init__(self, text: str, status: int, headers: Mapping[str, str], *, most: int, seconds: float) -> None:
        super().__init__(text, status, {**headers, "connection": "close"})
        self._most, self._seconds = most, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, then listen for a while, then end."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        try:
            async with asyncio.timeout(self._seconds):
                await self._discard(receive)
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b""})

    async def _discard(self, receive: Receive) -> None:
        taken = 0
        while taken <= self._most:
            message = await receive()
            taken += len(message.get("body", b""))
            if not message.get("more_body", False):
                return
