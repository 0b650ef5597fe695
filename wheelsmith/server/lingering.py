"""An answer to a client that is still sending.

In: a refusal of an upload. Out: the answer, sent at once and whole; then what the client still sends is thrown away for
a while. Closing at once would reset the connection, and twine and uv would show that instead of the reason
(RFC 9112 section 9.6, "lingering close"). Nothing can fail.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send


class LingeringResponse(PlainTextResponse):
    """A plain answer that reads at most `most` further bytes, for at most `seconds`."""

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
