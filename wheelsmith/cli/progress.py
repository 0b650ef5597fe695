"""Show events: live lines on a terminal, plain lines in a log, groups that fold in CI.

In: events. Out: text on stderr. On a terminal the compiler's own output goes to the log file only, and the last lines
move; elsewhere every stage and, now and then, its progress is a line of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from wheelsmith.cli.show import console
from wheelsmith.errors import harmless
from wheelsmith.events import (
    CellDone,
    CellStarted,
    Compiling,
    Event,
    Note,
    Progress,
    StageDone,
    StageStarted,
    ToolLine,
    UnitDone,
)

if TYPE_CHECKING:
    from wheelsmith.events import UnitAtWork

_QUIET_SECONDS = 10.0
_GOOD = ("built", "stored", "published")  # how a cell of a matrix ends that has its wheel
_SILENT_SECONDS = 20.0
_LONGEST_LINE = 160  # characters of a tool's line that stands for what it is doing
_MOST_UNITS = 8  # that are shown at work


class Reporter:
    """A listener; use it as a context manager, so that the live lines are cleared at the end."""

    def __init__(
        self, *, verbose: bool = False, quiet: bool = False, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._console = console(stderr=True)
        self._verbose, self._quiet = verbose and not quiet, quiet
        self._groups = _Groups(environment)
        live = self._console.is_terminal and not verbose and not quiet and not self._groups.known
        self._status = self._console.status("") if live else None
        self._last_line = 0.0
        self._stage, self._since, self._doing = "", 0.0, ""
        self._lock = threading.RLock()
        self._ended = threading.Event()

    def __enter__(self) -> Reporter:
        if self._status is not None:
            self._status.start()
        elif not self._quiet:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with contextlib.suppress(BrokenPipeError), self._lock:
            if self._status is not None:
                self._status.stop()
            self._plain(self._groups.end())

    def __call__(self, event: Event, /) -> None:
        """Show one event. A build goes on when nobody reads any more: what it compiles is kept."""
        if self._quiet and not (isinstance(event, Note) and event.warning):
            return
        with contextlib.suppress(BrokenPipeError), self._lock:
            self._show(event)

    def _beat(self) -> None:
        """Where nobody says anything for long (a download of gigabytes), say what is going on, and since when."""
        while not self._ended.wait(1.0):
            with contextlib.suppress(BrokenPipeError, ValueError), self._lock:
                if self._stage and not self._ended.is_set() and time.monotonic() - self._last_line > _SILENT_SECONDS:
                    spent = _duration(time.monotonic() - self._since)
                    self._line(f"{self._stage:<10} {self._doing or 'at work'} (for {spent} now)")

    def _show(self, event: Event) -> None:
        match event:
            case CellStarted(cell, number, total):
                self._line(f"{'cell':<10} {number} of {total}: {cell}")
            case CellDone(cell, state, text, seconds):
                bad = "" if state in _GOOD else "yellow"
                self._line(f"{'cell':<10} {cell}: {state}, {text} [{seconds:.1f} s]", bad)
            case StageStarted(stage, detail):
                self._stage, self._since, self._doing = stage, time.monotonic(), detail
                self._last_line = time.monotonic()
                self._plain(self._groups.start(stage, f"{stage} {detail}".rstrip()))
                self._live(f"{stage} {detail}")
            case StageDone(stage, detail, seconds, reused):
                self._stage = ""
                self._plain(self._groups.end())
                self._line(f"{stage:<10} {detail}{' (from the store)' if reused else ''} [{seconds:.1f} s]")
            case Note(stage, text, warning):
                self._doing = self._doing if warning else text
                self._line(f"{stage:<10} {'warning: ' if warning else ''}{text}", "yellow" if warning else "dim")
            case Progress(stage, label, done, total, unit):
                amount = f"{done:,}" + (f" of {total:,}" if total else "") + f" {unit}"
                self._live(f"{stage} {label} ({amount})")
                self._now_and_then(f"{stage:<10} {label} ({amount})")
            case Compiling():
                self._live(
                    "\n".join([f"compile {compiling_line(event)}", *map(_unit_line, event.running[:_MOST_UNITS])])
                )
                longest = f"; longest: {_unit_line(event.running[0]).strip()}" if event.running else ""
                self._now_and_then(f"{'compile':<10} {compiling_line(event)}{longest}")
            case UnitDone() if event.status != 0 and not event.again:
                self._line(f"{'compile':<10} {event.name} failed with status {event.status}", "yellow")
            case ToolLine(stage, text):
                if self._verbose:
                    self._line(f"{stage:<10} | {text}", "dim")
                elif stage != "compile" and text.strip():  # where it compiles, `Compiling` tells how far it is
                    self._doing = text.strip()[:_LONGEST_LINE]
                    self._live(f"{stage} {text.strip()}")
                    self._now_and_then(f"{stage:<10} {text.strip()[:_LONGEST_LINE]}")

    def _live(self, text: str) -> None:
        if self._status is not None:
            from textwrap import wrap

            from rich.text import Text

            width = max(20, self._console.width - 4)
            first, *rest = harmless(text).splitlines()
            lines = [*wrap(first, width, subsequent_indent="  "), *(line[:width] for line in rest)]
            self._status.update(Text("\n".join(lines[: max(1, self._console.height - 2)])))

    def _line(self, text: str, style: str = "") -> None:
        text = harmless(text).replace("\n", "\n  | ")  # so that no line begins with a command to the CI system
        if self._console.is_terminal:
            from rich.text import Text

            self._console.print(Text(text, style))
        else:
            self._plain(f"{text}\n")
        self._last_line = time.monotonic()

    def _plain(self, text: str) -> None:
        if text:
            sys.stderr.write(text)
            sys.stderr.flush()

    def _now_and_then(self, text: str) -> None:
        if self._status is None and time.monotonic() - self._last_line > _QUIET_SECONDS:
            self._line(text)


class _Groups:
    """What CI systems fold in their logs. Source: GitHub Actions, "Workflow commands"; GitLab, "Custom collapsible
    sections"."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._github, self._gitlab = bool(environment.get("GITHUB_ACTIONS")), bool(environment.get("GITLAB_CI"))
        self._open = ""

    @property
    def known(self) -> bool:
        """Whether this is a CI system whose groups are known."""
        return self._github or self._gitlab

    def start(self, name: str, title: str) -> str:
        """The text that begins a group, ending the one that is open."""
        before, self._open = self.end(), name
        if self._github:
            return f"{before}::group::{title}\n"
        if self._gitlab:
            return f"{before}\x1b[0Ksection_start:{time.time():.0f}:wheelsmith_{name}\r\x1b[0K{title}\n"
        return ""

    def end(self) -> str:
        """The text that ends the open group, if there is one."""
        name, self._open = self._open, ""
        if name and self._github:
            return "::endgroup::\n"
        if name and self._gitlab:
            return f"\x1b[0Ksection_end:{time.time():.0f}:wheelsmith_{name}\r\x1b[0K\n"
        return ""


def compiling_line(event: Compiling) -> str:
    """Where the compile stage is, in one line."""
    steps = f"{event.done} of {event.total} steps" if event.total else f"{event.units} units"
    parts = [f"stopping: {len(event.running)} run to their end" if event.stopping else steps]
    parts.append(time_left(event))
    parts += [f"{len(event.running)} of {event.slots} slots", f"{event.waiting} waiting"]
    parts.append(f"{event.memory / 1e9:.1f} GB used, {event.free / 1e9:.1f} GB free")
    if event.hits or event.misses:
        parts.append(f"{event.hits} from the cache, {event.misses} not")
    return ", ".join(parts)


def time_left(event: Compiling) -> str:
    """How long it takes yet, in words."""
    match event.left:
        case None:
            return "time left not known"
        case (0.0, high):
            return f"less than {'a minute' if high <= 60 else _duration(high)} left"
        case (low, high) if low == high:
            return f"about {_duration(low)} left"
        case (low, high):
            return f"between {_duration(low)} and {_duration(high)} left"


def _unit_line(unit: UnitAtWork) -> str:
    return f"  {unit.name} {_duration(unit.seconds)} {unit.memory / 1e9:.2f} GB"


def _duration(seconds: float) -> str:
    minutes = round(seconds) // 60
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {round(seconds) % 60:02} s" if minutes else f"{seconds:.0f} s"
