"""What one file of a wheel or a folder holds: a library, or GPU code in a file of data.

In: a window on the file. Out: `Contents`: every library or file of data that holds GPU code, and what may hold some
and cannot be judged, with the reason: a library that contradicts itself, for one. Never fails. Compressed files, zip
and tar archives are unpacked, three levels deep and at most 512 MiB of each file; what is in them is looked through for
cubins and fatbins wherever they begin. Of all files of a wheel together no more is unpacked than its `Allowance`; what
is left over is not judged. GPU code that text spells is reported (`wheelsmith.binary.text`). Formats:
`wheelsmith.wheel.streams`, APPNOTE (zip), tar(5).
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheelsmith.binary.ar import AR_MAGIC, THIN_MAGIC, read_archive
from wheelsmith.binary.cubin import is_cubin
from wheelsmith.binary.elf import ELF_MAGIC, BinaryFacts, read_elf
from wheelsmith.binary.pe import PE_MAGIC, read_pe
from wheelsmith.binary.scan import Found, read_ptx_file, scan
from wheelsmith.binary.text import spelled
from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError
from wheelsmith.wheel.streams import Readable, opened, seekable, stream_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.binary.fatbin import DeviceCode

LIBRARY_MAGICS = (ELF_MAGIC, AR_MAGIC, THIN_MAGIC)
_MAX_UNPACKED = 512 << 20
_MAX_ALTOGETHER = 2 << 30
_MAX_INNER = 10_000
_SHOWN = 20
_DEEPEST = 3
_IN_MEMORY = 8 << 20
_CHUNK = 1 << 20
_FOREIGN = {  # by e_machine
    b"\xe0\0": "code for AMD GPUs (ROCm), which is not judged",
    b"\xbe\0": "a cubin of 32 bits, which is not read",
}
_ZIP = b"PK\3\4"
_END_OF_ZIP = b"PK\5\6"
_BITCODE = b"BC\xc0\xde"
_MATHS = re.compile(r"(?:^|/)(?:slim_)?libdevice\.\d+\.bc$")  # NVIDIA's functions of one thread, and no kernel
_CLOSED = {
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive, which is not unpacked",
    b"Rar!\x1a\x07": "a RAR archive, which is not unpacked",
    b"\x04\x22\x4d\x18": "an LZ4 file, which is not unpacked",
    b"MSCF\0\0\0\0": "a cabinet file, which is not unpacked",
    _BITCODE: "LLVM bitcode: code for a GPU if NVVM reads it, and it runs only after it is compiled",
    b"__CLANG_OFFLOAD_BUNDLE__": "a bundle of code for GPUs made by clang (ROCm), which is not read",
    b"CCOB": "a compressed bundle of code for GPUs made by clang (ROCm), which is not read",
}


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A file, or a part of one, that may hold GPU code and cannot be judged.

    Attributes:
        path: inside the wheel or folder.
        reason: what it is, and why it was not judged; without a full stop.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Item:
    """A library, or a file of data with GPU code (`facts.kind` is `data`): its path, bytes and contents."""

    path: str
    size: int
    facts: BinaryFacts


@dataclass(frozen=True, slots=True)
class Contents:
    """What one file holds."""

    items: tuple[Item, ...] = ()
    unjudged: tuple[Unjudged, ...] = ()


@dataclass(slots=True)
class Allowance:
    """Bytes that may still be unpacked of all files of a wheel or a folder."""

    left: int = _MAX_ALTOGETHER


def read_contents(path: str, file: Window, allowance: Allowance | None = None) -> Contents:
    """Look into one file. Of a library that contradicts itself, what `scan` finds counts."""
    allowance = allowance or Allowance()
    room = _Room(given := max(min(_MAX_UNPACKED, allowance.left), 0), _MAX_INNER)
    try:
        found = _read(path, file, room)
    except InvalidWheelError as error:
        found = _joined([_found(path, file), _left(path, f"damaged, or of an unknown form: {error.cause.rstrip('.')}")])
    allowance.left -= given - room.size
    if (more := len(found.unjudged) - _SHOWN) > 1:
        rest = Unjudged(path, f"{more} more parts of it that cannot be judged")
        return Contents(found.items, (*found.unjudged[:_SHOWN], rest))
    return found


def _read(path: str, file: Window, room: _Room) -> Contents:
    head = file.read(0, min(64, file.size))
    if head.startswith(ELF_MAGIC) and not is_cubin(head):
        if reason := _FOREIGN.get(head[18:20]):
            return Contents((), (Unjudged(path, reason),))
        return _library(path, file, read_elf(file))
    if head.startswith((AR_MAGIC, THIN_MAGIC)):
        return _joined(list(_members(path, file)))
    if head.startswith(PE_MAGIC) and (facts := read_pe(file)) is not None:
        return _library(path, file, facts)
    return _data(path, file, head, room)


def _library(path: str, file: Window, facts: BinaryFacts | None) -> Contents:
    if facts is None:
        return Contents()
    unjudged = []
    linked = sum(code.kind == "ltoir" for code in facts.device_code)
    if linked and all(code.kind == "ltoir" or code.empty for code in facts.device_code):
        reason = f"{linked} pieces of LTO IR, which run only after another link"
        unjudged.append(Unjudged(path, reason))
    if facts.rocm:
        unjudged.append(Unjudged(path, "code for AMD GPUs (ROCm, section .hip_fatbin), which is not judged"))
    unjudged += _unread(path, "what begins like a fatbin or a cubin", facts.unread)
    return Contents((Item(path, file.size, facts),), tuple(unjudged))


def _unread(path: str, what: str, offsets: tuple[int, ...]) -> list[Unjudged]:
    if not offsets:
        return []
    more = f" and at {len(offsets) - 1} other places" if len(offsets) > 1 else ""
    return [Unjudged(path, f"{what} at offset {offsets[0]}{more} cannot be read")]


def _members(path: str, file: Window) -> Iterator[Contents]:
    """Those members of a static archive that hold GPU code."""
    for name, member in read_archive(file):
        inner = f"{path}({name})"
        head = member.read(0, min(64, member.size))
        if head.startswith(ELF_MAGIC) and not is_cubin(head):
            facts = read_elf(member)
            if facts is not None and (facts.device_code or facts.rocm or facts.unread):
                yield _library(inner, member, facts)
        else:
            yield _found(inner, member)


def _found(path: str, file: Window) -> Contents:
    """GPU code in a file of data."""
    ptx = read_ptx_file(file)
    found = Found((ptx,)) if ptx else scan(file)
    unjudged = [
        *_unread(path, "what begins like a fatbin or a cubin", found.unread),
        *_unread(path, "GPU code that text spells", () if ptx else spelled(file)),
    ]
    items = (Item(path, file.size, data_facts(found.code)),) if found.code else ()
    return Contents(items, tuple(unjudged))


def data_facts(code: tuple[DeviceCode, ...]) -> BinaryFacts:
    """The facts about a file that is no library and holds this code."""
    return BinaryFacts((), (), None, None, code, kind="data", machine=0, format="data")


@dataclass(slots=True)
class _Room:
    """What may still be unpacked of one file, all levels together."""

    size: int
    members: int


def _data(path: str, file: Window, head: bytes, room: _Room, depth: int = 0) -> Contents:
    """What a file of data holds, and what is packed in it."""
    parts = [_found(path, file)]
    stream = stream_of(head)
    zipped = head.startswith(_ZIP) or (file.size >= 22 and file.read(file.size - 22, 4) == _END_OF_ZIP)
    tarred = file.size > 512 and file.read(257, 5) == b"ustar"
    if _MATHS.search(path) and head.startswith(_BITCODE):
        return _joined(parts)
    if reason := next((reason for magic, reason in _CLOSED.items() if head.startswith(magic)), None):
        parts.append(_left(path, reason))
    elif depth == _DEEPEST and (stream or zipped or tarred):
        parts.append(_left(path, "an archive within archives, which is not unpacked"))
    elif stream:
        parts.append(_unpacked(path, file, stream, room, depth))
    elif zipped or tarred:
        parts += (_zipped if zipped else _tarred)(path, file, room, depth)
    return _joined(parts)


def _left(path: str, reason: str) -> Contents:
    return Contents((), (Unjudged(path, reason),))


def _joined(parts: list[Contents]) -> Contents:
    return Contents(
        tuple(item for part in parts for item in part.items), tuple(item for part in parts for item in part.unjudged)
    )


def _unpacked(path: str, file: Window, stream: str, room: _Room, depth: int) -> Contents:
    import lzma
    import zlib

    import zstandard

    try:
        return _inner(f"{path}(unpacked)", opened(file, stream), stream, room, depth)
    except (OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        return _left(path, f"a {stream} file that cannot be unpacked ({str(error)[:80]})")


def _inner(path: str, packed: Readable, kind: str, room: _Room, depth: int) -> Contents:
    """What one stream holds; the rest of a long one is unjudged."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        size = 0
        while room.size and (data := packed.read(min(_CHUNK, room.size))):
            copy.write(data)
            size += len(data)
            room.size -= len(data)
        whole = room.size > 0 or not packed.read(1)
        copy.rollover()
        copy.flush()
        window = Window.of_file(copy.fileno())
        found = _data(path, window, window.read(0, min(64, size)), room, depth + 1)
    if whole:
        return found
    return _joined([found, _left(path, f"a {kind} file of which the first {size >> 20} MiB were unpacked")])


