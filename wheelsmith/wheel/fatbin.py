"""The GPU code inside a `.nv_fatbin` section, without NVIDIA's tools.

In: the bytes of the section. Out: one `DeviceCode` per entry, in file order. Fails with `InvalidWheelError`
on anything that is not understood: NVIDIA does not document the format, so a guess could turn into a false
proof. Layout (found by comparison with `cuobjdump --list-elf --list-ptx`, CUDA 12.4 to 13.0): the section is
a row of regions, zero padded; a region is a 16-byte header and entries; an entry is a header and its
payload.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Literal

from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu import Arch

_REGION = struct.Struct("<IHHQ")  # magic, version, length of this header, bytes after it
_ENTRY = struct.Struct("<HHIQ8xHHI8xQ")  # kind, version, header length, payload bytes, ISA minor, major, arch, flags
_MAGIC = 0xBA55ED50
_KINDS: dict[int, Literal["sass", "ptx", "ltoir"]] = {1: "ptx", 2: "sass", 8: "ltoir"}
_LZ4, _ZSTD, _ARCH_SPECIFIC, _FAMILY_SPECIFIC = 0x2000, 0x8000, 0x100000, 0x200000
_MAX_ENTRIES = 1_000_000  # the largest library known, cublasLt, has 5,737
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
    """

    kind: Literal["sass", "ptx", "ltoir"]
    arch: Arch
    isa: str | None
    size: int
    compression: Literal["", "lz4", "zstd"]


def read_fatbin(data: bytes | memoryview) -> tuple[DeviceCode, ...]:
    """List the entries of all regions in the bytes of a `.nv_fatbin` (or `__nv_relfatbin`) section.

    Payloads are neither read nor decompressed, so the time depends on the number of entries only.

    Raises:
        InvalidWheelError: an unknown magic number, version, kind or arch, or a size that leaves the data.
    """
    found: list[DeviceCode] = []
    position = 0
    while (start := _NOT_ZERO.search(data, position)) is not None:
        position = _read_region(data, start.start(), found)
    return tuple(found)


def _read_region(data: bytes | memoryview, start: int, found: list[DeviceCode]) -> int:
    """Append the entries of the region at `start`; return where it ends."""
    if len(data) - start < _REGION.size:
        raise _invalid(f"{len(data) - start} stray bytes at offset {start}")
    magic, version, header, length = _REGION.unpack_from(data, start)
    if magic != _MAGIC:
        raise _invalid(f"the unknown magic number {magic:#010x} at offset {start}")
    if version != 1 or header != _REGION.size:
        raise _invalid(f"a region of version {version} with a {header}-byte header at offset {start}")
    position, end = start + header, start + header + length
    if end > len(data):
        raise _invalid(f"a region at offset {start} that ends {end - len(data)} bytes after the section")
    while position < end:
        if len(found) == _MAX_ENTRIES:
            raise _invalid(f"more than {_MAX_ENTRIES} entries")
        position = _read_entry(data, position, end, found)
    return int(end)


def _read_entry(data: bytes | memoryview, start: int, end: int, found: list[DeviceCode]) -> int:
    """Append the entry at `start` of a region that stops at `end`; return where the entry ends."""
    if end - start < _ENTRY.size:
        raise _invalid(f"{end - start} stray bytes at offset {start}")
    kind, version, header, size, isa_minor, isa_major, number, flags = _ENTRY.unpack_from(data, start)
    if kind not in _KINDS or version != 0x0101:
        raise _invalid(f"an entry of the unknown kind {kind}, version {version:#x}, at offset {start}")
    if header < _ENTRY.size or header + size > end - start:
        raise _invalid(f"an entry at offset {start} whose {header} + {size} bytes leave their region")
    if not 10 <= number <= 999:
        raise _invalid(f"an entry at offset {start} for the impossible arch {number}")
    found.append(
        DeviceCode(
            kind=_KINDS[kind],
            arch=Arch(number // 10, number % 10, _suffix(flags, start)),
            isa=f"{isa_major}.{isa_minor}" if _KINDS[kind] == "ptx" else None,
            size=size,
            compression=_compression(flags, start),
        )
    )
    return int(start + header + size)


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
