"""What one line of a log states: an error, the consequence of one, that something ended well, or nothing.

In: a `Line`. Out: a `Statement`, or None. It cannot fail. Only the form decides, as the tools print it, from the first
character on; a line that merely mentions an error (source, a command, a warning, a search that went on, prose) has
none.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib.resources import files

from wheelsmith.diagnostics.lines import Line

_LONGEST = 4000  # characters of a line in which a form is looked for


class Role(IntEnum):
    """What a line is for its log; the smaller, the more it says about the cause."""

    ERROR = 0  # a tool says what is wrong
    GENERIC = 1  # somebody says so, but tools that go on speak alike
    SUMMARY = 2  # something failed because something else did
    SUCCESS = 3


@dataclass(frozen=True, slots=True)
class Statement:
    """What a line states.

    Attributes:
        role: see there.
        kind: the form: `compiler`, `ninja`, `cmake`, `traceback`, …
        message: without place and severity.
        file, row, column: the place in a source; row and column from 1, 0: not said.
        code: an exit status; 0: not said.
        closes: whether the tool that wrote it ends with it.
    """

    role: Role
    kind: str
    message: str
    file: str = ""
    row: int = 0
    column: int = 0
    code: int = 0
    closes: bool = False


@dataclass(frozen=True, slots=True)
class _Form:
    """A row of forms.toml."""

    role: Role
    kind: str
    has: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]

    def match(self, text: str) -> re.Match[str] | None:
        """Where a line has this form, which most lines are spared."""
        if self.has and not any(part in text for part in self.has):
            return None
        return next(filter(None, (pattern.match(text) for pattern in self.patterns)), None)


@dataclass(frozen=True, slots=True)
class _Forms:
    """The table of forms.toml."""

    readers: tuple[_Form, ...]
    follows: _Form
    harmless: _Form
    probe: _Form
    success: _Form
    closes: _Form
    needles: tuple[str, ...]
    success_needles: tuple[str, ...]


@cache
def _forms() -> _Forms:
    data = tomllib.loads(files(__package__).joinpath("forms.toml").read_text("utf-8"))
    names = ("follows", "harmless", "probe", "success", "closes")
    follows, harmless, probe, success, closes = (_form(data[name]) for name in names)
    readers = tuple(map(_form, data["form"]))
    return _Forms(readers, follows, harmless, probe, success, closes, tuple(data["scan"]), tuple(data["scan_success"]))


def _form(row: Mapping[str, str | list[str]]) -> _Form:
    role = Role[str(row.get("role", "success")).upper()]
    patterns = tuple(re.compile(text) for text in row["patterns"])
    return _Form(role, str(row.get("kind", "")), tuple(row.get("has", ())), patterns)


def needles() -> tuple[str, ...]:
    """Texts of which one is in every line that states an error: what is searched for in a whole log."""
    return _forms().needles


def success_needles() -> tuple[str, ...]:
    """The same for lines that say that something ended well."""
    return _forms().success_needles


def statement_of(line: Line) -> Statement | None:
    """What the line states."""
    text = line.text.strip()[:_LONGEST]
    if not text or line.level in ("info", "command"):
        return None
    forms, ended = _forms(), f"{text}\n"
    if forms.success.match(ended):
        return Statement(Role.SUCCESS, "success", text)
    if forms.harmless.match(text):
        return None
    for form in forms.readers:
        if found := form.match(ended):
            return _statement(form, text, found) if line.level != "warning" or form.kind == "job" else None
    if line.level != "error":
        return None
    return Statement(Role.SUMMARY if forms.follows.match(text) else Role.GENERIC, "logged", text)


def is_probe(text: str) -> bool:
    """Whether a compiler's message is about a file that a configure step made to find something out."""
    return _forms().probe.match(text.strip()) is not None


def _statement(form: _Form, text: str, found: re.Match[str]) -> Statement:
    groups, forms = found.groupdict(), _forms()
    message = (groups.get("message") or text).strip()
    role = form.role
    if (
        role is not Role.SUMMARY
        and form.kind != "traceback"
        and (forms.follows.match(text) or forms.follows.match(message))
    ):
        role = Role.SUMMARY
    return Statement(
        role,
        form.kind,
        message,
        (groups.get("file") or "").strip(),
        int(groups.get("row") or 0),
        int(groups.get("column") or 0),
        int(groups.get("code") or 0),
        forms.closes.match(text) is not None,
    )
