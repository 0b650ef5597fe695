"""Find the few lines of a log that may matter, in one pass and in little memory.

In: something to read bytes from, and the texts that such lines hold. Out: the offsets of those lines, in order, each
with the lines around it at hand. Fails only as reading does (OSError). A log of any size is read once, from a pipe as
well; what is kept is a window of a few hundred kilobytes before and after the present line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence

from wheelsmith.diagnostics.lines import Line, clean

_CHUNK = 1 << 20  # bytes read at once
_BEHIND = 1 << 18  # bytes kept before the present line
_AHEAD = 1 << 17  # bytes there must be behind it, unless the log ends
_STEP = re.compile(rb"\[(\d+)/\1\] ")  # the last step of a build
# A needle in the middle of a name or an option: -Werror=…, error_utils.cu, -DFAILED=1.
_INSIDE = {
    b"rror": re.compile(rb"rror(?:[\w/.=,;\"'()`+-]| -| [a-z]*[^\w :;#(]|s\b)"),
    b"FAIL": re.compile(rb"FAIL(?!ED: |ED \S+::|URE)"),
    b"atal": re.compile(rb"atal(?! *:| error)"),
    b"xception": re.compile(rb"xception(?![:\r\n])"),
    b"No s": re.compile(rb"No s(?!uch file or|pace left|olution)"),
}
_BOMS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

Read = Callable[[int], bytes]


class Log:
    """A log that is being read.

    Args:
        read: gives at most so many bytes, none at the end.
        needles: texts of which one is in every line that matters.
        later: the same, for lines that matter only once others did (see `awake`).
    """

    def __init__(self, read: Read, needles: Sequence[str], later: Sequence[str]) -> None:
        self._read = read
        self._needles = [needle.encode() for needle in dict.fromkeys(needles)]
        self._later = [needle.encode() for needle in later]
        self.awake = False
        self.is_nothing: Callable[[bytes], bool] = lambda line: False  # what is known of lines of that shape
        self._buffer, self._base = b"", 0  # the window, and the offset of its first byte
        self._ended = False
        self._counted, self._lines = 0, 1  # up to which offset lines are counted, and the number of the line there
        self.empty = True

    def hits(self) -> Iterator[int]:
        """Offsets of the lines that hold a needle."""
        position = 0
        while not self._ended:
            self._fill(position)
            limit = self._limit(position)
            yield from self._found(position, limit)
            position = limit

    def line(self, at: int) -> tuple[Line, int]:
        """The line that begins at an offset, and where the next one does."""
        end = self._end(at)
        return clean(self._buffer[at - self._base : end - self._base], self._number(at)), end + 1

    def ahead(self, at: int, most: int) -> Iterator[tuple[int, Line]]:
        """The line at an offset and those after it, as far as the window reaches."""
        number = self._number(at)
        last = self._base + len(self._buffer)
        for _ in range(most):
            if at >= last:
                return
            end = self._end(at)
            yield at, clean(self._buffer[at - self._base : end - self._base], number)
            at, number = end + 1, number + 1

    def back(self, at: int, most: int) -> Iterator[Line]:
        """The lines before an offset, the nearest first."""
        number, end = self._number(at), at - 1 - self._base
        for _ in range(most):
            if end < 0:
                return
            start = self._buffer.rfind(b"\n", 0, end) + 1
            number -= 1
            yield clean(self._buffer[start:end], number)
            end = start - 1

    def raw(self, at: int) -> bytes:
        """The line that begins at an offset, as it is."""
        return self._buffer[at - self._base : min(self._end(at), at + 4096) - self._base]

    def tail(self, most: int) -> list[str]:
        """The last lines that are not blank."""
        lines = (line.text for line in self.back(self._base + len(self._buffer.rstrip()) + 1, 10 * most))
        return [text for text in lines if text][:most][::-1]

    def _end(self, at: int) -> int:
        end = self._buffer.find(b"\n", at - self._base)
        return (len(self._buffer) if end < 0 else end) + self._base

    def _number(self, at: int) -> int:
        if at >= self._counted:
            self._lines += self._buffer.count(b"\n", self._counted - self._base, at - self._base)
        else:
            self._lines -= self._buffer.count(b"\n", at - self._base, self._counted - self._base)
        self._counted = at
        return self._lines

    def _fill(self, position: int) -> None:
        """Let go of what is far behind, and read on."""
        drop = position - _BEHIND - self._base
        if drop > 0:
            cut = self._buffer.rfind(b"\n", 0, drop) + 1 or drop
            self._number(position)
            self._buffer = self._buffer[cut:]
            self._base += cut
        pieces, size = [self._buffer], 0
        while size < _CHUNK:
            piece = self._read(_CHUNK - size)
            if not piece:
                self._ended = True
                break
            pieces.append(piece)
            size += len(piece)
        self._buffer = b"".join(pieces)
        self.empty = self.empty and not self._buffer.strip()

    def _limit(self, position: int) -> int:
        """Where to stop for now: at the end of a line that has enough lines behind it."""
        if self._ended:
            return self._base + len(self._buffer)
        most = len(self._buffer) - _AHEAD
        end = self._buffer.rfind(b"\n", position - self._base, most)
        return self._base + (most if end < 0 else end + 1)  # a line without an end is cut

    def _found(self, begin: int, limit: int) -> list[int]:
        buffer, base = self._buffer, self._base
        first, last = begin - base, limit - base
        starts: set[int] = set()
        for needle in self._needles:
            self._search(needle, first, last, starts)
        starts = {start for start in starts if not self.is_nothing(self.raw(start + base))}
        if starts or self.awake:
            for needle in self._later:
                self._search(needle, first, last, starts)
            for found in _STEP.finditer(buffer, first, last):
                starts.add(buffer.rfind(b"\n", 0, found.start()) + 1)
        return sorted({max(start + base, begin) for start in starts})

    def _search(self, needle: bytes, at: int, last: int, starts: set[int]) -> None:
        """Add the beginnings of the lines that hold a needle, leaving out most of those that only look so."""
        buffer, harmless = self._buffer, _INSIDE.get(needle)
        at = buffer.find(needle, at, last)
        while at >= 0:
            if harmless is not None and harmless.match(buffer, at):
                at = buffer.find(needle, at + len(needle), last)
                continue
            starts.add(buffer.rfind(b"\n", 0, at) + 1)
            at = buffer.find(b"\n", at, last)
            if at >= 0:
                at = buffer.find(needle, at, last)


def reader(read: Read) -> Read:
    """Reads the same as `read`, as UTF-8 where a shell on Windows wrote UTF-16."""
    head = b""
    while len(head) < 2 and (piece := read(1 << 16)):
        head += piece
    encoding = _BOMS.get(head[:2])
    decode = codecs.getincrementaldecoder(encoding)("replace").decode if encoding else None
    rest = [decode(head[2:]).encode() if decode else head]

    def more(size: int) -> bytes:
        while True:
            if rest and rest[0]:
                found = rest[0][:size]
                rest[0] = rest[0][size:]
                return found
            piece = read(size)
            if not piece or decode is None:
                return piece
            rest[:] = [decode(piece).encode()]

    return more
