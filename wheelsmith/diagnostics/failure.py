"""A failure as a value, and the small judgements about lines that its readers share.

In: lines of a log. Out: what is shown of them, whether one is an echo or a continuation, which exception of a chain
says most. Pure; nothing fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from wheelsmith.diagnostics.lines import Line
from wheelsmith.diagnostics.signature import Signature
from wheelsmith.diagnostics.statements import Role, statement_of

MOST_TEXT = 6000  # characters of an error that signatures are looked for in
_OUTPUT, _HEAD = "The output was:", 4  # how CMake introduces a compiler's output; lines above it that are shown
_LONGEST = 40  # lines of a block of CMake's that are shown
_WIDEST = 600  # characters of a line that is shown
_CARET = re.compile(r"\s*[\^~][\s\^~]*$")
_GUTTER = re.compile(r"\s*\d* \|")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that a log tells.

    Attributes:
        role: how much it says about the cause.
        kind: of the statement it was read from.
        line: number of the line that says it, from 1.
        texts: what it says, the most telling first, in single lines.
        excerpt: its lines in the log.
        stream: who wrote it.
        unit: what could not be made; `command`: with which command; `directory`: where. Empty: not known.
        file, row, column: the place in a source; empty and 0: not said.
        signature: what is known about it; `found`: where it found itself.
        held: whether a build tool says that it failed of it; `closed`: whether that tool has ended.
    """

    role: Role
    kind: str
    line: int
    texts: tuple[str, ...]
    excerpt: str
    stream: str = ""
    unit: str = ""
    command: str = ""
    directory: str = ""
    file: str = ""
    row: int = 0
    column: int = 0
    signature: Signature | None = None
    found: re.Match[str] | None = None
    held: bool = False
    closed: bool = False

    @property
    def message(self) -> str:
        """What it says, in one line."""
        return self.texts[0]


def one_line(text: str) -> str:
    """Text with single spaces."""
    return " ".join(text[:MOST_TEXT].split())


def shown(lines: Iterable[Line]) -> str:
    """Lines for an excerpt, without the indentation they have in common, each of bearable length."""
    kept = list(lines)
    margin = min((len(line.text) - len(line.text.lstrip()) for line in kept if line.text), default=0)
    texts = (line.text[margin:] for line in kept)
    return "\n".join(text if len(text) <= _WIDEST else f"{text[:_WIDEST]} …" for text in texts).strip("\n")


def from_the_error(block: list[Line]) -> list[Line]:
    """What is shown of CMake's error: with a compiler's whole output in it, its beginning and the compiler's error."""
    texts = [line.text.strip() for line in block]
    output = texts.index(_OUTPUT) if _OUTPUT in texts else len(block)
    for index in range(output, len(block)):
        statement = statement_of(block[index])
        if statement is not None and statement.role is not Role.SUMMARY and not texts[index].startswith("#$"):
            head = [line for line in block[:output] if line.text][:_HEAD]
            told = [line for line in block[max(output + 1, index - 2) :] if line.text]
            return [*head, replace(block[output], text=f"  {_OUTPUT} …"), *told[:14]]
    return block[:_LONGEST]


def is_command(line: Line) -> bool:
    """Whether the line below ninja's header is the command, which a logger may call an error."""
    statement = statement_of(line)
    return statement is None or statement.kind == "logged"


def is_echo(lines: Sequence[Line], index: int) -> bool:
    """Whether a line is source that a compiler shows: a caret stands below it, or a gutter before it."""
    if _GUTTER.match(lines[index].text):
        return True
    return index + 1 < len(lines) and bool(_CARET.match(lines[index + 1].text)) and lines[index + 1].text.strip() != ""


def after_echo(lines: Sequence[Line], first: int) -> int:
    """Where the source ends that a compiler shows below an error."""
    end = first + 1
    for index in range(first + 1, min(len(lines), first + 6)):
        if _GUTTER.match(lines[index].text) or _CARET.match(lines[index].text):
            end = index + 1
    return end


def goes_on(lines: Sequence[Line], index: int, kind: str) -> bool:
    """Whether an error goes on after an empty line, as a chain of causes does."""
    following = lines[index + 1].text.lstrip() if index + 1 < len(lines) else ""
    return kind in ("uv", "docker") or following.startswith("Caused by:")


def ends(line: Line, indent: int) -> bool:
    """Whether a line no longer belongs to the error above it."""
    text = line.text.lstrip()
    if text.startswith("Caused by:"):
        return False
    if text.startswith(
        ("[", "--", "FAILED", "note:", "hint:", "+ ", "$ ", "File ", "During handling", "The above exc")
    ):
        return not text.startswith(("[SSL", "[Errno", "[6]", "[7]", "[28]", "[35]", "[56]"))
    return line.indent <= indent and statement_of(line) is not None


def telling(chain: list[tuple[Failure, str]]) -> Failure:
    """Of exceptions of which each led to the next, the one that says most about the cause."""
    best, relation = chain[-1]
    for failure, before in reversed(chain[:-1]):
        if relation == "cause":
            if failure.role <= best.role and (failure.signature or not best.signature):
                best = failure
        elif best.role is not Role.SUMMARY and best.signature is None and failure.signature is not None:
            best = failure
        elif best.role is Role.SUMMARY and relation == "handled":
            break
        relation = before
    return best
