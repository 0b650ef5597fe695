"""Why a build failed, from its log.

In: the text of a log. Out: a `Diagnosis`: the first real error with its surroundings, and, where a signature of
`failures.toml` matches, cause and remedy. It cannot fail.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

# What compilers, ninja, CMake and Python print at the first real error; the noise around it matches nothing here.
_ERROR = re.compile(
    r"(?:\b(?:fatal |catastrophic )?error(?: [A-Z]?\d+)?\s*:|\bfatal\s*:|^FAILED:|^CMake Error"
    r"|^\w*(?:Error|Exception)\b.*:"
    r"|\bKilled\b|No space left on device|died due to signal)",
    re.MULTILINE,
)
_BEFORE, _AFTER = 2, 12


@dataclass(frozen=True, slots=True)
class Signature:
    """A known failure."""

    id: str
    pattern: re.Pattern[str]
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`id`, `cause` and `remedy` are empty when no signature matches; `excerpt` is the first error with context."""

    id: str
    cause: str
    remedy: str
    excerpt: str


@cache
def signatures() -> tuple[Signature, ...]:
    """The table, in order: the first that matches wins."""
    data = tomllib.loads(files(__package__).joinpath("failures.toml").read_text("utf-8"))
    return tuple(
        Signature(row["id"], re.compile(row["pattern"], re.MULTILINE), row["cause"], row["remedy"])
        for row in data["failure"]
    )


def diagnose(log: str) -> Diagnosis:
    """Read a log (its last run: what follows the last start counts as much as the rest)."""
    lines = log.splitlines()
    first = next((i for i, line in enumerate(lines) if _ERROR.search(line)), max(0, len(lines) - _AFTER))
    excerpt = "\n".join(lines[max(0, first - _BEFORE) : first + _AFTER])
    for signature in signatures():
        if signature.pattern.search(log):
            return Diagnosis(signature.id, signature.cause, signature.remedy, excerpt)
    return Diagnosis("", "", "", excerpt)
