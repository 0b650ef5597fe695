"""What a wheel, a folder or a single library holds.

In: a path. Out: a frozen `WheelReport`, ready for JSON. Fails with `InvalidWheelError` on anything unsound,
and with `UsageError` on a path that is none of the three. A wheel is read in place, two libraries at a time; a large
library passes through an unnamed temporary file, never through memory.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from packaging.metadata import parse_email
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.binary.ar import AR_MAGIC, THIN_MAGIC, read_archive
from wheelsmith.binary.elf import ELF_MAGIC, ElfFacts, read_elf
from wheelsmith.binary.window import Window
from wheelsmith.compat.abi import PythonAbi, TorchAbi, python_abi, torch_abi, torch_symbols
from wheelsmith.errors import InvalidWheelError, UsageError
from wheelsmith.fsutil import sha256_of
from wheelsmith.wheel.archive import Archive, PackedSizes, invalid, open_archive
from wheelsmith.wheel.manylinux import manylinux

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from wheelsmith.gpu.arch import Arch

SCHEMA_VERSION = 2
_MAGICS = (ELF_MAGIC, AR_MAGIC, THIN_MAGIC)
_AT_ONCE = 2
_ORDER = {"sass": 0, "ptx": 1, "ltoir": 2}


@dataclass(frozen=True, slots=True)
class CodeSize:
    """All code of one kind for one arch (and, for PTX, one language version).

    Attributes:
        kind: `sass`, `ptx` or `ltoir`.
        arch: the compute capability that it was compiled for.
        isa: version of the PTX language; None unless `ptx`.
        count: entries, as `cuobjdump --list-elf --list-ptx` counts them.
        empty: those of them that hold no kernel.
        size: bytes in the library.
        packed: bytes in the wheel, where the library is deflated; outside a wheel, the same as `size`.
    """

    kind: Literal["sass", "ptx", "ltoir"]
    arch: Arch
    isa: str | None
    count: int
    empty: int
    size: int
    packed: int

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "arch": str(self.arch),
            **({"isa": self.isa} if self.kind == "ptx" else {}),
            "count": self.count,
            "empty": self.empty,
            "size": self.size,
            "packed": self.packed,
        }


@dataclass(frozen=True, slots=True)
class LibraryReport:
    """One ELF file.

    Attributes:
        path: inside the wheel or folder; a member of a static archive follows it in parentheses.
        size: bytes.
        facts: what it holds.
        packed: bytes that it takes in the wheel; None outside one.
        packed_code: the same for every item of `facts.device_code`; empty outside one.
    """

    path: str
    size: int
    facts: ElfFacts
    packed: int | None = None
    packed_code: tuple[int, ...] = ()

    @property
    def code(self) -> tuple[CodeSize, ...]:
        """GPU code by kind, arch and PTX version, sorted."""
        groups: dict[tuple[str, Arch, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        packed = self.packed_code or tuple(code.size for code in self.facts.device_code)
        for code, stored in zip(self.facts.device_code, packed, strict=True):
            sums = groups[code.kind, code.arch, code.isa or ""]
            for index, value in enumerate((1, code.empty, code.size, stored)):
                sums[index] += value
        return tuple(
            CodeSize(kind, arch, isa or None, *sums)  # type: ignore[arg-type]  # keys are those of DeviceCode
            for (kind, arch, isa), sums in sorted(groups.items(), key=lambda item: (_ORDER[item[0][0]], *item[0][1:]))
        )

    @property
    def sass(self) -> tuple[tuple[Arch, int], ...]:
        """Machine code: every arch with its number of entries, empty ones included, sorted."""
        return tuple((item.arch, item.count) for item in self.code if item.kind == "sass")

    @property
    def ptx(self) -> tuple[tuple[Arch, str, int], ...]:
        """PTX: every arch and language version with its number of entries, sorted."""
        return tuple((item.arch, item.isa or "", item.count) for item in self.code if item.kind == "ptx")

    @property
    def compression(self) -> dict[str, int]:
        """How many entries are stored as `none`, `lz4` and `zstd`."""
        counts: dict[str, int] = {}
        for code in self.facts.device_code:
            name = code.compression or "none"
            counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def units(self) -> int:
        """Translation units that hold GPU code with kernels."""
        return len({code.unit for code in self.facts.device_code if not code.empty})

    @property
    def python_abi(self) -> PythonAbi:
        """Which of CPython's interfaces it uses."""
        return python_abi(self.facts.undefined)

    @property
    def torch_abi(self) -> TorchAbi:
        """Which of torch's interfaces it uses."""
        return torch_abi(self.facts.undefined)

    @property
    def torch_symbols(self) -> tuple[str, ...]:
        """Symbols that torch's libraries must define."""
        return torch_symbols(self.facts.undefined)

    @property
    def has_device_code(self) -> bool:
        """Whether there is code with kernels that the CUDA driver can load."""
        return any(code.kind != "ltoir" and not code.empty for code in self.facts.device_code)

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
            "packed": self.packed,
            "kind": self.facts.kind,
            "sass": [item.to_dict() for item in self.code if item.kind == "sass"],
            "ptx": [item.to_dict() for item in self.code if item.kind == "ptx"],
            "ltoir": [item.to_dict() for item in self.code if item.kind == "ltoir"],
            "units": self.units,
            "compression": self.compression,
            "needed": list(self.needed),
            "rpath": list(self.rpath),
            "glibc": self.glibc,
            "glibcxx": self.glibcxx,
            "python_abi": self.python_abi,
            "torch_abi": self.torch_abi,
            "torch_symbols": list(self.torch_symbols),
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
        libraries: every ELF file, by path, and those in static archives that hold GPU code.
        platform: the manylinux tag that the symbol versions allow, from auditwheel's policies; None when there is
            no library to judge, or no policy allows them. It says nothing of libraries that have to be found.
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
    platform: str | None = None

    @property
    def code(self) -> tuple[CodeSize, ...]:
        """GPU code of all libraries together: what leaving one arch away would save."""
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for item in (item for library in self.libraries for item in library.code):
            sums = groups[item.kind, item.arch, item.isa]
            for index, value in enumerate((item.count, item.empty, item.size, item.packed)):
                sums[index] += value
        return tuple(
            CodeSize(*key, *sums)
            for key, sums in sorted(groups.items(), key=lambda item: (_ORDER[item[0][0]], item[0][1], item[0][2] or ""))
        )

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
            "platform": self.platform,
            "requires_dist": list(self.requires_dist),
            "code": [{"kind": item.kind, **item.to_dict()} for item in self.code],
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
    found = _read_file(path, path.name)
    if not found:
        raise UsageError(
            f"{path.name!r} is neither a wheel nor an ELF file, nor a static archive with GPU code.",
            "Give a wheel, a library or a folder of them.",
        )
    return _unnamed("library", path, sha256_of(path), path.stat().st_size, found)


