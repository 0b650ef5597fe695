"""What a wheel, a folder or a single library holds.

In: a path. Out: a frozen `WheelReport`, ready for JSON. Fails with `InvalidWheelError` on anything unsound,
and with `UsageError` on a path that is none of the three. A wheel is read in place, two libraries at a time; a large
library passes through an unnamed temporary file, never through memory.
"""

from __future__ import annotations

import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from packaging.metadata import parse_email
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.binary.abi import PythonAbi, TorchAbi, python_abi, torch_abi, torch_symbols
from wheelsmith.binary.elf import ElfFacts
from wheelsmith.binary.window import Window
from wheelsmith.errors import UsageError
from wheelsmith.fsutil import sha256_of
from wheelsmith.wheel.archive import MAX_LIBRARY, Archive, PackedSizes, invalid, open_archive
from wheelsmith.wheel.contents import LIBRARY_MAGICS, Unjudged, read_contents
from wheelsmith.wheel.manylinux import manylinux

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from wheelsmith.documents.wheels import CodeFacts, InspectDocument, LibraryFacts
    from wheelsmith.gpu.arch import Arch

SCHEMA_VERSION = 2
_AT_ONCE = 2
_SMALL = 1 << 18
_BATCH = 64
_CUDART = re.compile(r"libcudart\.so\.(\d+)|cudart(?:32|64)_(\d+)\.dll", re.IGNORECASE)
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

    def to_dict(self) -> CodeFacts:
        """JSON values."""
        facts: CodeFacts = {
            "arch": str(self.arch),
            "count": self.count,
            "empty": self.empty,
            "size": self.size,
            "packed": self.packed,
        }
        if self.kind == "ptx":
            facts["isa"] = self.isa
        return facts


@dataclass(frozen=True, slots=True)
class LibraryReport:
    """One library (ELF or PE), or a file of data that holds GPU code (`facts.kind` is `data`).

    Attributes:
        path: inside the wheel or folder; a member of an archive follows it in parentheses, and so does `unpacked` for
            what is in a compressed file.
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
    def cudart_major(self) -> int | None:
        """Major release of the CUDA runtime that the loader must find; None where it is linked statically, or none."""
        for name in self.facts.needed:
            if found := _CUDART.match(name):
                number = int(found[1] or found[2])
                return number if found[1] or number < 50 else number // 10  # cudart64_110.dll is of CUDA 11.0
        return None

    @property
    def toolkit(self) -> str | None:
        """The newest CUDA release that compiled any of its cubins, such as `"13.0"`; None when none of them says."""
        named = {code.toolkit for code in self.facts.device_code if code.toolkit and not code.empty}
        return max(named, key=Version, default=None)

    @property
    def mislabelled(self) -> tuple[tuple[Arch, Arch], ...]:
        """Pairs of the arch that the fatbin tells and the one that the code itself does, where they differ; sorted."""
        return tuple(sorted({(code.label, code.arch) for code in self.facts.device_code if code.label is not None}))

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

    def to_dict(self) -> LibraryFacts:
        """The report as JSON values."""
        return {
            "path": self.path,
            "size": self.size,
            "packed": self.packed,
            "kind": self.facts.kind,
            "format": self.facts.format,
            "toolkit": self.toolkit,
            "cudart_major": self.cudart_major,
            "mislabelled": [{"label": str(label), "arch": str(arch)} for label, arch in self.mislabelled],
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
        libraries: every ELF and PE file, by path, and whatever else holds GPU code: members of static archives, plain
            cubins, fatbins and PTX, files of data, what compressed files hold.
        platform: the manylinux tag that the symbol versions allow, from auditwheel's policies; None when there is
            no library to judge, or no policy allows them. It says nothing of libraries that have to be found.
        unjudged: what may hold GPU code and cannot be judged, by path.
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
    unjudged: tuple[Unjudged, ...] = ()

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

    def to_dict(self) -> InspectDocument:
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
            "unjudged": [{"path": item.path, "reason": item.reason} for item in self.unjudged],
        }


@dataclass(frozen=True, slots=True)
class _Read:
    """What one or several files hold."""

    libraries: tuple[LibraryReport, ...]
    unjudged: tuple[Unjudged, ...]

    @classmethod
    def of(cls, parts: Iterable[_Read]) -> _Read:
        """All of them together, by path."""
        read = list(parts)
        return cls(
            tuple(sorted((x for part in read for x in part.libraries), key=lambda library: library.path)),
            tuple(sorted((x for part in read for x in part.unjudged), key=lambda item: item.path)),
        )


def inspect_path(path: Path) -> WheelReport:
    """Read a wheel, a single file, or all files below a folder (links are not followed).

    Raises:
        InvalidWheelError: the wheel is not safe to unpack or contradicts itself, or a library is malformed.
        UsageError: there is nothing at this path, or a file that holds nothing of interest.
    """
    if path.is_dir():
        found = _Read.of(_contents_below(path))
        return _unnamed("folder", path, None, sum(library.size for library in found.libraries), found)
    if path.suffix == ".whl":
        return _inspect_wheel(path)
    if not path.is_file():
        raise UsageError(f"There is nothing to inspect at {str(path)!r}.", "Give a wheel, a library or a folder.")
    found = _read_file(path, path.name)
    if not found.libraries and not found.unjudged:
        raise UsageError(
            f"{path.name!r} is neither a wheel nor a library, and holds no GPU code.",
            "Give a wheel, a library or a folder of them.",
        )
    return _unnamed("library", path, sha256_of(path), path.stat().st_size, found)


def _unnamed(
    kind: Literal["folder", "library"], path: Path, sha256: str | None, size: int, found: _Read
) -> WheelReport:
    platform = manylinux(found.libraries)
    return WheelReport(
        kind, path.name, sha256, size, None, None, (), (), found.libraries, platform, unjudged=found.unjudged
    )


def _inspect_wheel(path: Path) -> WheelReport:
    with open_archive(path) as archive, ThreadPoolExecutor(1) as aside:
        digest = aside.submit(sha256_of, path)
        found = _Read.of(_contents_of(archive))
        return WheelReport(
            kind="wheel",
            filename=path.name,
            sha256=digest.result(),
            size=path.stat().st_size,
            name=archive.name,
            version=str(archive.version),
            tags=archive.tags,
            requires_dist=_requirements(archive),
            libraries=found.libraries,
            platform=manylinux(found.libraries),
            unjudged=found.unjudged,
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


def _contents_of(archive: Archive) -> Iterator[_Read]:
    members = [member for member in archive.members if member.file_size]
    members.sort(key=lambda member: member.compress_size, reverse=True)  # the longest first, so that none is last
    large = [[member] for member in members if member.file_size > _SMALL]
    small = [member for member in members if member.file_size <= _SMALL]
    tasks = large + [small[start : start + _BATCH] for start in range(0, len(small), _BATCH)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(_read_members, archive, task) for task in tasks]
        try:
            for future in futures:
                yield from future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read_members(archive: Archive, members: list[zipfile.ZipInfo]) -> list[_Read]:
    return [read for member in members for read in (_read_member(archive, member),) if read.libraries or read.unjudged]


def _read_member(archive: Archive, member: zipfile.ZipInfo) -> _Read:
    if member.file_size > MAX_LIBRARY and not archive.starts_with(member, *LIBRARY_MAGICS):
        return _Read((), (Unjudged(member.filename, f"a file of {member.file_size} bytes, which is too large"),))
    with archive.opened(member) as (window, sizes):
        return _report(member.filename, window, member.compress_size, sizes)


def _contents_below(folder: Path) -> Iterator[_Read]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield _read_file(path, path.relative_to(folder).as_posix())


def _read_file(path: Path, name: str) -> _Read:
    with path.open("rb") as file:
        return _report(name, Window.of_file(file.fileno()), None, None)


def _report(path: str, data: Window, packed: int | None, sizes: PackedSizes | None) -> _Read:
    contents = read_contents(path, data)
    return _Read(
        tuple(
            LibraryReport(
                item.path,
                item.size,
                item.facts,
                packed if item.path == path else None,
                tuple(sizes.of(code.offset, code.size) for code in item.facts.device_code)
                if sizes and item.path == path
                else (),
            )
            for item in contents.items
        ),
        contents.unjudged,
    )
