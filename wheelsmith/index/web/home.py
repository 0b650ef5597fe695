"""What the home page says of each project, kept so that a publish need not look at all of them again.

In: a project's wheels, as its page shows them. Out: `Line` values, newest first. They are a cache beside the records,
made again where one is missing or damaged. Fails with `StoreError` on a directory that cannot be written.

    <root>/records/cards/home.json
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from wheelsmith.index.files import write_atomic
from wheelsmith.schema import read_json

if TYPE_CHECKING:
    from wheelsmith.index.layout import Layout


@dataclass(frozen=True, slots=True)
class Line:
    """One project at a glance.

    Attributes:
        name: normalized.
        version: the newest one.
        time: when the newest wheel came, as the JSON page spells it.
        summary: one line of its METADATA; may be empty.
        gpus: families of GPUs that run it natively; empty: none is known to.
        has_code: whether its newest version holds GPU code.
        files: wheels.
    """

    name: str
    version: str
    time: str
    summary: str
    gpus: tuple[str, ...]
    has_code: bool
    files: int


@dataclass(frozen=True, slots=True)
class Home:
    """All lines by project."""

    lines: dict[str, Line] = field(default_factory=dict)
    schema: Literal[1] = 1

    def newest_first(self) -> list[Line]:
        """The lines, newest first, and those of one publication by name."""
        return sorted(sorted(self.lines.values(), key=lambda line: line.name), key=lambda line: line.time, reverse=True)

    def matching(self, words: str) -> list[Line]:
        """The lines in whose name, summary or GPUs every word is."""
        wanted = words.lower().split()
        return [
            line
            for line in self.newest_first()
            if all(word in f"{line.name} {line.summary} {' '.join(line.gpus)}".lower() for word in wanted)
        ]


def read_home(layout: Layout) -> Home:
    """What is kept; nothing if that is damaged."""
    try:
        return read_json(Home, (layout.root / "records/cards/home.json").read_bytes())
    except (FileNotFoundError, msgspec.ValidationError):
        return Home()


def write_home(layout: Layout, home: Home) -> None:
    """Keep it."""
    write_atomic(layout.root / "records/cards/home.json", msgspec.json.encode(home) + b"\n", layout.staging.parent)
