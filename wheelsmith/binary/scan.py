"""GPU code anywhere in a file: cubins and fatbins in data, in renamed sections, behind the end of a program.

In: a window, and the parts of it that are read already. Out: the code that was found, each piece a unit of its own (a
fatbin region is one unit), and whether something looked like a fatbin and could not be read. Never fails. Found are, at
any offset, the magic number of a fatbin with a sound header, an ELF header for machine 190 (EM_CUDA), and in a program
the text of PTX with kernels, up to the next zero byte. A file of data is PTX only as a whole. The CUDA runtime finds a
fatbin by its address, not by the name of its section, so a section of another name holds code as well.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wheelsmith.binary.cubin import CUDA_ELF, Budget, cubin_size, is_cubin, read_cubin
from wheelsmith.binary.fatbin import FATBIN_MAGIC, DeviceCode, FatbinReader, shown
from wheelsmith.binary.ptx import looks_like_ptx, ptx_begins, read_ptx
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wheelsmith.binary.cubin import CubinFacts
    from wheelsmith.binary.ptx import PtxFacts
    from wheelsmith.binary.window import Window

_BLOCK = 1 << 20
_OVERLAP = 256
_PTX = b".version"
_FATBIN = struct.pack("<IHH", FATBIN_MAGIC, 1, 16)  # magic, version 1, a header of 16 bytes
_MAX_FATBIN = 1 << 36  # bytes that a header may declare: compilers keep the magic number in instructions, too
_MAX_FOUND = 200_000
_MAX_PTX = 64 << 20
_MAX_STRING = 4 << 20


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


def scan(file: Window, skip: Sequence[tuple[int, int]] = (), *, first_unit: int = 0, program: bool = False) -> Found:
    """Look through everything but the parts (offset, size) in `skip`; `program`: where a string may be PTX."""
    place = "data"
    code: list[DeviceCode] = []
    unread: list[int] = []
    budget = Budget(file.size)
    budget.sections = min(budget.sections, 10_000 + file.size // 8)  # more than the headers of honest cubins take
    done = 0
    for offset in _candidates(file, skip, (_FATBIN, CUDA_ELF, _PTX) if program else (_FATBIN, CUDA_ELF)):
        if offset < done:
            continue
        if len(code) + len(unread) >= _MAX_FOUND:
            unread.append(offset)
            break
        unit = code[-1].unit + 1 if code else first_unit
        first = file.read(offset, 4)
        if first == _PTX[:4]:
            text = _string(file, offset)
            found = _ptx(text)
            if found is not None and found.entries:
                code.append(replace(found, unit=unit, offset=offset))
            done = offset + len(text)
        elif first == CUDA_ELF[:4]:
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
    unread += [item.offset for item in code if not item.arch.major]  # a cubin that does not say for what GPU it is
    return Found(tuple(item for item in code if item.arch.major), tuple(sorted(unread)))


def read_ptx_file(file: Window) -> DeviceCode | None:
    """A file that is PTX as a whole; None for any other."""
    if file.size > _MAX_PTX or not looks_like_ptx(file.read(0, min(file.size, 1 << 16))):
        return None
    return _ptx(file.read(0, file.size))


def _ptx(text: bytes) -> DeviceCode | None:
    facts = read_ptx(text)
    if facts is None or facts.target is None:
        return None
    return _named(DeviceCode("ptx", Arch.parse(facts.target), facts.isa, len(text), "", section="data"), facts)


def _string(file: Window, offset: int) -> bytes:
    """What stands before the next zero byte, of at most 4 MiB."""
    text = b""
    while b"\0" not in text and len(text) < _MAX_STRING and offset + len(text) < file.size:
        text += file.read(offset + len(text), min(1 << 16, file.size - offset - len(text)))
    return text.partition(b"\0")[0]


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


def _candidates(file: Window, skip: Sequence[tuple[int, int]], magics: Sequence[bytes]) -> Iterator[int]:
    """Offsets at which a fatbin region, a cubin or PTX seems to begin, ascending."""
    position = 0
    for start, size in (*sorted(skip), (file.size, 0)):
        if start > position:
            yield from _candidates_in(file, position, start, magics)
        position = max(position, start + size)


def _is_fatbin(block: bytes, place: int) -> bool:
    """Whether a header begins there whose size some file can have."""
    return block.startswith(_FATBIN, place) and int.from_bytes(block[place + 8 : place + 16], "little") < _MAX_FATBIN


def _candidates_in(file: Window, start: int, end: int, magics: Sequence[bytes]) -> Iterator[int]:
    while start < end:
        block = file.read(start, min(_BLOCK + _OVERLAP, file.size - start, end - start + _OVERLAP))
        places = [place for magic in magics for place in _places(block, magic)]
        for place in sorted(places):
            if place < _BLOCK and start + place < end:
                offset = start + place
                seen = _is_fatbin(block, place) or is_cubin(block[place : place + 20])
                if seen or ptx_begins(block, place):
                    yield offset
        start += _BLOCK


def _places(block: bytes, magic: bytes) -> Iterator[int]:
    place = block.find(magic)
    while place >= 0:
        yield place
        place = block.find(magic, place + 1)
