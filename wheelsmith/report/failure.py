"""The page of a failed build or run: why it failed, in one file that loads nothing.

In: an `Explanation`. Out: HTML as text: the lines that matter, the one with the error marked, cause, remedy, unit, and
the command that repeats it. Pure; nothing fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wheelsmith.report.html import Html, join, page, tag

if TYPE_CHECKING:
    from wheelsmith.diagnostics.diagnose import Explanation


def failure_page(found: Explanation, title: str, *, log: str, repeat: str = "") -> str:
    """A self-contained page; all that the log says is escaped.

    Args:
        found: why it failed.
        title: what failed.
        log: what the log is called.
        repeat: a command that makes the unit again, instead of the explanation's own.
    """
    if found.outcome == "healthy":
        head = [tag("p", "No failure found.", class_="lead")]
    else:
        head = [tag("p", _sentence(found.cause or "The cause is not known"), class_="lead"), _facts(found, repeat)]
    return page(title, tag("h1", title), *head, _excerpt(found), tag("p", "The whole log: ", tag("code", log)), _made())


def _facts(found: Explanation, repeat: str) -> Html:
    again = repeat or found.repeat
    known = f"{found.id} ({found.phase})" if found.id else ""
    rows: list[tuple[str, str]] = [
        ("What to do", _sentence(found.remedy)),
        ("Error", tag("code", found.message)),
        ("Unit", tag("code", found.unit) if found.unit else ""),
        ("Repeat it", tag("code", again) if again else ""),
        ("Command", tag("code", found.command) if found.command not in again else ""),
        ("Kind", known),
        *(("See", tag("a", link, href=link, rel="noreferrer")) for link in found.links),
        *(("Failed as well", f"line {other.line}: {other.cause or other.message}") for other in found.beside),
    ]
    return tag("dl", *(part for name, value in rows if value for part in (tag("dt", name), tag("dd", value))))


def _excerpt(found: Explanation) -> Html:
    lines = found.excerpt.split("\n")
    marked = next((i for i, line in enumerate(lines) if " ".join(line.split()) == found.message), None)
    if marked is None:
        first = found.message.split(" ", 1)[0]
        marked = next((i for i, line in enumerate(lines) if first and line.strip().startswith(first)), -1)
    shown = [tag("mark", line) if number == marked else line for number, line in enumerate(lines)]
    code = tag("pre", tag("code", join(part for line in shown for part in (line, "\n"))))
    head = f"Line {found.line} of the log" if found.line else "The last lines of the log"
    box = tag("div", code, class_="scroll", tabindex="0", role="region", aria_label=head)
    return tag("section", tag("h2", head), box)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _made() -> Html:
    return tag("p", "Made by wheelsmith.", class_="soft")
