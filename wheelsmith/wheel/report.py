"""What a wheel, a folder or a library holds, as frozen values: `WheelReport`, its libraries, and their code by arch.

In: what `wheelsmith.wheel.inspect` read. Out: values, ready for JSON. Nothing fails.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from packaging.version import Version

from wheelsmith.binary.abi import PythonAbi, TorchAbi, python_abi, torch_abi, torch_symbols
from wheelsmith.binary.elf import BinaryFacts, highest_version
from wheelsmith.contract import Choice
from wheelsmith.wheel.contents import Unjudged

if TYPE_CHECKING:
    from wheelsmith.documents.wheels import CodeFacts, InspectDocument, LibraryFacts
    from wheelsmith.gpu.arch import Arch

_CUDART = re.compile(r"libcudart\.so\.(\d+)|cudart(?:32|64)_(\d+)\.dll", re.IGNORECASE)
_ORDER = {"sass": 0, "ptx": 1, "ltoir": 2}
SCHEMA_VERSION = 2


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
    facts: BinaryFacts
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

    @property
    def cxxabi(self) -> str | None:
        """Highest CXXABI (libstdc++) symbol version needed."""
        return highest_version(self.facts.versions, "CXXABI")

    def to_dict(self) -> LibraryFacts:
        """The report as JSON values."""
        unread = sum(code.unread for code in self.facts.device_code)
        facts: LibraryFacts = {
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
        if unread:
            facts["unread"] = unread
        return facts


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
        platform_because: the symbol versions that make it newer than GLIBC alone asks for, such as GLIBCXX_3.4.30.
        unjudged: what may hold GPU code and cannot be judged, by path.
        choices: what it chooses among when it runs, as it says itself.
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
    platform_because: tuple[str, ...] = ()
    unjudged: tuple[Unjudged, ...] = ()
    choices: tuple[Choice, ...] = ()

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
            "platform_because": list(self.platform_because),
            "requires_dist": list(self.requires_dist),
            "code": [{"kind": item.kind, **item.to_dict()} for item in self.code],
            "libraries": [library.to_dict() for library in self.libraries],
            "unjudged": [{"path": item.path, "reason": item.reason} for item in self.unjudged],
            "choices": [choice.to_dict() for choice in self.choices],
        }
