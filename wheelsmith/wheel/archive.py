"""A wheel as an untrusted zip archive: opened, checked, and read in place.

In: the path of a `.whl`. Out: an `Archive`: safe member names and their bytes, chunk by chunk. Fails with
`InvalidWheelError` on names that leave the archive, links, duplicates, overlaps, encryption, and on a member
whose content is not what the directory declares; never needs more memory than one chunk, or one library when
mapped. Formats: PKWARE APPNOTE 6.3, PyPA "Binary distribution format" (PEP 427, PEP 491).
"""

from __future__ import annotations

import copy
import mmap
import stat
import zipfile
import zlib
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import InvalidWheelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 1 << 20
_MAX_MEMBERS = 200_000
_MAX_TEXT = 64 << 20
_MAX_LIBRARY = 4 << 30
_DEFLATE_LIMIT = 1040  # no deflate stream expands more (zlib's technical notes: 1032:1)
_LOCAL_HEADER = 30
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

    def __init__(self, path: Path, zipped: zipfile.ZipFile) -> None:
        self._zip = zipped
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
        probe = copy.copy(member)
        probe.file_size += 1  # zipfile stops at the declared size; ask for one byte more to see whether it lies
        total = 0
        try:
            with self._zip.open(probe) as stream:
                while chunk := stream.read(CHUNK):
                    total += len(chunk)
                    if total > member.file_size:
                        break
                    yield chunk
        except _ZIP_ERRORS as error:
            raise invalid(self.path.name, f"{member.filename!r} cannot be unpacked ({error})") from error
        if total != member.file_size:
            raise invalid(self.path.name, f"{member.filename!r} does not hold the {member.file_size} bytes it declares")

    def text(self, file: str) -> bytes:
        """Content of a file of the `.dist-info` directory, such as `METADATA`, of at most 64 MiB."""
        member = self._by_name[f"{self.dist_info}/{file}"]
        if member.file_size > _MAX_TEXT:
            raise invalid(self.path.name, f"its {file} has {member.file_size} bytes")
        return b"".join(self.chunks(member))

    def starts_with(self, member: zipfile.ZipInfo, magic: bytes) -> bool:
        """Whether the content begins with `magic`. Unpacks no more than the first chunk."""
        return member.file_size >= len(magic) and next(self.chunks(member), b"").startswith(magic)

    @contextmanager
    def mapped(self, member: zipfile.ZipInfo) -> Iterator[mmap.mmap]:
        """Give a member's content as anonymous memory, freed at the end; for libraries of at most 4 GiB."""
        if not 0 < member.file_size <= _MAX_LIBRARY:
            raise invalid(self.path.name, f"{member.filename!r} has {member.file_size} bytes")
        with mmap.mmap(-1, member.file_size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            for chunk in self.chunks(member):
                memory.write(chunk)
            yield memory


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
    with zipped:
        yield Archive(path, zipped)


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
