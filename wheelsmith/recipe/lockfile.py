"""What a lock of build requirements may hold.

In: the text of a lock (pip's requirements format). Out: its first flaw. Pure; nothing can fail. A lock comes with a
recipe or a provenance, from strangers, and uv reads it with all that the format allows: other indexes, directories,
commands of its own. Names, versions and hashes are taken; the rest is refused, with its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from packaging.requirements import InvalidRequirement

from wheelsmith.pep508 import requirement

FLAW_REMEDY = (
    "A lock holds lines such as `name==1.2 --hash=sha256:…` alone; which index serves them, the user of wheelsmith says"
    " (--index-url, or uv's own configuration)."
)
_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first line of a lock that is no pinned and hashed requirement, counted from 1, and what is wrong with it."""

    line: int
    why: str


@lru_cache(maxsize=64)  # every plan of a package, such as a matrix's, reads the same few
def lock_flaw(lock: str) -> Flaw | None:
    """What of a lock must not reach uv or pip: options (another index, an editable directory), URLs and paths, what
    is not pinned, what has no hash, and variables, which pip and uv replace."""
    first, whole = 0, ""
    for number, line in enumerate(lock.splitlines(), start=1):
        text = _COMMENT.sub("", line).strip()
        first = first if whole else number
        whole += text.removesuffix("\\").strip() + " "
        if text.endswith("\\"):
            continue
        if whole.strip() and (why := _wrong(whole.strip())):
            return Flaw(first, why)
        whole = ""
    return Flaw(first, "the file ends in the middle of a line") if whole.strip() else None


def _wrong(entry: str) -> str:
    """Why a line is no entry of a lock; empty: it is one."""
    text, *hashes = re.split(r"\s--hash[ =]", entry)
    shown = repr(text if len(text) < 80 else f"{text[:77]}…")
    if text.startswith("-"):
        return f"{shown} is an option"
    try:
        parsed = requirement(text)
    except InvalidRequirement:
        return f"{shown} is no requirement"
    pins = [(item.operator, item.version) for item in parsed.specifier]
    if parsed.url or "$" in text:
        return f"{shown} names a place or a variable"
    if len(pins) != 1 or pins[0][0] != "==" or pins[0][1].endswith("*"):
        return f"{shown} is not pinned to one version"
    if not hashes or not all(_HASH.fullmatch(item.strip()) for item in hashes):
        return f"{shown} has no SHA-256 hash, or something besides"
    return ""
