"""What compilers, linkers and CMake warned of in the log of a build, each kind once.

In: lines of bytes. Out: `Warned` values, the most frequent first. Nothing fails; of a line 4 kB are looked at. Forms:
GCC and Clang (`file:1:2: warning: … [-Wname]`), nvcc's front end (`file(1): warning #177-D: …`), ptxas and nvlink
(`ptxas warning : …`), CMake (`CMake Warning at file:1 …`, the text on the next lines), linkers (`ld: warning: …`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wheelsmith.diagnostics.lines import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 4096
_MOST_KINDS = 1000  # further ones are not told apart: a log may warn of a million things
_GCC = re.compile(
    r"^(?P<file>[^\s:][^:]*):(?P<line>\d+)(?::\d+)?: warning: (?P<text>.+?)(?: \[(?P<kind>-W[\w+=-]+)\])?$"
)
_EDG = re.compile(r"^(?P<file>[^\s(][^(]*)\((?P<line>\d+)\): warning (?P<kind>#\d+(?:-D)?): (?P<text>.+)$")
_TOOL = re.compile(
    r"^(?P<kind>ptxas|nvlink|nvcc|fatbinary)(?: (?:[\w./-]+, line \d+; )?|\s*:\s*)[Ww]arning\s*: (?P<text>.+)$"
)
_LINKER = re.compile(r"^\S*\b(?P<kind>ld(?:\.\w+)?|gold|lld|mold): warning: (?P<text>.+)$")
_CMAKE = re.compile(
    r"^CMake (?:Deprecation )?(?P<kind>Warning)(?: \(dev\))?(?: at (?P<file>[^:]+):(?P<line>\d+)(?: \(\w+\))?)?:"
    r"(?P<text>.*)$"
)
_FORMS = (_GCC, _EDG, _TOOL, _LINKER, _CMAKE)


@dataclass(frozen=True, slots=True)
class Warned:
    """One kind of warning.

    Attributes:
        kind: the name its tool gives it (`-Wunused-variable`, `#177-D`), else the tool.
        text: of the first one.
        file: where the first one is; empty if the tool does not say.
        line: in that file, from 1; 0 if the tool does not say.
        at: line of the log, from 1.
        count: how often it came.
    """

    kind: str
    text: str
    file: str
    line: int
    at: int
    count: int


def warnings_of(lines: Iterable[bytes]) -> tuple[Warned, ...]:
    """The warnings of a log by kind, the most frequent first."""
    found: dict[tuple[str, str], Warned] = {}
    waiting: tuple[str, str] | None = None  # CMake's text comes on the lines after the head
    for number, raw in enumerate(lines, 1):
        if waiting is not None:
            told = raw[:_LONGEST].decode("utf-8", "replace").strip()
            whole = f"{found[waiting].text} {told}".strip()
            found[waiting] = replace(found[waiting], text=whole)
            if (whole and not told) or len(whole) > _LONGEST:
                waiting = None
            continue
        if b"arning" not in raw:
            continue
        text = clean(raw[:_LONGEST]).text.strip()
        match = next((match for form in _FORMS if (match := form.match(text))), None)
        if match is None:
            continue
        facts = match.groupdict()
        told, kind = facts["text"].strip(), facts["kind"] or "warning"
        cmake = match.re is _CMAKE
        kind = "CMake" if cmake else kind
        file, line = facts.get("file") or "", int(facts.get("line") or 0)
        key = (kind, f"{file}:{line}" if cmake else told)
        known = found.get(key)
        if known is None and len(found) >= _MOST_KINDS:
            continue
        found[key] = (
            Warned(kind, told, file, line, number, 1) if known is None else replace(known, count=known.count + 1)
        )
        if cmake and not told and known is None:
            waiting = key
    return tuple(sorted(found.values(), key=lambda item: (-item.count, item.at)))
