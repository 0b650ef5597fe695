"""A wheel's zip directory, bounded before anything reads it.

In: the path of a file. Out: an `Archive` from `open_wheel_archive`. `zipfile` reads the whole central directory into
memory and makes an object of some hundred bytes out of every 46 bytes of it, so a small hostile file could take
gigabytes: here its size is held against a limit, and its entries are counted, before that. An archive that two readers
could read differently is refused too: with something before its first member, between directory and end record, or
behind the comment. Fails with `InvalidWheelError`. Format: PKWARE APPNOTE 6.3, sections 4.3.12 to 4.3.16.
"""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from wheelsmith.errors import InvalidWheelError
from wheelsmith.wheel.archive import invalid, open_archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wheelsmith.wheel.archive import Archive

MAX_MEMBERS = 200_000
MAX_DIRECTORY = 32 << 20  # bytes: 160 for each member
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s24x3H12x")  # signature, lengths of the name, the extra field and the comment
_MAX_COMMENT = 1 << 16


@contextmanager
def open_wheel_archive(path: Path) -> Iterator[Archive]:
    """Open a wheel whose directory is bounded and unambiguous; else as `open_archive`.

    Raises:
        InvalidWheelError: it is no zip archive, no wheel, not safe to unpack, or its directory is too large.
    """
    check_directory(path)
    with open_archive(path) as archive:
        yield archive


def check_directory(path: Path) -> None:
    """Refuse a file whose zip directory is too large or ambiguous. Reads at most `MAX_DIRECTORY` bytes.

    Raises:
        InvalidWheelError: it is.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start, length = _find(file, size, path.name)
        if length > MAX_DIRECTORY:
            raise invalid(path.name, f"its zip directory has {length} bytes, and {MAX_DIRECTORY} are allowed")
        file.seek(start)
        directory = file.read(length)
    position = count = 0
    while position < length:
        try:
            magic, name, extra, comment = _ENTRY.unpack_from(directory, position)
        except struct.error as error:
            raise _unreadable(path.name, "its directory ends in an entry") from error
        if magic != b"PK\1\2":
            raise _unreadable(path.name, "its directory holds something else")
        position += _ENTRY.size + name + extra + comment
        count += 1
        if count > MAX_MEMBERS:
            raise invalid(path.name, f"it has more than {MAX_MEMBERS} members")
    if position > length:
        raise _unreadable(path.name, "its directory ends in an entry")


def _find(file: BinaryIO, size: int, name: str) -> tuple[int, int]:
    """Offset and length of the directory, which must end where the end record begins."""
    tail = min(size, _END.size + _MAX_COMMENT)
    file.seek(size - tail)
    data = file.read(tail)
    at = len(data) - _END.size
    if at < 0 or data[at : at + 4] != b"PK\5\6" or data[-2:] != b"\0\0":
        at = data.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(data):
        raise _unreadable(name, "it has no end record")
    _, disk, first, here, total, length, start, comment = _END.unpack_from(data, at)
    end = size - tail + at
    if end + _END.size + comment != size or disk or first or here != total:
        raise _unreadable(name, "its end record contradicts itself")
    locator = _read(file, end - _LOCATOR.size, _LOCATOR)
    if locator is not None and locator[0] == b"PK\6\7":
        end -= _LOCATOR.size + _END64.size
        record = _read(file, end, _END64)
        if record is None or record[0] != b"PK\6\6" or locator[2] != end or record[1] != _END64.size - 12:
            raise _unreadable(name, "its zip64 end record is not where it should be")
        length, start = record[8], record[9]
    if start + length != end:
        raise _unreadable(name, "its directory does not end where its end record begins")
    return start, length


def _read(file: BinaryIO, offset: int, form: struct.Struct) -> tuple[Any, ...] | None:
    """The record at `offset`, or None if the file is too short for it."""
    if offset < 0:
        return None
    file.seek(offset)
    data = file.read(form.size)
    return form.unpack(data) if len(data) == form.size else None


def _unreadable(name: str, why: str) -> InvalidWheelError:
    return invalid(name, f"it is not a readable zip archive ({why})")