def _zipped(path: str, file: Window, room: _Room, depth: int) -> Iterator[Contents]:
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(seekable(file)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            room.members -= len(members)
            if room.members < 0 or sum(member.file_size for member in members) > room.size:
                yield _left(path, f"a zip archive of {len(members)} files, which is too large to be unpacked")
                return
            for member in members:
                with archive.open(member) as packed:
                    yield _inner(f"{path}({member.filename})", packed, "zip", room, depth)
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        yield _left(path, f"a zip archive that cannot be unpacked ({str(error)[:80]})")


def _tarred(path: str, file: Window, room: _Room, depth: int) -> Iterator[Contents]:
    """What is compressed in a tar archive: all else was found where it lies."""
    import tarfile

    try:
        with tarfile.open(fileobj=seekable(file), mode="r:") as archive:
            for member in archive:
                room.members -= 1
                if room.members < 0:
                    yield _left(path, f"a tar archive of more than {_MAX_INNER} files, which is too large")
                    return
                if member.isreg() and member.size and not member.sparse:
                    inner = file.part(member.offset_data, member.size)
                    head = inner.read(0, min(64, inner.size))
                    if stream_of(head) or head.startswith((_ZIP, *_CLOSED)):
                        yield _data(f"{path}({member.name})", inner, head, room, depth + 1)
    except (OSError, ValueError, tarfile.TarError, InvalidWheelError) as error:
        yield _left(path, f"a tar archive that cannot be unpacked ({str(error)[:80]})")
