"""HTML by small functions: everything that is not `Html` is escaped, so no text of a wheel becomes markup.

In: text and values. Out: `Html`. Nothing fails.
"""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Html(str):
    """Markup that is safe to put into a page as it is."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | None) -> Html:
    """An element. A trailing underscore of an attribute is left away (`class_`), inner ones become hyphens."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Html:
    """Parts one after the other."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> Html:
    """A table with a caption and column headers; the first cell of a row is its header. `numbers`: to the right."""
    head = tag("tr", *(tag("th", name, scope="col", class_=_side(i, numbers)) for i, name in enumerate(columns)))
    body = [
        tag(
            "tr",
            *(
                tag("th", cell, scope="row") if i == 0 else tag("td", cell, class_=_side(i, numbers))
                for i, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _side(index: int, numbers: Sequence[int]) -> str | None:
    return "n" if index in numbers else None


def megabytes(size: int) -> str:
    """A size for people: `12.3 MB` (10^6 bytes), small ones in kB, large ones in GB."""
    if size >= 10_000_000_000:
        return f"{size / 1e9:,.1f} GB"
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size / 1e3:,.1f} kB"


def facts(*rows: tuple[str, str]) -> Html:
    """A list of names and values; rows without a value are left out."""
    return tag("dl", *(part for name, value in rows if value for part in (tag("dt", name), tag("dd", value))))


def page(title: str, *body: str) -> str:
    """A whole document: styles inside, light and dark, no script, nothing loaded from anywhere."""
    styles = style("base.css") + style("page.css")
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{styles}</style></head>"
        f"<body><main>{join(body)}</main></body></html>\n"
    )


@cache
def style(name: str) -> str:
    """A style sheet of this room: `base.css`, which the index's pages share, or `page.css`."""
    return files(__package__).joinpath(name).read_text("utf-8")
