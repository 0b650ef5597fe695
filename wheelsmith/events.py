"""What happens during a long step, as typed values: a terminal, a log, and a test listen to the same thing.

In: nothing. Out: the `Event` union and the `Listener` protocol. Rooms call the listener that they are given
and never print.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

_SURE = 1.6  # times: both ends are within a quarter of what lies between
_SHORT = 60.0  # seconds that are not told apart


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
class UnitAtWork:
    """A compiler that runs: what it compiles, for how many seconds, and how many bytes it uses now."""

    name: str
    seconds: float
    memory: int


@dataclass(frozen=True, slots=True)
class Compiling:
    """Where the compile stage is; told about once a second.

    Attributes:
        done: steps that are done, of `total` (None: not known; ninja says it, other build tools do not).
        units: compilers that ended well.
        running: the compilers at work, the longest first.
        waiting: compilers that wait for a slot.
        slots: how many may run at once, as far as memory allows.
        memory: bytes that the running ones use.
        free: bytes that are free beside that.
        eta_seconds: seconds left if all goes on as now; None: not known.
        hits: units that came from the compile cache.
        misses: units that it did not have.
        stopping: nothing new starts; `eta_seconds` is then until the last of the running ones ends.
        eta_between: what the seconds left lie between, as far as anybody can know: what others do on the machine, and
            how fast it is, is seen only as the build goes on.
    """

    done: int
    total: int | None
    units: int
    running: tuple[UnitAtWork, ...]
    waiting: int
    slots: int
    memory: int
    free: int
    eta_seconds: float | None
    hits: int = 0
    misses: int = 0
    stopping: bool = False
    eta_between: tuple[float, float] | None = None

    @property
    def left(self) -> tuple[float, float] | None:
        """Seconds left, from and to, as they are to be told: the same twice where the two are within a quarter of it,
        and anything up to a minute where it is no more than that."""
        if self.eta_seconds is None:
            return None
        low, high = self.eta_between or (self.eta_seconds, self.eta_seconds)
        if high < _SHORT:
            return 0.0, _SHORT
        return (self.eta_seconds, self.eta_seconds) if high <= low * _SURE else (low, high)


@dataclass(frozen=True, slots=True)
class UnitDone:
    """A compiler ended. `status` is its exit status; `again`: it died of memory, and the unit will run again, alone."""

    name: str
    seconds: float
    cpu_seconds: float
    peak: int
    status: int
    cache: str = ""
    again: bool = False


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


@dataclass(frozen=True, slots=True)
class CellStarted:
    """A cell of a matrix, the `number`th (from 1) of `total`, begins."""

    cell: str
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class CellDone:
    """A cell of a matrix ended. `state` says how (see `wheelsmith.documents.matrices`), `text` names its wheel, or the
    cause of its failure."""

    cell: str
    state: str
    text: str
    seconds: float


Event = CellStarted | CellDone | StageStarted | StageDone | Progress | Compiling | UnitDone | ToolLine | Note


class Listener(Protocol):
    """Receives every event, in order, on the thread that caused it."""

    def __call__(self, event: Event, /) -> None:
        """Handle one event. Must not raise."""


def ignore(event: Event, /) -> None:
    """Listen to nothing."""
