"""A page on its way to a client: with a strong ETag, a gzip twin, and the headers that all pages have.

In: the bytes of a page and a request's headers. Out: a response: 200, or 304 if the client has it. Nothing can fail.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response

from wheelsmith.server.negotiate import accepts_gzip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import Headers

_MIN_GZIP = 512
PAGE_HEADERS = {  # pages show names that uploaders chose: nothing on them may run, or be framed
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its bytes, plain and packed, and the value of its ETag."""

    etag: str
    plain: bytes
    gzipped: bytes | None

    @classmethod
    def of(cls, plain: bytes) -> Page:
        """Prepare a page."""
        zipped = gzip.compress(plain, 6, mtime=0) if len(plain) >= _MIN_GZIP else None
        return cls(hashlib.sha256(plain).hexdigest()[:32], plain, zipped)

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        return len(self.plain) + len(self.gzipped or b"")

    def respond(
        self, headers: Headers, content_type: str, *, scope: str, vary: str = "", more: Mapping[str, str] | None = None
    ) -> Response:
        """Answer a request.

        Args:
            headers: of the request.
            content_type: of the page.
            scope: `public` or `private`, for caches on the way.
            vary: request headers besides Accept-Encoding that the choice of the page depended on.
            more: further headers of the answer.
        """
        zipped = self.gzipped if accepts_gzip(headers.get("accept-encoding", "")) else None
        etag = f'"{self.etag}-gzip"' if zipped else f'"{self.etag}"'
        answer = {
            "content-type": content_type,
            "etag": etag,
            "vary": f"{vary}, Accept-Encoding" if vary else "Accept-Encoding",
            "cache-control": f"{scope}, no-cache",
            **PAGE_HEADERS,
            **(more or {}),
        }
        if zipped:
            answer["content-encoding"] = "gzip"
        if _holds(headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=answer)
        return Response(zipped or self.plain, headers=answer)


def _holds(if_none_match: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names this entity tag (RFC 9110 section 13.1.2: the weak comparison)."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags
