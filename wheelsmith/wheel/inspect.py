"""What a wheel, a folder or a single library holds.

In: a path. Out: a frozen `WheelReport`, ready for JSON. Fails with `InvalidWheelError` on anything unsound,
and with `UsageError` on a path that is none of the three. A wheel is read in place; nothing is unpacked to
disk, and one library at a time is in memory.
"""

from __future__ import annotations

import hashlib
import mmap
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from packaging.metadata import parse_email
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import InvalidWheelError, UsageError
from wheelsmith.wheel.archive import Archive, invalid, open_archive
from wheelsmith.wheel.elf import ELF_MAGIC, ElfFacts, read_elf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wheelsmith.gpu import Arch

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class LibraryReport:
    """One ELF file: its path inside the wheel (or folder), its size in bytes, and its facts."""

    path: str
    size: int
    facts: ElfFacts

    @property
    def sass(self) -> tuple[tuple[Arch, int], ...]:
        """Machine code: every arch with its number of entries, sorted."""
        return tuple(sorted(Counter(c.arch for c in self.facts.device_code if c.kind == "sass").items()))

    @property
    def ptx(self) -> tuple[tuple[Arch, str, int], ...]:
        """PTX: every arch and language version with its number of entries, sorted."""
        found = Counter((c.arch, c.isa or "") for c in self.facts.device_code if c.kind == "ptx")
        return tuple((arch, isa, count) for (arch, isa), count in sorted(found.items()))

    @property
    def has_device_code(self) -> bool:
        """Whether there is code that the CUDA driver can load."""
        return any(code.kind != "ltoir" for code in self.facts.device_code)

    @property
    def needed(self) -> tuple[str, ...]:
        """Shared libraries that the loader must find."""
        return self.facts.needed

    @property
    def rpath(self) -> tuple[str, ...]:
        """Entries of RPATH and RUNPATH."""
        return self.facts.rpath

    @property
    def glibc(self) -> str | None:
        """Highest GLIBC symbol version needed."""
        return self.facts.glibc

    @property
    def glibcxx(self) -> str | None:
        """Highest GLIBCXX (libstdc++) symbol version needed."""
        return self.facts.glibcxx

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "path": self.path,
            "size": self.size,
            "sass": [{"arch": str(arch), "count": count} for arch, count in self.sass],
            "ptx": [{"arch": str(arch), "isa": isa, "count": count} for arch, isa, count in self.ptx],
            "needed": list(self.needed),
            "rpath": list(self.rpath),
            "glibc": self.glibc,
            "glibcxx": self.glibcxx,
        }


@dataclass(frozen=True, slots=True)
class WheelReport:
    """What `inspect_path` found. For a folder or a library, what only a wheel has is None or empty.

    Attributes:
        kind: which of the three the path was.
        filename: last part of the path.
        sha256: of the file, in hex; None for a folder.
        size: bytes of the file; for a folder, of the libraries in it.
        name: normalized project name.
        version: normalized version, with its local part.
        tags: expanded compatibility tags, sorted.
        requires_dist: requirements as METADATA spells them.
        libraries: every ELF file, by path.
    """

    kind: Literal["wheel", "folder", "library"]
    filename: str
    sha256: str | None
    size: int
    name: str | None
    version: str | None
    tags: tuple[str, ...]
    requires_dist: tuple[str, ...]
    libraries: tuple[LibraryReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values, with its schema version."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "filename": self.filename,
            "sha256": self.sha256,
            "size": self.size,
            "name": self.name,
            "version": self.version,
            "tags": list(self.tags),
            "requires_dist": list(self.requires_dist),
            "libraries": [library.to_dict() for library in self.libraries],
        }


def inspect_path(path: Path) -> WheelReport:
    """Read a wheel, a single ELF file, or all ELF files below a folder (links are not followed).

    Raises:
        InvalidWheelError: the wheel is not safe to unpack or contradicts itself, or a library is malformed.
        UsageError: there is nothing at this path, or it is neither of the three.
    """
    if path.is_dir():
        found = tuple(_libraries_below(path))
        return _unnamed("folder", path, None, sum(library.size for library in found), found)
    if path.suffix == ".whl":
        return _inspect_wheel(path)
    if not path.is_file():
        raise UsageError(f"There is nothing to inspect at {str(path)!r}.", "Give a wheel, a library or a folder.")
    library = _read_file(path, path.name)
    if library is None:
        raise UsageError(
            f"{path.name!r} is neither a wheel nor an ELF file.",
            "Give a wheel, a library or a folder of them.",
        )
    return _unnamed("library", path, _sha256(path), library.size, (library,))


def _unnamed(
    kind: Literal["folder", "library"],
    path: Path,
    sha256: str | None,
    size: int,
    libraries: tuple[LibraryReport, ...],
) -> WheelReport:
    return WheelReport(kind, path.name, sha256, size, None, None, (), (), libraries)


def _inspect_wheel(path: Path) -> WheelReport:
    with open_archive(path) as archive:
        return WheelReport(
            kind="wheel",
            filename=path.name,
            sha256=_sha256(path),
            size=path.stat().st_size,
            name=archive.name,
            version=str(archive.version),
            tags=archive.tags,
            requires_dist=_requirements(archive),
            libraries=tuple(sorted(_libraries_in(archive), key=lambda library: library.path)),
        )


def _requirements(archive: Archive) -> tuple[str, ...]:
    """`Requires-Dist`, after checking that METADATA and the file name speak of one release."""
    raw, _ = parse_email(archive.text("METADATA"))
    name, version = raw.get("name", ""), raw.get("version", "")
    try:
        same = canonicalize_name(name) == archive.name and Version(version) == archive.version
    except InvalidVersion:
        same = False
    if not same:
        raise invalid(archive.path.name, f"its METADATA is of {name!r} {version!r}")
    return tuple(raw.get("requires_dist", ()))


def _libraries_in(archive: Archive) -> Iterator[LibraryReport]:
    for member in archive.members:
        if archive.starts_with(member, ELF_MAGIC):
            with archive.mapped(member) as memory:
                if library := _report(member.filename, memory):
                    yield library


def _libraries_below(folder: Path) -> Iterator[LibraryReport]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            library = _read_file(path, path.relative_to(folder).as_posix())
            if library is not None:
                yield library


def _read_file(path: Path, name: str) -> LibraryReport | None:
    with path.open("rb") as file:
        if file.read(len(ELF_MAGIC)) != ELF_MAGIC:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            return _report(name, memory)


def _report(path: str, data: mmap.mmap) -> LibraryReport | None:
    try:
        facts = read_elf(data)
    except InvalidWheelError as error:
        raise InvalidWheelError(f"{path}: {error.cause}", error.remedy) from error
    return None if facts is None else LibraryReport(path, len(data), facts)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
