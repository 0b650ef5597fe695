"""Who compiles which unit of a wheel that many workers make: a book that the scheduler keeps.

In: the units of a wheel; what each worker's build tool has brought. Out: the longest that nobody has taken, for whoever
has a core free. A worker that is lost gives back what it had not finished. Everything that changes the book runs in the
scheduler's own thread, so that nothing is given twice; it is kept by the scheduler's process, and gone with it.

`Taking` is what a worker's part asks, `Awaiting` the build that makes the wheel: it may fetch what others have done.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

_PERIOD = 0.1  # seconds between two questions of a worker with something to ask or to tell
_QUIET = 0.5  # seconds without a new unit after which those that came are taken; the longest shall be among them
_ASKS = 0.3  # seconds between two questions of who awaits
_VAIN = 10  # questions without an answer after which a farm is gone
_AHEAD = 4  # units that each core is given before it can start them: one for so many cores


@dataclass(slots=True)
class Book:
    """The units of one wheel: CPU-seconds by output, who has taken them (an address), and what is done."""

    seconds: Mapping[str, float]
    taken: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    closed: bool = False

    def take(
        self, who: str, brought: Collection[str], count: int, there: Collection[str]
    ) -> tuple[list[str], list[str]]:
        """Give `who` up to so many of what was brought, the longest first, of those that are nobody's or a lost
        worker's; and what of the rest is others'."""
        for lost in set(self.taken.values()).difference(there):
            self.give_back(lost)
        free = [one for one in brought if one in self.seconds and one not in self.taken and one not in self.done]
        free.sort(key=lambda one: (-self.seconds[one], one))
        given = [] if self.closed else free[:count]
        self.taken |= dict.fromkeys(given, who)
        others = [one for one in brought if one in self.done or self.closed or self.taken.get(one, who) != who]
        return given, [one for one in others if one not in given]

    def give_back(self, who: str) -> None:
        """What somebody has taken and not finished is nobody's."""
        for output in [one for one, holder in self.taken.items() if holder == who and one not in self.done]:
            del self.taken[output]


class Keeper(Protocol):
    """Dask's scheduler, which gives itself to what runs there: the workers that it has, by address."""

    workers: Mapping[str, object]


@dataclass
class _Nobody:
    workers: Mapping[str, object] = field(default_factory=dict)


NOBODY = _Nobody()


def open_book(run: str, seconds: Mapping[str, float], dask_scheduler: Keeper = NOBODY) -> None:
    """Begin a book, in the scheduler's process."""
    _books(dask_scheduler)[run] = Book(seconds)


def take(
    run: str, who: str, brought: list[str], done: list[str], count: int, dask_scheduler: Keeper = NOBODY
) -> tuple[list[str], list[str]] | None:
    """Tell what is done, and take more (see `Book.take`), in the scheduler's process; None: there is no such book."""
    book = _books(dask_scheduler).get(run)
    if book is None:
        return None
    book.done.update(done)
    return book.take(who, brought, count, dask_scheduler.workers)


def look_up(
    run: str, close: bool = False, ended: str = "", dask_scheduler: Keeper = NOBODY
) -> tuple[list[str], bool] | None:
    """What is done, and whether the book is closed, in the scheduler's process. `close`: nobody gets anything more;
    `ended`: whose part has ended, well or not."""
    book = _books(dask_scheduler).get(run)
    if book is None:
        return None
    book.closed = book.closed or close
    book.give_back(ended)
    return sorted(book.done), book.closed


def forget(run: str, dask_scheduler: Keeper = NOBODY) -> None:
    """The wheel is made."""
    _books(dask_scheduler).pop(run, None)


def _books(scheduler: Keeper) -> dict[str, Book]:
    found: dict[str, Book] = vars(scheduler).setdefault("wheelsmith_books", {})
    return found


class _Asking(ABC):
    """A thread that asks the scheduler until the build is over."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"wheelsmith {type(self).__name__}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._ended.set()
        self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """What the thread does."""


class Taking(_Asking):
    """What a part compiles. `ask(brought, done, count)` is a call of `take` for this worker; `cores`: how many units
    compile at once; `known`: those that the farm shares out. Whatever else the build compiles, it compiles."""

    def __init__(
        self,
        ask: Callable[[list[str], list[str], int], tuple[list[str], list[str]] | None],
        known: Collection[str],
        cores: int,
    ) -> None:
        super().__init__()
        self._ask, self._known, self._most = ask, frozenset(known), cores + max(1, cores // _AHEAD)
        self._lock = threading.Lock()
        self._verdicts: dict[str, bool] = {}
        self._brought: dict[str, None] = {}
        self._told: list[str] = []
        self._open: set[str] = set()
        self._came, self._gone = time.monotonic(), False

    def verdict(self, output: str) -> bool | None:
        """See `Claims`."""
        if output not in self._known:
            return True
        with self._lock:
            found = self._verdicts.get(output)
            if found is None and self._gone:
                return False
            if found is None and output not in self._brought:
                self._brought[output] = None
                self._came = time.monotonic()
            return found

    def done(self, output: str) -> None:
        """See `Claims`."""
        with self._lock:
            self._told.append(output)
            self._open.discard(output)

    def _run(self) -> None:
        vain = 0
        while not self._ended.wait(_PERIOD):
            with self._lock:
                brought, done = list(self._brought), self._told
                all_here = len(brought) + len(self._verdicts) >= len(self._known)
                count = self._most - len(self._open)
                early = not self._verdicts and not all_here and time.monotonic() - self._came < _QUIET
                if not done and (early or not brought or count <= 0):
                    continue
                self._told = []
            try:
                answer = self._ask(brought, done, 0 if early else max(0, count))
                vain = 0
            except Exception:  # Dask has many for a scheduler that does not answer
                vain += 1
                with self._lock:
                    self._told = done + self._told
                    self._gone = vain >= _VAIN
                continue
            with self._lock:
                self._decide(answer)
        with self._lock:
            done, self._told = self._told, []
        if done and not self._gone:
            try:
                self._ask([], done, 0)
            except Exception:  # as above; others compile again what it was not told of
                return

    def _decide(self, answer: tuple[list[str], list[str]] | None) -> None:
        if answer is None:
            self._gone = True
            return
        given, others = answer
        self._open.update(given)
        self._verdicts |= dict.fromkeys(given, True) | dict.fromkeys(others, False)
        for output in (*given, *others):
            self._brought.pop(output, None)


class Awaiting(_Asking):
    """The build that makes the wheel: a unit that the farm shares out starts when another machine has compiled it, or
    when nobody will any more. `ask()` is a call of `look_up`."""

    def __init__(self, ask: Callable[[], tuple[list[str], bool] | None], known: Collection[str]) -> None:
        super().__init__()
        self._ask, self._known = ask, frozenset(known)
        self._done: frozenset[str] = frozenset()
        self._free = False

    def verdict(self, output: str) -> bool | None:
        """See `Claims`."""
        return True if self._free or output in self._done or output not in self._known else None

    def done(self, output: str) -> None:
        """See `Claims`."""

    def _run(self) -> None:
        vain = 0
        while not self._free and not self._ended.wait(_ASKS):
            try:
                answer = self._ask()
                vain = 0
            except Exception:  # Dask has many for a scheduler that does not answer
                vain += 1
                self._free = vain >= _VAIN
                continue
            if answer is None:
                self._free = True
            else:
                self._done, self._free = frozenset(answer[0]), answer[1]
