"""What one piece of PTX text holds: its target and its kernels, by name.

In: the text, or its beginning. Out: `PtxFacts`, or None when it does not look like PTX. Nothing fails. The body of a
kernel counts as none when the first statement, jumps followed, is `ret`, `exit`, `trap` or `brkpt`, or a jump back to
where nothing was done; what hides that behind other statements counts as code. Source: NVIDIA "PTX ISA", chapters
"Directives" and "Control Flow Instructions".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wheelsmith.binary.names import Names

_SPACE = rb"(?:\s|//[^\n]*\n|/\*(?:[^*]|\*(?!/))*+\*/)"
_HEAD = re.compile(_SPACE + rb"*+\.version\s+(\d{1,2}\.\d{1,2})" + _SPACE + rb"*+\.target\s+sm_(\d{2,3}[af]?)\b")
_BEGIN = re.compile(rb"\.version\s+\d{1,2}\.\d{1,2}\s++(?:" + _SPACE + rb"*+)\.target\s+sm_\d{2,3}[af]?\b")
_LOOSE = re.compile(rb"\.version\s+(\d{1,2}\.\d{1,2})")
_TARGET = re.compile(rb"\.target\s+sm_(\d{2,3}[af]?)\b")
_ENTRY = re.compile(rb"\.entry\s+([A-Za-z0-9_$%.]{1,4096})")
_FUNCTION = re.compile(rb"\.func\b")
_NOTHING = re.compile(  # that is done
    rb"(?:\{|" + _SPACE + rb"|\.(?:reg|pragma|local|shared|param)\b[^;{}]*+;|\.(?:loc|file)\b[^\n]*+\n|[$%\w]++\s*+:)*+"
)
_END = re.compile(rb"(?:ret|exit|trap|brkpt)(?:\.uni)?\s*;")
_JUMP = re.compile(rb"bra(?:\.uni)?\s+([$%\w]{1,256})\s*;")
_LOOK = 4096
_JUMPS = 8  # that are followed
HEAD = 1 << 16  #: Bytes of the beginning in which version and target are looked for.


@dataclass(frozen=True, slots=True)
class PtxFacts:
    """What PTX text holds.

    Attributes:
        isa: version of the language.
        target: as after `sm_`, such as `90a`; None when there is none.
        names: its kernels; None: only its beginning was read.
        functions: whether it defines functions other than kernels.
    """

    isa: str
    target: str | None
    names: Names | None
    functions: bool


def looks_like_ptx(head: bytes) -> bool:
    """Whether a file that begins so is PTX: nothing but comments before `.version` and `.target`."""
    return _HEAD.match(head) is not None


def ptx_begins(data: bytes, place: int = 0) -> bool:
    """Whether the first directives of PTX stand at that place."""
    return _BEGIN.match(data, place) is not None


def read_ptx(text: bytes, *, whole: bool = True) -> PtxFacts | None:
    """The facts, or None when there is no `.version`. `whole`: whether the text does not go on."""
    head = text[:HEAD]
    version = _LOOSE.search(head)
    if version is None:
        return None
    target = _TARGET.search(head)
    if not whole:
        return PtxFacts(version[1].decode(), target[1].decode() if target else None, None, functions=False)
    real: list[bytes] = []
    stubs: list[bytes] = []
    place = body = 0
    while (place := text.find(b".entry", place)) >= 0:  # ten times faster than searching for the pattern
        found = _ENTRY.match(text, place)
        place += len(b".entry")
        if found is None:
            continue
        if 0 <= body < found.end():  # else it is still the next one, or there is none
            body = text.find(b"{", found.end())
        (stubs if body < 0 or _hollow(text, body) else real).append(found[1])
    return PtxFacts(
        version[1].decode(),
        target[1].decode() if target else None,
        Names.of(real, stubs),
        _FUNCTION.search(text) is not None,
    )


def _hollow(text: bytes, place: int) -> bool:
    """Whether a kernel whose body begins there ends, traps or spins before it does anything."""
    limit, been = place + _LOOK, b""
    for _ in range(_JUMPS):
        done = _NOTHING.match(text, place, limit)
        place = done.end() if done else place
        been += done[0] if done else b""
        if _END.match(text, place, limit):
            return True
        jump = _JUMP.match(text, place, limit)
        if jump is None:
            return False
        label = re.compile(rb"(?<![$%\w])" + re.escape(jump[1]) + rb"\s*+:")
        if label.search(been):
            return True
        there = label.search(text, jump.end(), limit)
        if there is None:
            return False
        place = there.start()
    return False
