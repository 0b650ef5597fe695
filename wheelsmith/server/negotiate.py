"""Which representation of a page a client wants.

In: the value of an `Accept` or `Accept-Encoding` header. Out: `json` or `html`, and the media type to name, or
None when none is acceptable. Rules: RFC 9110 sections 12.5.1 and 12.5.3, and PEP 691 ("Version + Format
Selection"). Nothing can fail: what cannot be read is skipped.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

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
