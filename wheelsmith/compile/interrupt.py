"""What ends a build early: Ctrl-C, SIGTERM, or the end of the time that it was given.

In: signals, and a moment. Out: `Interrupt.reason`, as soon as there is one. The second signal raises KeyboardInterrupt,
as the first one does where nobody listens. Only the main thread can listen to signals (signal(7), Python's `signal`).
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """Listens while it is entered. `until`: a moment of time.monotonic(); None: there is no such limit."""

    def __init__(self, until: float | None) -> None:
        self._until = until
        self._signals = 0
        self._before: dict[int, Any] = {}

    @property
    def late(self) -> str:
        """Says that the time is over, if it is; else empty."""
        return "its time is over" if self._until is not None and time.monotonic() >= self._until else ""

    @property
    def reason(self) -> str:
        """Why nothing new shall start; empty: there is no reason."""
        return "interrupted" if self._signals else self.late

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            raise KeyboardInterrupt
