"""Show events: a live line on a terminal, plain lines in a log.

In: events. Out: text on stderr. On a terminal the compiler's own output goes to the log file only, and the last line
moves; elsewhere every stage and, now and then, its progress is a line of its own.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.text import Text

from wheelsmith.events import Event, Note, Progress, StageDone, StageStarted, ToolLine

_QUIET_SECONDS = 10.0


class Reporter:
    """A listener; use it as a context manager, so that the live line is cleared at the end."""

    def __init__(self, *, verbose: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._verbose = verbose
        self._status = self._console.status("") if self._console.is_terminal and not verbose else None
        self._last_line = 0.0

    def __enter__(self) -> Reporter:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, event: Event, /) -> None:
        """Show one event."""
        match event:
            case StageStarted(stage, detail):
                self._live(f"{stage} {detail}")
            case StageDone(stage, detail, seconds, reused):
                self._line(f"{stage:<10} {detail}{' (from the store)' if reused else ''} [{seconds:.1f} s]")
            case Note(stage, text, warning):
                self._line(f"{stage:<10} {'warning: ' if warning else ''}{text}", "yellow" if warning else "dim")
            case Progress(stage, label, done, total, unit):
                amount = f"{done:,}" + (f" of {total:,}" if total else "") + f" {unit}"
                self._live(f"{stage} {label} ({amount})")
                self._now_and_then(f"{stage:<10} {label} ({amount})")
            case ToolLine(stage, text):
                if self._verbose:
                    self._line(f"{stage:<10} | {text}", "dim")

    def _live(self, text: str) -> None:
        if self._status is not None:
            self._status.update(Text(text[: max(20, self._console.width - 4)]))

    def _line(self, text: str, style: str = "") -> None:
        if self._console.is_terminal:
            self._console.print(Text(text, style))
        else:
            print(text, file=sys.stderr, flush=True)
        self._last_line = time.monotonic()

    def _now_and_then(self, text: str) -> None:
        if self._status is None and time.monotonic() - self._last_line > _QUIET_SECONDS:
            self._line(text)
