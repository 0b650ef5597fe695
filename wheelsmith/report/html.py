"""HTML by small functions: everything that is not `Html` is escaped, so no text of a wheel becomes markup.

In: text and values. Out: `Html`. Nothing fails.
"""

from __future__ import annotations

from html import escape
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


def page(title: str, *body: str) -> str:
    """A whole document: styles inside, light and dark, no script, nothing loaded from anywhere."""
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{join(body)}</main></body></html>\n"
    )


_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--line:#d0d7de;--band:#f6f8fa;--bar:#0969da;
--bar2:#bf8700;--warn:#9a3412;--mark:#ffe2dd}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9aa4af;--line:#30363d;--band:#161b22;
--bar:#4493f8;--bar2:#d29922;--warn:#f0883e;--mark:#5c1f1c}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
main{max-width:76rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.4rem;margin:0 0 .25rem;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2.2rem 0 .5rem}
p{margin:.3rem 0}.soft{color:var(--soft)}.warn{color:var(--warn)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:.8rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
code{font:13px/1.4 ui-monospace,monospace}
.lead{font-size:1.1rem;margin:.6rem 0;overflow-wrap:anywhere}a{color:var(--bar)}
pre{margin:0;padding:.7rem;width:max-content;min-width:100%}mark{background:var(--mark);color:inherit}
@media(max-width:40rem){dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:6px;margin:.6rem 0}
.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--bar);outline-offset:2px}
table{border-collapse:collapse;width:100%}
caption{text-align:left;padding:.5rem .7rem;color:var(--soft)}
th,td{padding:.35rem .7rem;text-align:left;vertical-align:top;border-top:1px solid var(--line);font-weight:400}
thead th{background:var(--band);font-weight:600;white-space:nowrap}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{display:block;height:.55rem;border-radius:2px;background:var(--bar);margin-top:.3rem;min-width:1px}
.bar.ptx{background:var(--bar2)}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:0 .8rem}
summary{cursor:pointer;padding:.5rem 0;font-weight:600;overflow-wrap:anywhere}
@media print{details{break-inside:avoid}}
"""
