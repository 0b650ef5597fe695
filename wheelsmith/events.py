"""What happens during a long step, as typed values: a terminal, a log, and a test listen to the same thing.

In: nothing. Out: the `Event` union and the `Listener` protocol. Rooms call the listener that they are given
and never print.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage (`sources`, `toolchain`, `compile`, `proof`, `index`) begins."""

    stage: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage ended well. `reused` is true when the store already held its result."""

    stage: str
    detail: str
    seconds: float
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` (None: not known) bytes or steps of the running stage."""

    stage: str
    label: str
    done: int
    total: int | None
    unit: str = "bytes"


@dataclass(frozen=True, slots=True)
class ToolLine:
    """One line that a tool (compiler, uv, git) printed."""

    stage: str
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should know that is not an error. `warning` asks for attention."""

    stage: str
    text: str
    warning: bool = False


Event = StageStarted | StageDone | Progress | ToolLine | Note


class Listener(Protocol):
    """Receives every event, in order, on the thread that caused it."""

    def __call__(self, event: Event, /) -> None:
        """Handle one event. Must not raise."""


def ignore(event: Event, /) -> None:
    """Listen to nothing."""
