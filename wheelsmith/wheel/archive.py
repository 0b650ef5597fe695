"""A wheel as an untrusted zip archive: opened, checked, and read in place.

In: the path of a `.whl`. Out: an `Archive`: safe member names and their bytes, chunk by chunk. Fails with
`InvalidWheelError` on names that leave the archive, links, duplicates, overlaps, encryption, and on a member
whose content is not what the directory declares; needs a few chunks of memory, whatever the archive holds. Formats:
PKWARE APPNOTE 6.3, PyPA "Binary distribution format" (PEP 427, PEP 491).
"""

from __future__ import annotations

import os
import stat
import struct
import tempfile
import zipfile
import zlib
from bisect import bisect_left
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError, UsageError
from wheelsmith.wheel.inflate import CHUNK, copy_stored, inflate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_MEMBERS = 200_000
_MAX_TEXT = 64 << 20
MAX_LIBRARY = 4 << 30
_DEFLATE_LIMIT = 1040  # no deflate stream expands more (zlib's technical notes: 1032:1)
_MAX_TOTAL = 16 << 30
_IN_MEMORY = 8 << 20
_GRAIN = 1 << 18
_LOCAL = struct.Struct("<4s2xH18xHH")  # signature, flags, lengths of the name and of the extra field
_LOCAL_HEADER = _LOCAL.size
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    ValueError,
)


