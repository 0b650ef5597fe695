"""Connections that cost nothing: slow and silent clients are cut off.

In: bytes from clients, at their speed. Out: uvicorn's HTTP protocol with two clocks. From the moment that a
connection is free, a request's headers must be complete in time, whatever trickles in; and a reader whose
socket stays full is dropped, buffers and all. Uploads have a clock of their own in `upload`. Nothing can fail.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from wheelsmith.server.settings import Settings


def patient_protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """The protocol class with the time-outs of `settings`, for `uvicorn.Config(http=…)`."""

    class PatientProtocol(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._request_clock = self._clock(settings.request_seconds)
            self._write_clock: asyncio.TimerHandle | None = None

        def on_headers_complete(self) -> None:
            self._request_clock.cancel()
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._request_clock.cancel()
            self._request_clock = self._clock(settings.request_seconds)

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
            super().connection_lost(exc)

        def _clock(self, seconds: float) -> asyncio.TimerHandle:
            return self.loop.call_later(seconds, self._give_up)

        def _give_up(self) -> None:
            transport: Any = self.transport
            transport.abort()

    return PatientProtocol
