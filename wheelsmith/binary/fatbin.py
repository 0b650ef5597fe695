"""The GPU code inside a `.nv_fatbin` section, without NVIDIA's tools.

In: the bytes of the section, or a window on them. Out: one `DeviceCode` per entry, in file order. Fails with
`InvalidWheelError` on anything that is not understood: NVIDIA does not document the format, so a guess
could turn into a false proof. Layout (found by comparison with `cuobjdump --list-elf --list-ptx`, CUDA 12.4 to 13.0):
the section is a row of regions, zero padded; a region is a 16-byte header and entries; an entry is a header and its
payload. A region is what nvcc made of one translation unit (or, with relocatable device code, of one device link):
the CUDA runtime chooses among the entries of a region, and never one from another region.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Literal

from wheelsmith.binary.cubin import MAX_LOOK, Budget, kernels_of_compressed, kernels_of_cubin, kernels_of_ptx
from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch

_REGION = struct.Struct("<IHHQ")  # magic, version, length of this header, bytes after it
# kind, version, header length, payload bytes, those in use, ISA minor, major, arch, flags, bytes when unpacked
_ENTRY = struct.Struct("<HHIQI4xHHI8xQ8xQ")
_MAGIC = 0xBA55ED50
_KINDS: dict[int, Literal["sass", "ptx", "ltoir"]] = {1: "ptx", 2: "sass", 8: "ltoir"}
_LZ4, _ZSTD, _ARCH_SPECIFIC, _FAMILY_SPECIFIC = 0x2000, 0x8000, 0x100000, 0x200000
_MAX_ENTRIES = 1_000_000  # the largest library known, cublasLt, has 5,737
_MAX_REGIONS = 200_000
_NOT_ZERO = re.compile(rb"[^\0]")


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """One piece of GPU code.

    Attributes:
        kind: `sass` is machine code, `ptx` is compiled by the driver at run time, `ltoir` runs only after
            another link.
        arch: the compute capability that it was compiled for.
        isa: version of the PTX language (`"8.8"`) that the driver must know; None unless `ptx`.
        size: bytes stored in the file, compressed or not.
        compression: how the payload is stored; empty: as it is.
        unit: which region (translation unit) of the library it belongs to, from 0.
        offset: where the payload starts, counted from the start of the file that was read.
        kernels: names of the first few kernels, without template arguments; `()`: it holds none, so it proves
            nothing; None: not looked into, which is so for PTX and for large compressed code.
    """

    kind: Literal["sass", "ptx", "ltoir"]
    arch: Arch
    isa: str | None
    size: int
    compression: Literal["", "lz4", "zstd"]
    unit: int = 0
    offset: int = 0
    kernels: tuple[str, ...] | None = None

    @property
    def empty(self) -> bool:
        """Whether it is known to hold no kernel."""
        return self.kernels == ()


def read_fatbin(data: bytes | memoryview | Window, *, origin: int = 0, first_unit: int = 0) -> tuple[DeviceCode, ...]:
    """List the entries of all regions in a `.nv_fatbin` (or `__nv_relfatbin`) section.

    Of the payloads only the section tables of cubins are read, and small compressed ones are unpacked, to tell empty
    code from real code; both within limits. So the time depends on the number of entries only.

    Args:
        data: the section.
        origin: position of the section in its file, for `DeviceCode.offset`.
        first_unit: number of the first region, for `DeviceCode.unit`.

    Raises:
        InvalidWheelError: an unknown magic number, version, kind or arch, or a size that leaves the data.
    """
    section = data if isinstance(data, Window) else Window.of_bytes(data)
    reader = _Reader(section, origin, first_unit)
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


class _Reader:
    """Walks through regions and collects what they hold."""

    def __init__(self, section: Window, origin: int, first_unit: int) -> None:
        self._section = section
        self._origin = origin
        self._unit = first_unit - 1
        self._budget = Budget()
        self.found: list[DeviceCode] = []

    def region(self, start: int) -> int:
        """Collect the entries of the region at `start`; return where it ends."""
        left = self._section.size - start
        if left < _REGION.size:
            raise _invalid(f"{left} stray bytes at offset {start}")
        magic, version, header, length = _REGION.unpack(self._section.read(start, _REGION.size))
        if magic != _MAGIC:
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
        payload = self._section.part(start + header, size)
        self.found.append(
            DeviceCode(
                kind=kind,
                arch=Arch(number // 10, number % 10, _suffix(flags, start)),
                isa=f"{isa_major}.{isa_minor}" if kind == "ptx" else None,
                size=size,
                compression=compression,
                unit=self._unit,
                offset=self._origin + start + header,
                kernels=self._kernels(kind, compression, payload, min(used, size), unpacked),
            )
        )
        return int(start + header + size)

    def _kernels(
        self,
        kind: Literal["sass", "ptx", "ltoir"],
        compression: Literal["", "lz4", "zstd"],
        payload: Window,
        used: int,
        unpacked: int,
    ) -> tuple[str, ...] | None:
        if kind == "ltoir":
            return None
        if compression:
            if unpacked > MAX_LOOK or used > MAX_LOOK:
                return None
            return kernels_of_compressed(kind, compression, payload.read(0, used), unpacked, self._budget)
        if kind == "sass":
            return kernels_of_cubin(payload, self._budget)
        return kernels_of_ptx(payload.read(0, payload.size)) if payload.size <= MAX_LOOK else None


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
