"""What the loader and the CUDA runtime will find in one ELF file.

In: the bytes of a file (from memory or mapped). Out: `ElfFacts`, or None when it is no ELF file. Fails with
`InvalidWheelError` on a malformed one. The structures are pyelftools'; the walks over them are ours, because
a hostile file must not choose how long they take: every table has to lie inside the file and below a limit.
Formats: System V ABI chapters 4 and 5, Linux Standard Base "Symbol Versioning".
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.elf.elffile import ELFFile

from wheelsmith.errors import InvalidWheelError
from wheelsmith.wheel.fatbin import DeviceCode, read_fatbin

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

ELF_MAGIC = b"\x7fELF"
_MAX_ENTRIES = 200_000  # sections, dynamic tags and version needs together; real libraries have a few hundred
_MAX_NAMES = 10_000  # libraries and folders in the dynamic section
_MAX_NAME = 4096
_VERSION = re.compile(r"(GLIBC|GLIBCXX)_(\d{1,6}(?:\.\d{1,6}){1,3})")


@dataclass(frozen=True, slots=True)
class ElfFacts:
    """Facts about one ELF file.

    Attributes:
        needed: names of the shared libraries that the loader must find (`DT_NEEDED`), in order.
        rpath: entries of `DT_RPATH` and `DT_RUNPATH`, in order, empty ones included.
        glibc: highest `GLIBC_x.y` symbol version needed, as `"2.34"`; None when there is none.
        glibcxx: highest `GLIBCXX_x.y.z` needed, as `"3.4.32"`; None when there is none.
        device_code: the GPU code that can run or be linked, in file order.
    """

    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    glibc: str | None
    glibcxx: str | None
    device_code: tuple[DeviceCode, ...]


def read_elf(data: bytes | mmap.mmap) -> ElfFacts | None:
    """Read the facts from a whole file.

    In a linked file only `.nv_fatbin` counts: what stays behind in `__nv_relfatbin` is input that the device
    linker has already used and the CUDA runtime never loads. In an object file both count.

    Raises:
        InvalidWheelError: the file starts as ELF and then contradicts itself, or its fatbin does.
    """
    if data[:4] != ELF_MAGIC:
        return None
    try:
        with memoryview(data) as view:
            return _Reader(data, view).facts()
    except (ELFError, UnicodeDecodeError) as error:
        raise _invalid(f"{type(error).__name__}: {error}") from error


class _Reader:
    """A parsed header and bounded access to the tables that it points to."""

    def __init__(self, data: bytes | mmap.mmap, view: memoryview) -> None:
        self._view = view
        self._budget = _MAX_ENTRIES
        self._elf = ELFFile(io.BytesIO(data) if isinstance(data, bytes) else cast("IO[bytes]", data))
        self._structs = self._elf.structs
        self._sections = [section for _, section in self._table(*self._section_table())]

    def facts(self) -> ElfFacts:
        names = self._string_table(self._elf.get_shstrndx())
        linked = self._elf["e_type"] != "ET_REL"
        fatbins = {".nv_fatbin"} if linked else {".nv_fatbin", "__nv_relfatbin"}
        needed: list[str] = []
        rpath: list[str] = []
        versions: dict[str, tuple[int, ...]] = {}
        code: list[DeviceCode] = []
        seen: set[str] = set()
        for section in self._sections:
            match section["sh_type"]:
                case "SHT_DYNAMIC":
                    self._read_dynamic(section, needed, rpath)
                case "SHT_GNU_verneed":
                    self._read_versions(section, versions)
                case "SHT_PROGBITS" if (name := self._name(names, section["sh_name"])) in fatbins:
                    if name in seen:  # linkers merge sections of one name
                        raise _invalid(f"it has two sections {name}")
                    seen.add(name)
                    start, size = self._extent(section)
                    with self._view[start : start + size] as fatbin:
                        code += read_fatbin(fatbin)
        glibc, glibcxx = (
            ".".join(map(str, versions[name])) if name in versions else None for name in ("GLIBC", "GLIBCXX")
        )
        return ElfFacts(tuple(needed), tuple(rpath), glibc, glibcxx, tuple(code))

    def _section_table(self) -> tuple[Any, int, int]:
        count = self._elf.num_sections()
        if count == 0:
            raise _invalid("it has no section table, so what it holds cannot be listed")
        shape = self._structs.Elf_Shdr
        if self._elf["e_shentsize"] != shape.sizeof():
            raise _invalid(f"its section headers have {self._elf['e_shentsize']} bytes")
        return shape, self._elf["e_shoff"], count

    def _table(self, shape: Any, start: int, count: int) -> Iterator[tuple[int, Any]]:
        """Yield position and value of `count` structures, one after the other."""
        size = shape.sizeof()
        self._budget -= count
        if self._budget < 0 or start + count * size > len(self._view):
            raise _invalid(f"a table of {count} entries at offset {start} leaves the file or is too long")
        with io.BytesIO(self._view[start : start + count * size]) as stream:
            for index in range(count):
                yield start + index * size, struct_parse(shape, stream)

    def _one(self, shape: Any, start: int) -> Any:
        return next(self._table(shape, start, 1))[1]

    def _extent(self, section: Any) -> tuple[int, int]:
        start, size = section["sh_offset"], section["sh_size"]
        if start + size > len(self._view):
            raise _invalid(f"a section of {size} bytes at offset {start} leaves the file")
        return start, size

    def _string_table(self, index: int) -> tuple[int, int]:
        if not 0 < index < len(self._sections):
            raise _invalid(f"the string table {index} does not exist")
        return self._extent(self._sections[index])

    def _name(self, table: tuple[int, int], offset: int) -> str:
        start, size = table
        if offset >= size:
            raise _invalid(f"a name at {offset} leaves its string table of {size} bytes")
        window = self._view[start + offset : start + min(size, offset + _MAX_NAME)]
        text, end, _ = window.tobytes().partition(b"\0")
        window.release()
        if not end:
            raise _invalid(f"the name at {offset} has no end")
        return text.decode()

    def _read_dynamic(self, section: Any, needed: list[str], rpath: list[str]) -> None:
        strings = self._string_table(section["sh_link"])
        start, size = self._extent(section)
        shape = self._structs.Elf_Dyn
        for _, tag in self._table(shape, start, size // shape.sizeof()):
            match tag["d_tag"]:
                case "DT_NULL":
                    return
                case "DT_NEEDED":
                    needed.append(self._name(strings, tag["d_val"]))
                case "DT_RPATH" | "DT_RUNPATH":
                    rpath += self._name(strings, tag["d_val"]).split(":")
            if len(needed) + len(rpath) > _MAX_NAMES:
                raise _invalid(f"it names more than {_MAX_NAMES} libraries and folders")

    def _read_versions(self, section: Any, versions: dict[str, tuple[int, ...]]) -> None:
        strings = self._string_table(section["sh_link"])
        start, size = self._extent(section)
        end, budget = start + size, size // self._structs.Elf_Vernaux.sizeof()
        library = start
        for _ in range(section["sh_info"]):
            if (budget := budget - 1) < 0 or library >= end:
                raise _invalid("its table of needed versions has no end")
            need = self._one(self._structs.Elf_Verneed, library)
            entry = library + need["vn_aux"]
            for _ in range(need["vn_cnt"]):
                if (budget := budget - 1) < 0 or entry >= end:
                    raise _invalid("its table of needed versions has no end")
                version = self._one(self._structs.Elf_Vernaux, entry)
                if found := _VERSION.fullmatch(self._name(strings, version["vna_name"])):
                    value = tuple(map(int, found[2].split(".")))
                    versions[found[1]] = max(versions.get(found[1], ()), value)
                entry += version["vna_next"]
            library += need["vn_next"]


def _invalid(what: str) -> InvalidWheelError:
    return InvalidWheelError(
        f"An ELF file cannot be read: {what}.", "The file is damaged or not what its name says; get it again."
    )
