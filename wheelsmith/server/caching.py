"""Pages on their way to a client: which form it wants, and what its caches may keep.

In: the bytes of a page and a request's headers. Out: `json` or `html` with the media type to name, or None where
neither will do; and a response: 200, or 304 if the client has it, with a strong ETag, a gzip twin, and the headers that
all pages have. Rules: RFC 9110 sections 12.5.1, 12.5.3 and 13.1.2, and PEP 691 ("Version + Format Selection"). Nothing
can fail: what cannot be read is skipped.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import Headers

Kind = Literal["json", "html"]

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
PLAIN = "text/html"

_OFFERS: dict[str, tuple[Kind, str]] = {  # in our order of preference; `latest` is answered with what it is
    PLAIN: ("html", "text/html; charset=utf-8"),
    JSON: ("json", JSON),
    HTML: ("html", HTML + "; charset=utf-8"),
    "application/vnd.pypi.simple.latest+json": ("json", JSON),
    "application/vnd.pypi.simple.latest+html": ("html", HTML + "; charset=utf-8"),
}


@lru_cache(maxsize=256)
def choose_page(accept: str) -> tuple[Kind, str] | None:
    """Return the kind of page and its `Content-Type`, or None (406).

    Without a preference the answer is `text/html`, which is what clients older than PEP 691 understand. The
    most specific range gives an offer its quality; the best quality wins, then our own order with JSON before
    HTML among those that the client names.
    """
    ranges = _qualities(accept) or {"*/*": 1.0}
    named = [offer for offer in _OFFERS if ranges.get(offer, 0) > 0]
    rank = {offer: place for place, offer in enumerate(sorted(named, key=lambda offer: not offer.endswith("json")))}
    best: tuple[float, int] | None = None
    chosen = None
    for place, offer in enumerate(_OFFERS):
        group = offer.partition("/")[0] + "/*"
        quality = ranges.get(offer, ranges.get(group, ranges.get("*/*", 0.0)))
        key = (quality, -rank.get(offer, len(rank) + place))
        if quality > 0 and (best is None or key > best):
            best, chosen = key, offer
    return None if chosen is None else _OFFERS[chosen]


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a gzip body may be sent."""
    codings = _qualities(accept_encoding)
    return codings.get("gzip", codings.get("*", 0.0)) > 0


def _qualities(header: str) -> dict[str, float]:
    """Read `a;q=0.5, b` as `{"a": 0.5, "b": 1}`; other parameters are dropped, unreadable items skipped."""
    found: dict[str, float] = {}
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if name and 0 <= quality <= 1:
            found[name] = max(quality, found.get(name, 0.0))
    return found


_MIN_GZIP = 512
PAGE_HEADERS = {  # pages show names that uploaders chose: nothing on them may run, or be framed
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'",
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
        if not_modified(headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=answer)
        return Response(zipped or self.plain, headers=answer)


def not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names this entity tag (RFC 9110 section 13.1.2: the weak comparison)."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags
