"""The GPU code inside a `.nv_fatbin` section, without NVIDIA's tools.

In: the bytes of the section, or a window on them. Out: one `DeviceCode` per entry, in file order. Fails with
`InvalidWheelError` on anything that is not understood: NVIDIA does not document the format, so a guess could turn
into a false proof. Every cubin is looked into, unpacked if need be (`wheelsmith.binary.unpack`), and so is every PTX
text, of which only the beginning is read if it has more than 4 MiB. Layout (found by comparison with `cuobjdump
--list-elf --list-ptx`, CUDA 12.4 to 13.0): the section is a row of regions, zero padded; a region is a 16-byte header
and entries; an entry is a header and its payload. A region is what nvcc made of one translation unit (or, with
relocatable device code, of one device link): the CUDA runtime chooses among the entries of a region, and never one from
another region.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wheelsmith.binary.cubin import Budget, CubinFacts, read_cubin
from wheelsmith.binary.ptx import HEAD, PtxFacts, read_ptx
from wheelsmith.binary.unpack import unpack
from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch

_REGION = struct.Struct("<IHHQ")  # magic, version, length of this header, bytes after it
# kind, version, header length, payload bytes, those in use, ISA minor, major, arch, flags, bytes when unpacked
_ENTRY = struct.Struct("<HHIQI4xHHI8xQ8xQ")
FATBIN_MAGIC = 0xBA55ED50
_KINDS: dict[int, Literal["sass", "ptx", "ltoir"]] = {1: "ptx", 2: "sass", 8: "ltoir"}
_LZ4, _ZSTD, _ARCH_SPECIFIC, _FAMILY_SPECIFIC = 0x2000, 0x8000, 0x100000, 0x200000
_MAX_ENTRIES = 1_000_000  # the largest library known, cublasLt, has 5,737
_MAX_REGIONS = 200_000
_MAX_PTX = 4 << 20  # PTX takes most of the time and seldom decides
_NOT_ZERO = re.compile(rb"[^\0]")


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """One piece of GPU code.

    Attributes:
        kind: `sass` is machine code, `ptx` is compiled by the driver at run time, `ltoir` runs only after
            another link.
        arch: the compute capability that it was compiled for, as the code itself says (the ELF header of a cubin,
            `.target` of PTX); where the code cannot be read or says no suffix, as its label says.
        isa: version of the PTX language (`"8.8"`) that the driver must know, as the text itself says; None unless
            `ptx`.
        size: bytes stored in the file, compressed or not.
        compression: how the payload is stored; empty: as it is.
        unit: which region (translation unit) of the library it belongs to, from 0.
        offset: where the payload starts, counted from the start of the file that was read.
        kernels: readable names of the first few kernels with a body, without template arguments; `()`: it holds no
            such kernel, so it proves nothing; None: not looked into. For sentences only: compare `entries`.
        entries: hashes (`wheelsmith.binary.names.name_hash`) of the mangled names of all kernels with a body. Two
            pieces of one unit hold the same kernels when their `entries` are equal. None: not known (damaged, LTO
            input, or beyond the limits of reading).
        stubs: the same for kernels whose body is empty or only traps (see `wheelsmith.binary.sass` for how far that
            check goes). The names are there, and calling them computes nothing.
        names: readable names, without template arguments, of the kernels in `entries`.
        label: what the fatbin's header says of the arch, where that differs from `arch`; else None. The CUDA runtime
            chooses by the label, and the driver loads by what the code says: it runs only where both allow it.
        toolkit: the CUDA release that compiled it, such as `"13.0"`, as a cubin says; else None.
        unread: whether nothing in it could be read (damaged, or too large): then only its label tells of it.
        section: where it was found when that is not the fatbin section of a library: the name of the section, or
            `data`; empty otherwise. cuobjdump does not list such code.
    """

    kind: Literal["sass", "ptx", "ltoir"]
    arch: Arch
    isa: str | None
    size: int
    compression: Literal["", "lz4", "zstd"]
    unit: int = 0
    offset: int = 0
    kernels: tuple[str, ...] | None = None
    entries: frozenset[int] | None = None
    stubs: frozenset[int] = frozenset()
    names: Mapping[int, str] = field(default_factory=dict, repr=False, compare=False)
    label: Arch | None = None
    toolkit: str | None = None
    section: str = ""
    unread: bool = False

    @property
    def empty(self) -> bool:
        """Whether it is known to hold no kernel with a body."""
        return self.kernels == ()

    @property
    def listed(self) -> Arch:
        """The arch by which the CUDA runtime chooses it and cuobjdump lists it."""
        return self.label or self.arch


def read_fatbin(data: bytes | memoryview | Window, *, origin: int = 0, first_unit: int = 0) -> tuple[DeviceCode, ...]:
    """List the entries of all regions in a `.nv_fatbin` (or `__nv_relfatbin`) section, and look into them.

    Args:
        data: the section.
        origin: position of the section in its file, for `DeviceCode.offset`.
        first_unit: number of the first region, for `DeviceCode.unit`.

    Raises:
        InvalidWheelError: an unknown magic number, version, kind or arch, or a size that leaves the data.
    """
    section = data if isinstance(data, Window) else Window.of_bytes(data)
    reader = FatbinReader(section, origin=origin, first_unit=first_unit)
    position = 0
    while (start := _next_content(section, position)) is not None:
        position = reader.region(start)
    return tuple(reader.found)


def _next_content(section: Window, position: int) -> int | None:
    """Position of the next byte that is not zero."""
    near = section.read(position, min(64, section.size - position))
    if found := _NOT_ZERO.search(near):  # regions follow each other closely
        return position + found.start()
    for start, block in section.blocks(position + len(near)):
        if found := _NOT_ZERO.search(block):
            return start + found.start()
    return None


class FatbinReader:
    """Walks through regions and collects in `found` what they hold. `place` becomes `DeviceCode.section`."""

    def __init__(self, section: Window, *, origin: int = 0, first_unit: int = 0, place: str = "") -> None:
        self._section = section
        self._origin = origin
        self._unit = first_unit - 1
        self._place = place
        self._budget = Budget(section.size)
        self._sets: dict[frozenset[int], frozenset[int]] = {}
        self._named: dict[frozenset[int], Mapping[int, str]] = {}
        self.found: list[DeviceCode] = []

    def region(self, start: int) -> int:
        """Collect the entries of the region at `start`; return where it ends."""
        left = self._section.size - start
        if left < _REGION.size:
            raise _invalid(f"{left} stray bytes at offset {start}")
        magic, version, header, length = _REGION.unpack(self._section.read(start, _REGION.size))
        if magic != FATBIN_MAGIC:
            raise _invalid(f"the unknown magic number {magic:#010x} at offset {start}")
        if version != 1 or header != _REGION.size:
            raise _invalid(f"a region of version {version} with a {header}-byte header at offset {start}")
        position, end = start + header, start + header + length
        if end > self._section.size:
            raise _invalid(f"a region at offset {start} that ends {end - self._section.size} bytes after the section")
        self._unit += 1
        if self._unit > _MAX_REGIONS:
            raise _invalid(f"more than {_MAX_REGIONS} regions")
        while position < end:
            if len(self.found) == _MAX_ENTRIES:
                raise _invalid(f"more than {_MAX_ENTRIES} entries")
            position = self._entry(position, end)
        return int(end)

    def _entry(self, start: int, end: int) -> int:
        """Collect the entry at `start` of a region that stops at `end`; return where the entry ends."""
        if end - start < _ENTRY.size:
            raise _invalid(f"{end - start} stray bytes at offset {start}")
        head = self._section.read(start, _ENTRY.size)
        kind_number, version, header, size, used, isa_minor, isa_major, number, flags, unpacked = _ENTRY.unpack(head)
        if kind_number not in _KINDS or version != 0x0101:
            raise _invalid(f"an entry of the unknown kind {kind_number}, version {version:#x}, at offset {start}")
        if header < _ENTRY.size or header + size > end - start:
            raise _invalid(f"an entry at offset {start} whose {header} + {size} bytes leave their region")
        if not 10 <= number <= 999:
            raise _invalid(f"an entry at offset {start} for the impossible arch {number}")
        kind, compression = _KINDS[kind_number], _compression(flags, start)
        label = Arch(number // 10, number % 10, _suffix(flags, start))
        payload = self._section.part(start + header, size)
        facts = self._look(kind, compression, payload, min(used, size), unpacked)
        arch = _own(facts, label)
        names = facts.names if facts else None
        written = facts.isa if isinstance(facts, PtxFacts) else f"{isa_major}.{isa_minor}"
        self.found.append(
            DeviceCode(
                kind=kind,
                arch=arch,
                isa=written if kind == "ptx" else None,
                size=size,
                compression=compression,
                unit=self._unit,
                offset=self._origin + start + header,
                kernels=shown(facts),
                entries=self._shared(names.real) if names else None,
                stubs=self._shared(names.stubs) if names else frozenset(),
                names=self._named.setdefault(names.real, names.readable) if names else {},
                label=label if label != arch else None,
                toolkit=facts.toolkit if isinstance(facts, CubinFacts) else None,
                section=self._place,
                unread=facts is None and kind != "ltoir",
            )
        )
        return int(start + header + size)

    def _shared(self, names: frozenset[int]) -> frozenset[int]:
        """One object for equal sets: the archs of a unit mostly hold the same kernels."""
        return self._sets.setdefault(names, names)

    def _look(
        self,
        kind: Literal["sass", "ptx", "ltoir"],
        compression: Literal["", "lz4", "zstd"],
        payload: Window,
        used: int,
        unpacked: int,
    ) -> CubinFacts | PtxFacts | None:
        if kind == "ltoir":
            return None
        whole = kind == "sass" or max(payload.size, unpacked if compression else 0) <= _MAX_PTX
        if not compression:
            return self._contents(kind, payload, whole)
        self._budget.unpacked -= unpacked
        if self._budget.unpacked < 0:
            return None
        with unpack(
            compression, payload.part(0, used or payload.size), unpacked, first=None if whole else HEAD
        ) as data:
            return None if data is None else self._contents(kind, data, whole)

    def _contents(self, kind: Literal["sass", "ptx"], code: Window, whole: bool) -> CubinFacts | PtxFacts | None:
        if kind == "sass":
            return read_cubin(code, self._budget)
        return read_ptx(code.read(0, code.size if whole else min(code.size, HEAD)), whole=whole)


def shown(facts: CubinFacts | PtxFacts | None) -> tuple[str, ...] | None:
    """What `DeviceCode.kernels` says. Code of device functions only is not empty: it is there to be linked."""
    if facts is None:
        return None
    names = facts.names
    if names is None:
        return None
    return None if facts.functions and not names.real and not names.stubs else names.shown


def _own(facts: CubinFacts | PtxFacts | None, label: Arch) -> Arch:
    """The arch that the code itself says; without a suffix of its own, it has that of the label."""
    if isinstance(facts, PtxFacts):
        own = Arch.parse(facts.target) if facts.target else None
    else:
        own = facts.arch if facts else None
    return label if own is None or (own == label.base) else own


def _suffix(flags: int, start: int) -> str:
    match flags & (_ARCH_SPECIFIC | _FAMILY_SPECIFIC):
        case 0:
            return ""
        case 0x100000:
            return "a"
        case 0x200000:
            return "f"
    raise _invalid(f"an entry at offset {start} that is both arch- and family-specific")


def _compression(flags: int, start: int) -> Literal["", "lz4", "zstd"]:
    match flags & (_LZ4 | _ZSTD):
        case 0:
            return ""
        case 0x2000:
            return "lz4"
        case 0x8000:
            return "zstd"
    raise _invalid(f"an entry at offset {start} with two compressions")


def _invalid(what: str) -> InvalidWheelError:
    return InvalidWheelError(
        f"The GPU code of a library cannot be listed: its fatbin holds {what}.",
        "The file is damaged, or made by a CUDA release that this version of wheelsmith does not know.",
    )
