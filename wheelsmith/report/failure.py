"""Why a build failed, as a part of a page.

In: an `Explanation`. Out: `Html`: the lines that matter, the one with the error marked, cause, remedy, and the command
that repeats it. Pure; nothing fails.
"""

from __future__ import annotations

from wheelsmith.diagnostics.diagnose import Explanation
from wheelsmith.report.html import Html, join, tag


def failure_section(found: Explanation) -> Html:
    """A section for the report of a build; all that the log says is escaped."""
    if found.outcome == "healthy":
        return tag("section", tag("h2", "Why it failed"), tag("p", "No failure found."))
    head = found.message.split(" ", 1)[0]
    lines = found.excerpt.split("\n")
    marked = next((i for i, line in enumerate(lines) if " ".join(line.split()) == found.message), None)
    if marked is None:
        marked = next((i for i, line in enumerate(lines) if line.strip().startswith(head)), -1)
    shown = [tag("mark", line) if number == marked else line for number, line in enumerate(lines)]
    rows = [("Cause", found.cause or "not known"), ("What to do", found.remedy), ("Unit", found.unit)]
    facts = [part for name, value in rows if value for part in (tag("dt", name), tag("dd", value))]
    if found.repeat:
        facts += [tag("dt", "Repeat"), tag("dd", tag("code", found.repeat))]
    for link in found.links:
        facts += [tag("dt", "See"), tag("dd", tag("a", link, href=link, rel="noreferrer"))]
    for other in found.beside:
        facts += [tag("dt", "Beside"), tag("dd", f"line {other.line}: {other.cause or other.message}")]
    code = tag("pre", tag("code", join(part for line in shown for part in (line, "\n"))))
    return tag(
        "section",
        tag("h2", "Why it failed"),
        tag("p", f"Line {found.line} of the log:"),
        tag("div", code, class_="scroll", tabindex="0", role="region", aria_label="The lines of the log"),
        tag("dl", *facts),
    )