def _unnamed(
    kind: Literal["folder", "library"],
    path: Path,
    sha256: str | None,
    size: int,
    libraries: tuple[LibraryReport, ...],
) -> WheelReport:
    platform = manylinux(libraries)
    return WheelReport(kind, path.name, sha256, size, None, None, (), (), libraries, platform)


def _inspect_wheel(path: Path) -> WheelReport:
    with open_archive(path) as archive, ThreadPoolExecutor(1) as aside:
        digest = aside.submit(sha256_of, path)
        libraries = tuple(sorted(_libraries_in(archive), key=lambda library: library.path))
        return WheelReport(
            kind="wheel",
            filename=path.name,
            sha256=digest.result(),
            size=path.stat().st_size,
            name=archive.name,
            version=str(archive.version),
            tags=archive.tags,
            requires_dist=_requirements(archive),
            libraries=libraries,
            platform=manylinux(libraries),
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
    members = [member for member in archive.members if archive.starts_with(member, *_MAGICS)]
    members.sort(key=lambda member: member.compress_size, reverse=True)  # the longest first, so that none is last
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(_read_member, archive, member) for member in members]
        try:
            for future in futures:
                yield from future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read_member(archive: Archive, member: zipfile.ZipInfo) -> tuple[LibraryReport, ...]:
    with archive.opened(member) as (window, sizes):
        return tuple(_report(member.filename, window, member.compress_size, sizes))


def _libraries_below(folder: Path) -> Iterator[LibraryReport]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield from _read_file(path, path.relative_to(folder).as_posix())


def _read_file(path: Path, name: str) -> tuple[LibraryReport, ...]:
    with path.open("rb") as file:
        if not file.read(len(AR_MAGIC)).startswith(_MAGICS):
            return ()
        return tuple(_report(name, Window.of_file(file.fileno()), None, None))


def _report(path: str, data: Window, packed: int | None, sizes: PackedSizes | None) -> Iterable[LibraryReport]:
    """The library, or those in the static archive, at `path`."""
    try:
        if data.read(0, len(ELF_MAGIC)) == ELF_MAGIC:
            if facts := read_elf(data):
                stored = tuple(sizes.of(code.offset, code.size) for code in facts.device_code) if sizes else ()
                yield LibraryReport(path, data.size, facts, packed, stored)
            return
        for name, member in read_archive(data):
            facts = read_elf(member)
            if facts is not None and facts.device_code:
                yield LibraryReport(f"{path}({name})", member.size, facts)
    except InvalidWheelError as error:
        raise InvalidWheelError(f"{path}: {error.cause}", error.remedy) from error
