"""GPU code anywhere in a file: cubins and fatbins in data, in renamed sections, behind the end of a program.

In: a window, and the parts of it that are read already. Out: the code that was found, each piece a unit of its own (a
fatbin region is one unit), and whether something looked like a fatbin and could not be read. Never fails. Found are
the magic number of a fatbin with a sound header, and an ELF header for machine 190 (EM_CUDA), at any offset. PTX text
is found only where a whole file is PTX. The CUDA runtime finds a fatbin by its address, not by the name of its
section, so a section of another name holds code as well.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wheelsmith.binary.cubin import CUDA_ELF, Budget, cubin_size, is_cubin, read_cubin
from wheelsmith.binary.fatbin import FATBIN_MAGIC, DeviceCode, FatbinReader, shown
from wheelsmith.binary.ptx import looks_like_ptx, read_ptx
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wheelsmith.binary.cubin import CubinFacts
    from wheelsmith.binary.ptx import PtxFacts
    from wheelsmith.binary.window import Window

_BLOCK = 1 << 20
_OVERLAP = 64
_FATBIN = struct.pack("<IHH", FATBIN_MAGIC, 1, 16)  # magic, version 1, a header of 16 bytes
_MAX_FOUND = 200_000
_MAX_PTX = 64 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """What `scan` found.

    Attributes:
        code: in file order.
        unread: offsets of what has the header of a fatbin or of a cubin and cannot be read, and where the limits of
            reading were met.
    """

    code: tuple[DeviceCode, ...] = ()
    unread: tuple[int, ...] = ()


def scan(file: Window, skip: Sequence[tuple[int, int]] = (), *, first_unit: int = 0, place: str = "data") -> Found:
    """Look through everything but the parts (offset, size) in `skip`. `place` becomes `DeviceCode.section`."""
    code: list[DeviceCode] = []
    unread: list[int] = []
    budget = Budget(file.size)
    budget.sections = min(budget.sections, 10_000 + file.size // 8)  # more than the headers of honest cubins take
    done = 0
    for offset in _candidates(file, skip):
        if offset < done:
            continue
        if len(code) + len(unread) >= _MAX_FOUND:
            unread.append(offset)
            break
        unit = code[-1].unit + 1 if code else first_unit
        if file.read(offset, 4) == CUDA_ELF[:4]:
            size = cubin_size(file.part(offset, file.size - offset), budget)
            if budget.sections < 0:
                unread.append(offset)
                break
            if size is None:  # cut short, or without a section table: code that nobody can read
                unread.append(offset)
                continue
            code.append(_cubin(file.part(offset, size), budget, offset, unit, place))
            done = offset + size
        else:
            reader = FatbinReader(file, first_unit=unit, place=place)
            try:
                done = reader.region(offset)
            except InvalidWheelError:  # nobody knows what else it holds: no part of it counts
                unread.append(offset)
            else:
                code += reader.found
    return Found(tuple(code), tuple(unread))


def read_ptx_file(file: Window) -> DeviceCode | None:
    """A file that is PTX as a whole; None for any other."""
    if file.size > _MAX_PTX or not looks_like_ptx(file.read(0, min(file.size, 1 << 16))):
        return None
    facts = read_ptx(file.read(0, file.size))
    if facts is None or facts.target is None:
        return None
    code = DeviceCode("ptx", Arch.parse(facts.target), facts.isa, file.size, "", section="data")
    return _named(code, facts)


def _cubin(cubin: Window, budget: Budget, offset: int, unit: int, place: str) -> DeviceCode:
    facts = read_cubin(cubin, budget)
    code = DeviceCode("sass", Arch(0, 0), None, cubin.size, "", unit, offset, section=place)
    if facts is None or facts.arch is None:
        return code
    return _named(replace(code, arch=facts.arch, toolkit=facts.toolkit), facts)


def _named(code: DeviceCode, facts: CubinFacts | PtxFacts) -> DeviceCode:
    """The code with the names of its kernels."""
    names = facts.names
    if names is None:
        return code
    return replace(code, kernels=shown(facts), entries=names.real, stubs=names.stubs, names=names.readable)


def _candidates(file: Window, skip: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Offsets at which a fatbin region or a cubin seems to begin, ascending."""
    position = 0
    for start, size in (*sorted(skip), (file.size, 0)):
        if start > position:
            yield from _candidates_in(file, position, start)
        position = max(position, start + size)


def _candidates_in(file: Window, start: int, end: int) -> Iterator[int]:
    while start < end:
        block = file.read(start, min(_BLOCK + _OVERLAP, file.size - start, end - start + _OVERLAP))
        places = [place for magic in (_FATBIN, CUDA_ELF) for place in _places(block, magic)]
        for place in sorted(places):
            if place < _BLOCK and start + place < end:
                offset = start + place
                if block.startswith(_FATBIN, place) or is_cubin(block[place : place + 20]):
                    yield offset
        start += _BLOCK


def _places(block: bytes, magic: bytes) -> Iterator[int]:
    place = block.find(magic)
    while place >= 0:
        yield place
        place = block.find(magic, place + 1)