class Archive:
    """An opened wheel whose directory has been checked. Made by `open_archive`."""

    def __init__(self, path: Path, zipped: zipfile.ZipFile, descriptor: int) -> None:
        self._descriptor = descriptor
        self.path = path
        self.members = tuple(_checked(zipped.infolist(), path.name, path.stat().st_size))
        self._by_name = {member.filename: member for member in self.members}
        self.name, self.version, self.tags = _parse_name(path.name)
        self.dist_info = self._find_dist_info()

    def _find_dist_info(self) -> str:
        found = {name.split("/")[0] for name in self._by_name if name.split("/")[0].endswith(".dist-info")}
        if len(found) != 1:
            raise invalid(self.path.name, f"it has {len(found)} .dist-info directories")
        (directory,) = found
        if not self.is_ours(directory.removesuffix(".dist-info")):
            raise invalid(self.path.name, f"its metadata is in {directory!r}")
        for file in ("METADATA", "WHEEL", "RECORD"):
            if f"{directory}/{file}" not in self._by_name:
                raise invalid(self.path.name, f"it has no {directory}/{file}")
        return directory

    def is_ours(self, stem: str) -> bool:
        """Whether `stem` spells this wheel's `name-version`."""
        name, _, version = stem.rpartition("-")
        try:
            return canonicalize_name(name) == self.name and Version(version) == self.version
        except InvalidVersion:
            return False

    def chunks(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the content of a member, at most 1 MiB at a time.

        Raises:
            InvalidWheelError: the content is longer or shorter than declared, or its checksum is wrong.
        """
        for data, _ in self._pieces(member, CHUNK):
            yield data

    def _pieces(self, member: zipfile.ZipInfo, chunk: int) -> Iterator[tuple[bytes, int]]:
        unpack = inflate if member.compress_type == zipfile.ZIP_DEFLATED else copy_stored
        start = self._content(member)
        try:
            yield from unpack(self._descriptor, start, member.compress_size, member.file_size, member.CRC, chunk=chunk)
        except ValueError as error:
            raise invalid(self.path.name, f"{member.filename!r} cannot be unpacked ({error})") from error

    def _content(self, member: zipfile.ZipInfo) -> int:
        """Where the content of a member begins, after checking that its local header is of the same file."""
        head = os.pread(self._descriptor, _LOCAL.size, member.header_offset)
        magic, flags, name_length, extra_length = _LOCAL.unpack(head.ljust(_LOCAL.size, b"\0"))
        name = os.pread(self._descriptor, name_length, member.header_offset + _LOCAL.size)
        if magic != b"PK\3\4" or name.decode("utf-8" if flags & 0x800 else "cp437", "replace") != member.filename:
            raise invalid(self.path.name, f"{member.filename!r} cannot be unpacked (its two headers differ)")
        return member.header_offset + _LOCAL.size + int(name_length) + int(extra_length)

    def text(self, file: str) -> bytes:
        """Content of a file of the `.dist-info` directory, such as `METADATA`, of at most 64 MiB."""
        member = self._by_name[f"{self.dist_info}/{file}"]
        if member.file_size > _MAX_TEXT:
            raise invalid(self.path.name, f"its {file} has {member.file_size} bytes")
        return b"".join(self.chunks(member))

    def starts_with(self, member: zipfile.ZipInfo, *magics: bytes) -> bool:
        """Whether the content begins with one of `magics`. Unpacks a few bytes only."""
        longest = max(map(len, magics))
        if member.file_size < longest:
            return False
        return next(self._pieces(member, longest), (b"", 0))[0].startswith(magics)

    @contextmanager
    def opened(self, member: zipfile.ZipInfo) -> Iterator[tuple[Window, PackedSizes]]:
        """Give random access to a library of at most 4 GiB, which goes through a temporary file, not into memory.

        Safe to call from several threads.

        Raises:
            InvalidWheelError: it is too large, or not what the directory declares.
        """
        if not 0 < member.file_size <= MAX_LIBRARY:
            raise invalid(self.path.name, f"{member.filename!r} has {member.file_size} bytes")
        sizes = PackedSizes()
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
            for data, used in self._pieces(member, _GRAIN):
                file.write(data)
                sizes.add(len(data), used)
            if member.file_size <= _IN_MEMORY:
                file.seek(0)
                yield Window.of_bytes(file.read()), sizes
            else:
                file.flush()
                yield Window.of_file(file.fileno()), sizes


class PackedSizes:
    """How many bytes of the archive a part of a member takes, to within a few hundred bytes.

    Deflate has no borders inside; between the points that `add` was told, the ratio is taken as constant.
    """

    def __init__(self) -> None:
        self._content, self._packed = [0], [0]

    def add(self, length: int, used: int) -> None:
        """Tell that the next `length` bytes were unpacked when `used` bytes of the input were used up."""
        self._content.append(self._content[-1] + length)
        self._packed.append(used)

    def of(self, start: int, length: int) -> int:
        """Archive bytes of `length` bytes from `start`."""
        return round(self._at(start + length) - self._at(start))

    def _at(self, position: int) -> float:
        above = bisect_left(self._content, position)
        if above == 0:
            return 0.0
        if above == len(self._content):
            return float(self._packed[-1])
        share = (position - self._content[above - 1]) / (self._content[above] - self._content[above - 1])
        return self._packed[above - 1] + share * (self._packed[above] - self._packed[above - 1])


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a wheel and check its directory.

    Raises:
        InvalidWheelError: it is no zip archive, no wheel, or not safe to unpack.
        UsageError: there is no such file.
    """
    if not path.is_file():
        raise UsageError(f"{str(path)!r} is not a file.", "Give the path of a wheel.")
    try:
        zipped = zipfile.ZipFile(path)
    except _ZIP_ERRORS as error:
        raise invalid(path.name, f"it is not a readable zip archive ({error})") from error
    with zipped, path.open("rb") as file:
        yield Archive(path, zipped, file.fileno())


def invalid(wheel: str, what: str) -> InvalidWheelError:
    """The error for a wheel that cannot be trusted: `what` is the reason, without a full stop."""
    return InvalidWheelError(f"{wheel} is not a valid wheel: {what}.", "Build it again, or get it again.")


def _parse_name(filename: str) -> tuple[str, Version, tuple[str, ...]]:
    try:
        name, version, _, tags = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise invalid(filename, f"its name has not the form name-version-python-abi-platform.whl ({error})") from error
    return name, version, tuple(sorted(map(str, tags)))


def _checked(members: list[zipfile.ZipInfo], wheel: str, size: int) -> Iterator[zipfile.ZipInfo]:
    """Yield the members that are files, after checking all of them."""
    if len(members) > _MAX_MEMBERS:
        raise invalid(wheel, f"it has {len(members)} members")
    if (total := sum(member.file_size for member in members)) > _MAX_TOTAL:
        raise invalid(wheel, f"it declares {total} bytes of content")
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if name in seen:
            raise invalid(wheel, f"it holds {name!r} twice")
        seen.add(name)
        if problem := _problem(member):
            raise invalid(wheel, f"the member {name!r} {problem}")
        if not 0 <= member.header_offset <= size - _LOCAL_HEADER - member.compress_size:
            raise invalid(wheel, f"the member {name!r} lies outside the file")
    in_file = sorted(members, key=lambda member: member.header_offset)
    for first, second in pairwise(in_file):
        if first.header_offset + _LOCAL_HEADER + len(first.filename) + first.compress_size > second.header_offset:
            raise invalid(wheel, f"the members {first.filename!r} and {second.filename!r} overlap")
    yield from (member for member in members if not member.is_dir())


def _problem(member: zipfile.ZipInfo) -> str | None:
    name = member.filename
    parts = name.removesuffix("/").split("/")
    if "\\" in name or name != member.orig_filename or not {"", ".", ".."}.isdisjoint(parts):
        return "has an unsafe path"
    if stat.S_IFMT(member.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is a link or a device"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "is neither stored nor deflated"
    if member.file_size > member.compress_size * _DEFLATE_LIMIT + CHUNK:
        return f"declares {member.file_size} bytes out of {member.compress_size}"
    return None
