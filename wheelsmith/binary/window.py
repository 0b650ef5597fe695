"""Bounded random access to bytes that need not be in memory: a file, a part of one, or a bytes object.

In: bytes, or an open file. Out: a `Window`, whose `read` gives exactly what was asked for. Fails with
`InvalidWheelError` when a range leaves the window: in what this room reads, an offset is always somebody's claim.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wheelsmith.errors import InvalidWheelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK = 1 << 16


class Window:
    """`size` bytes that start at position `start` of what `source(offset, length)` reads."""

    __slots__ = ("_source", "_start", "size")

    def __init__(self, source: Callable[[int, int], bytes], start: int, size: int) -> None:
        self._source = source
        self._start = start
        self.size = size

    @classmethod
    def of_bytes(cls, data: bytes | memoryview) -> Window:
        """All of `data`."""
        return cls(lambda offset, length: bytes(data[offset : offset + length]), 0, len(data))

    @classmethod
    def of_file(cls, descriptor: int) -> Window:
        """All of an open file, which must stay open; reading moves no file position, so threads may share it."""
        return cls(lambda offset, length: os.pread(descriptor, length, offset), 0, os.fstat(descriptor).st_size)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`.

        Raises:
            InvalidWheelError: they are not all there.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise damaged(f"{length} bytes at offset {offset} leave its {self.size} bytes")
        data = self._source(self._start + offset, length)
        if len(data) != length:
            raise damaged("it became shorter while it was read")
        return data

    def part(self, offset: int, size: int) -> Window:
        """The window on `size` bytes from `offset`.

        Raises:
            InvalidWheelError: it would reach beyond this one.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise damaged(f"{size} bytes at offset {offset} leave its {self.size} bytes")
        return Window(self._source, self._start + offset, size)

    def blocks(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Yield position and content of everything from `start`, 64 KiB at a time."""
        while start < self.size:
            data = self.read(start, min(_BLOCK, self.size - start))
            yield start, data
            start += len(data)


def damaged(what: str, kind: str = "ELF") -> InvalidWheelError:
    """The error for a binary file that contradicts itself: `what` is the reason, without a full stop."""
    name = "An ELF" if kind == "ELF" else f"A {kind}"
    return InvalidWheelError(
        f"{name} file cannot be read: {what}.", "The file is damaged or not what its name says; get it again."
    )
