"""Why an engine could not fetch or make an image: its own words, held against the table beside this file.

In: what it said last. Out: an error of the kind that it is: `ImageError`, `NetworkError`, `DiskFullError` or
`EngineError`; None, where the table knows nothing. It cannot fail.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from wheelsmith.container.command import storage_command
from wheelsmith.errors import DiskFullError, EngineError, ImageError, NetworkError, WheelsmithError

if TYPE_CHECKING:
    from wheelsmith.container.engines import Engine
    from wheelsmith.container.process import Ask

_KINDS: dict[str, type[WheelsmithError]] = {
    "image": ImageError,
    "network": NetworkError,
    "disk": DiskFullError,
    "engine": EngineError,
}
_PRUNE = {"docker": "docker image prune", "podman": "podman image prune", "buildah": "buildah rmi --prune"}
_DRAWN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # by an engine that has a terminal
_LITTLE = 16 << 20  # bytes: with fewer, no container starts


@dataclass(frozen=True, slots=True)
class _Cause:
    """One row of the table; `when`: `pull`, `make`, or empty for both."""

    kind: str
    patterns: tuple[re.Pattern[str], ...]
    cause: str
    remedy: str
    when: str = ""


def why(engine: Engine, image: str, doing: Literal["pull", "make"], words: str, query: Ask) -> WheelsmithError | None:
    """What the table knows about it.

    Args:
        engine: who failed.
        image: the base image.
        doing: what was to be done with it.
        words: what the engine said last.
        query: asks the engine where its storage is.
    """
    words = _DRAWN.sub("", words)
    for row in _table():
        found = next((match for pattern in row.patterns if (match := pattern.search(words))), None)
        if found is None or row.when not in {"", doing}:
            continue
        names = {"image": image, "engine": str(engine), "name": engine.name, "prune": _PRUNE[engine.name]}
        names |= found.groupdict()
        names["storage"] = f" ({place})" if "{storage}" in row.cause and (place := storage(engine, query)) else ""
        line = words[words.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0].strip()
        return _KINDS[row.kind](f"{row.cause.format(**names)}.", f"{row.remedy.format(**names)}.", detail=line)
    return None


def storage(engine: Engine, query: Ask) -> str:
    """Where the engine keeps images and containers; empty: it does not tell."""
    answer = query(storage_command(engine))
    return answer.out if answer.code == 0 and answer.out.startswith("/") else ""


def storage_is_full(engine: Engine, query: Ask) -> DiskFullError | None:
    """For an engine that could not start a container, and said why on the user's own terminal."""
    try:
        place = storage(engine, query)
        facts = os.statvfs(place)
    except OSError:
        return None
    if facts.f_bavail * facts.f_frsize >= _LITTLE:
        return None
    return DiskFullError(
        f"The disk that {engine} works on is full ({place}).",
        f"Free some space there: `{_PRUNE[engine.name]}` removes images without a name.",
    )


@cache
def _table() -> tuple[_Cause, ...]:
    rows = tomllib.loads(files(__package__).joinpath("causes.toml").read_text("utf-8"))["cause"]
    return tuple(
        _Cause(
            row["kind"],
            tuple(re.compile(text, re.MULTILINE) for text in row["patterns"]),
            row["cause"],
            row["remedy"],
            row.get("when", ""),
        )
        for row in rows
    )
