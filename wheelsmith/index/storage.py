"""What the index asks of the place that it is kept in.

In: nothing. Out: `Storage`: objects under keys, of which small ones can be replaced if and only if they are still what
they were. All rules of the index are built on that one operation, so a directory and a bucket behave alike. A place is
opened by `wheelsmith.index.location`. Nothing fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from wheelsmith.events import Listener


@dataclass(frozen=True, slots=True)
class Stored:
    """A small object as it was read: its content, and the storage's own mark of this version."""

    data: bytes
    version: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A wheel on its way in, not visible yet.

    Attributes:
        path: a local file of its bytes, under its own name, for checks.
        filename: its file name.
        sha256: 64 hexadecimal digits.
        size: bytes.
    """

    path: Path
    filename: str
    sha256: str
    size: int


class Inbox(Protocol):
    """Takes the wheels of one call of `publish` in."""

    def receive(self, source: Path) -> Arrival:
        """Take bytes that nobody else changes any more, and their digest."""

    def occupied(self, arrival: Arrival) -> str | None:
        """The SHA-256 of what lies under the wheel's name in the storage, published or not, or None."""

    def keep(self, arrival: Arrival, beside: Mapping[str, bytes]) -> None:
        """Put the wheel where its entry will say it is, complete or not at all, and small files (by key) beside it."""

    def secure(self) -> None:
        """Make sure that all that was kept outlives a power cut. Called before a record names it."""

    def done(self) -> None:
        """Everything that follows from the wheels was written."""


@runtime_checkable
class Storage(Protocol):
    """Objects under keys. Methods that change something are called within `exclusive`."""

    @property
    def url(self) -> str:
        """The location, for people."""

    def read(self, key: str) -> Stored | None:
        """A small object, or None."""

    def swap(self, key: str, data: bytes, expected: Stored | None) -> bool:
        """Put `data` at `key` if that still holds what was `expected` (None: nothing); else return False."""

    def write(self, key: str, data: bytes) -> None:
        """Put `data` at `key`, whatever is there: for what is the same whoever writes it."""

    def delete(self, *names: str) -> None:
        """Remove objects; those that are not there do not matter."""

    def names(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with `prefix`, which is empty or ends with `/`, sorted."""

    def wheels(self) -> Iterator[tuple[str, datetime]]:
        """Where wheels are stored, published or not, and since when."""

    def stored_at(self, filename: str, sha256: str) -> str | None:
        """The key of a wheel, or None where that is its file name."""

    def size(self, key: str) -> int | None:
        """Bytes of an object, or None if it is not there."""

    def local(self, key: str) -> AbstractContextManager[Path | None]:
        """A local file with the object's bytes and name, or None."""

    def set_aside(self, key: str) -> None:
        """Move a damaged object out of clients' sight, under `.wheelsmith/damaged/`."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other writers out, where the storage can; correctness then still rests on `swap`."""

    def inbox(self, listener: Listener) -> AbstractContextManager[Inbox]:
        """Begin to take wheels in."""

    def leftovers(self) -> tuple[str, ...]:
        """File names that dead writers were about to publish."""

    def settle(self, is_published: Callable[[str], bool]) -> tuple[str, ...]:
        """Roll back what dead writers had not published; return the file names that they were about."""

    def each(self, work: Callable[[str], object], names: Iterable[str]) -> None:
        """Do `work` for every key, several at a time where that helps."""
