"""What the loader and the CUDA runtime will find in one ELF file.

In: the bytes of a file, or a window on them. Out: `BinaryFacts`, or None when it is no ELF file. Fails with
`InvalidWheelError` on a malformed one. A hostile file must not choose how long reading takes: every table has to lie
inside the file and below a limit. Formats: System V ABI chapters 4 and 5, Linux Standard Base "Symbol Versioning".
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from wheelsmith.binary.abi import is_torch_symbol
from wheelsmith.binary.fatbin import DeviceCode, read_fatbin
from wheelsmith.binary.names import name_hash
from wheelsmith.binary.scan import scan
from wheelsmith.binary.window import Window, damaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ELF_MAGIC = b"\x7fELF"
_MAX_ENTRIES = 200_000  # sections, dynamic tags and version needs together; real libraries have a few hundred
_MAX_SYMBOLS = 4_000_000  # libtorch_cpu exports 160,000
_MAX_STRINGS = 256 << 20  # libtensorflow_cc has 87 MB
_MAX_NAMES = 10_000  # libraries and folders in the dynamic section
_MAX_NAME = 1 << 16  # the RPATH of libtensorflow_framework has 20,297 bytes
_MAX_KEPT = 200_000  # undefined symbols
_MAX_OFFERED = 20_000
_MAX_SYMBOL = 1 << 18
_SLICE = 1 << 20
_MAX_READ_ONLY = 128 << 20
_IDENTIFIER = re.compile(rb"(?<![\w$.])([A-Za-z_$][\w$.]{0,4095})\0")
_VERSION = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC)_(\d{1,6}(?:\.\d{1,6}){1,3})")
_PROGBITS, _NOBITS, _DYNSYM = 1, 8, 11
_NULL, _NEEDED, _RPATH, _RUNPATH = 0, 1, 15, 29
_LOCAL, _WEAK = 0, 2

Kind = Literal["shared", "object", "executable", "other", "data"]
_KINDS: dict[int, Kind] = {1: "object", 2: "executable", 3: "shared"}


@dataclass(frozen=True, slots=True)
class BinaryFacts:
    """Facts about one library, or about a file of data with GPU code in it.

    Attributes:
        needed: names of the shared libraries that the loader must find (`DT_NEEDED`), in order.
        rpath: entries of `DT_RPATH` and `DT_RUNPATH`, in order, empty ones included.
        glibc: highest `GLIBC_x.y` symbol version needed, as `"2.34"`; None when there is none.
        glibcxx: highest `GLIBCXX_x.y.z` needed, as `"3.4.32"`; None when there is none.
        device_code: the GPU code that can run or be linked, in file order.
        kind: `shared` can be loaded; `object` must be linked first; `data` is a file that a program hands to the
            CUDA driver: a cubin, a fatbin, PTX, or another file in which such code was found.
        machine: `e_machine`: 62 is x86-64, 183 is AArch64.
        versions: every `GLIBC_`, `GLIBCXX_`, `CXXABI_` and `GCC_` version needed, sorted.
        undefined: dynamic symbols that other libraries must define; weak ones, which may be missing, are left out.
        format: `elf`; `pe` for Windows, of which neither versions nor symbols are read; `data` as for `kind`.
        rocm: whether it holds code for AMD GPUs (`.hip_fatbin`), which is not judged.
        registered: hashes of the kernels that not every piece of their unit has and that the program can launch with
            `<<<>>>`: their names lie in its read-only data, for `__cudaRegisterFunction`. None: not looked for.
        unread: offsets of what has the header of a fatbin, lies outside the fatbin section, and cannot be read.
        offered: the symbols in torch's namespaces that it defines itself, for its neighbours; at most 20,000.
    """

    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    glibc: str | None
    glibcxx: str | None
    device_code: tuple[DeviceCode, ...]
    kind: Kind = "shared"
    machine: int = 62
    versions: tuple[str, ...] = ()
    undefined: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    format: Literal["elf", "pe", "data"] = "elf"
    rocm: bool = False
    unread: tuple[int, ...] = ()
    registered: frozenset[int] | None = None


class _Layout(NamedTuple):
    """The shapes of one ELF class and byte order. A symbol is unpacked as (name, info, section)."""

    header: struct.Struct
    section: struct.Struct
    dynamic: struct.Struct
    symbol: struct.Struct
    symbol_fields: tuple[int, int, int]
    need: struct.Struct
    version: struct.Struct


def _layout(elf_class: int, order: int) -> _Layout:
    end = {1: "<", 2: ">"}.get(order)
    if end is None or elf_class not in {1, 2}:
        raise damaged(f"it has the unknown class {elf_class} or byte order {order}")
    if elf_class == 2:
        header, section, dynamic, symbol = "16xHHIQQQIHHHHHH", "IIQQQQIIQQ", "qQ", "IBBHQQ"
    else:
        header, section, dynamic, symbol = "16xHHIIIIIHHHHHH", "10I", "iI", "IIIBBH"
    return _Layout(
        header=struct.Struct(end + header),
        section=struct.Struct(end + section),
        dynamic=struct.Struct(end + dynamic),
        symbol=struct.Struct(end + symbol),
        symbol_fields=(0, 1, 3) if elf_class == 2 else (0, 3, 5),
        need=struct.Struct(end + "HHIII"),
        version=struct.Struct(end + "IHHII"),
    )


class _Section(NamedTuple):
    name: int
    kind: int
    offset: int
    size: int
    link: int
    info: int


class Symbol(NamedTuple):
    """A dynamic symbol: its name, whether it is defined here, and whether it is weak."""

    name: str
    defined: bool
    weak: bool


def read_elf(data: bytes | Window) -> BinaryFacts | None:
    """Read the facts from a whole file.

    GPU code outside the fatbin section counts too (`wheelsmith.binary.scan`). Of fatbin sections, in a linked file only
    `.nv_fatbin` counts: what stays behind in `__nv_relfatbin` is input that the device
    linker has already used and the CUDA runtime never loads. In an object file both count.

    Raises:
        InvalidWheelError: the file starts as ELF and then contradicts itself, or its fatbin does.
    """
    reader = _open(data)
    return None if reader is None else reader.facts()


def exported_symbols(data: bytes | Window) -> tuple[str, ...]:
    """Names of the dynamic symbols that a library defines for others; empty for what is no ELF file.

    Raises:
        InvalidWheelError: the file starts as ELF and then contradicts itself.
    """
    reader = _open(data)
    return () if reader is None else tuple(symbol.name for symbol in reader.symbols() if symbol.defined)


def _open(data: bytes | Window) -> _Reader | None:
    window = data if isinstance(data, Window) else Window.of_bytes(data)
    if window.size < len(ELF_MAGIC) or window.read(0, len(ELF_MAGIC)) != ELF_MAGIC:
        return None
    return _Reader(window)


class _Reader:
    """A parsed header and bounded access to the tables that it points to."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._budget = _MAX_ENTRIES
        ident = window.read(0, 16)
        self._layout = _layout(ident[4], ident[5])
        head = self._layout.header.unpack(window.read(0, self._layout.header.size))
        self._type, self._machine, self._names = head[0], head[1], head[12]
        self._sections = self._section_table(offset=head[5], entry=head[10], count=head[11])

    def facts(self) -> BinaryFacts:
        kind = _KINDS.get(self._type, "other")
        fatbins = {".nv_fatbin", "__nv_relfatbin"} if kind == "object" else {".nv_fatbin"}
        text = self._string_table(self._names)
        needed: list[str] = []
        rpath: list[str] = []
        versions: set[tuple[str, tuple[int, ...]]] = set()
        code: list[DeviceCode] = []
        seen: set[str] = set()
        for section in self._sections:
            match section.kind:
                case 6:  # SHT_DYNAMIC
                    self._read_dynamic(section, needed, rpath)
                case 0x6FFFFFFE:  # SHT_GNU_verneed
                    self._read_versions(section, versions)
                case 1 if (name := self._name(text, section.name)) in fatbins:  # SHT_PROGBITS
                    if name in seen and kind != "object":  # linkers merge sections of one name
                        raise damaged(f"it has two sections {name}")
                    seen.add(name)
                    first = code[-1].unit + 1 if code else 0
                    code += read_fatbin(
                        self._window.part(section.offset, section.size), origin=section.offset, first_unit=first
                    )
        elsewhere = scan(self._window, self._fatbins(text), first_unit=code[-1].unit + 1 if code else 0, program=True)
        code += [replace(item, section=self._section_at(text, item.offset)) for item in elsewhere.code]
        undefined, offered = self._dynamic_symbols() if kind != "object" else ((), ())
        return BinaryFacts(
            needed=tuple(needed),
            rpath=tuple(rpath),
            glibc=_highest(versions, "GLIBC"),
            glibcxx=_highest(versions, "GLIBCXX"),
            device_code=tuple(code),
            kind=kind,
            machine=self._machine,
            versions=tuple(f"{name}_{'.'.join(map(str, number))}" for name, number in sorted(versions)),
            undefined=undefined,
            offered=offered,
            rocm=any(self._name(text, section.name) == ".hip_fatbin" for section in self._sections if section.size),
            unread=elsewhere.unread,
            registered=self._registered(text, code),
        )

    def _registered(self, text: Window, code: list[DeviceCode]) -> frozenset[int] | None:
        """Those of the kernels which differ within a unit that read-only data name; it is read only if any differ."""
        units: dict[int, list[frozenset[int]]] = {}
        for item in code:
            if item.kind == "sass" and item.entries is not None:
                units.setdefault(item.unit, []).append(item.entries)
        differing = frozenset().union(*(s.union(*sets) - s.intersection(*sets) for s, *sets in units.values()))
        if not differing:
            return None
        found: set[int] = set()
        for section in self._sections:
            named = section.kind == _PROGBITS and self._name(text, section.name).startswith(".rodata")
            if named and section.size <= _MAX_READ_ONLY:
                data = self._window.read(section.offset, section.size)
                found.update(map(name_hash, (match[1] for match in _IDENTIFIER.finditer(data))))
        return differing & found

    def _fatbins(self, text: Window) -> list[tuple[int, int]]:
        """Offset and size of the sections that are read as fatbins, or hold what a device linker has used up."""
        return [
            (section.offset, section.size)
            for section in self._sections
            if section.kind == _PROGBITS and self._name(text, section.name) in {".nv_fatbin", "__nv_relfatbin"}
        ]

    def _section_at(self, text: Window, offset: int) -> str:
        for section in self._sections:
            if section.kind != _NOBITS and section.kind and 0 <= offset - section.offset < section.size:
                return self._name(text, section.name)
        return "no section"

    def symbols(self) -> Iterator[Symbol]:
        """Yield every global dynamic symbol."""
        for section in self._sections:
            if section.kind != _DYNSYM:
                continue
            shape = self._layout.symbol
            if section.size // shape.size > _MAX_SYMBOLS:
                raise damaged(f"it has {section.size // shape.size} dynamic symbols")
            strings = self._string_table(section.link)
            if strings.size > _MAX_STRINGS:
                raise damaged(f"its names take {strings.size} bytes")
            text, left = strings.read(0, strings.size), _MAX_STRINGS
            name_field, info_field, index_field = self._layout.symbol_fields
            step = _SLICE // shape.size * shape.size
            end = section.offset + section.size // shape.size * shape.size
            for start in range(section.offset, end, step):
                for row in shape.iter_unpack(self._window.read(start, min(step, end - start))):
                    info = row[info_field]
                    if info >> 4 == _LOCAL or not row[name_field]:
                        continue
                    name = _text_at(text, row[name_field])
                    if (left := left - len(name)) < 0:  # many symbols may share one long name
                        raise damaged(f"its symbols have names of more than {_MAX_STRINGS} bytes")
                    yield Symbol(name, row[index_field] != 0, info >> 4 == _WEAK)

    def _dynamic_symbols(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the undefined ones, and of those that are defined in torch's namespaces."""
        undefined: set[str] = set()
        offered: set[str] = set()
        for symbol in self.symbols():
            if symbol.defined:
                if len(offered) < _MAX_OFFERED and is_torch_symbol(symbol.name):
                    offered.add(symbol.name)
            elif not symbol.weak:
                undefined.add(symbol.name)
                if len(undefined) > _MAX_KEPT:
                    raise damaged(f"it leaves more than {_MAX_KEPT} symbols undefined")
        return tuple(sorted(undefined)), tuple(sorted(offered))

    def _section_table(self, offset: int, entry: int, count: int) -> tuple[_Section, ...]:
        shape = self._layout.section
        if offset == 0:
            raise damaged("it has no section table, so what it holds cannot be listed")
        if entry != shape.size:
            raise damaged(f"its section headers have {entry} bytes")
        if count == 0 or self._names == 0xFFFF:  # the true numbers are in section 0
            first = shape.unpack(self._window.read(offset, shape.size))
            count = count or first[5]
            self._names = first[6] if self._names == 0xFFFF else self._names
        if count == 0:
            raise damaged("it has no section table, so what it holds cannot be listed")
        return tuple(
            _Section(row[0], row[1], row[4], row[5], row[6], row[7]) for row in self._table(shape, offset, count)
        )

    def _table(self, shape: struct.Struct, start: int, count: int) -> Iterator[tuple[int, ...]]:
        """The values of `count` structures, one after the other."""
        self._budget -= count
        if self._budget < 0 or start + count * shape.size > self._window.size:
            raise damaged(f"a table of {count} entries at offset {start} leaves the file or is too long")
        return shape.iter_unpack(self._window.read(start, count * shape.size))

    def _one(self, shape: struct.Struct, start: int) -> tuple[int, ...]:
        return next(self._table(shape, start, 1))

    def _string_table(self, index: int) -> Window:
        if not 0 < index < len(self._sections):
            raise damaged(f"the string table {index} does not exist")
        return self._window.part(self._sections[index].offset, self._sections[index].size)

    def _name(self, table: Window, offset: int) -> str:
        if offset >= table.size:
            raise damaged(f"a name at {offset} leaves its string table of {table.size} bytes")
        text, end, _ = table.read(offset, min(_MAX_NAME, table.size - offset)).partition(b"\0")
        if not end:
            raise damaged(f"the name at {offset} has no end")
        return _decoded(text)

    def _read_dynamic(self, section: _Section, needed: list[str], rpath: list[str]) -> None:
        strings = self._string_table(section.link)
        shape = self._layout.dynamic
        for tag, value in self._table(shape, section.offset, section.size // shape.size):
            if tag == _NULL:
                return
            if tag == _NEEDED:
                needed.append(self._name(strings, value))
            elif tag in {_RPATH, _RUNPATH}:
                rpath += self._name(strings, value).split(":")
            if len(needed) + len(rpath) > _MAX_NAMES:
                raise damaged(f"it names more than {_MAX_NAMES} libraries and folders")

    def _read_versions(self, section: _Section, versions: set[tuple[str, tuple[int, ...]]]) -> None:
        strings = self._string_table(section.link)
        end, budget = section.offset + section.size, section.size // self._layout.version.size
        library = section.offset
        for _ in range(section.info):
            if (budget := budget - 1) < 0 or library >= end:
                raise damaged("its table of needed versions has no end")
            _, count, _, first, following = self._one(self._layout.need, library)
            entry = library + first
            for _ in range(count):
                if (budget := budget - 1) < 0 or entry >= end:
                    raise damaged("its table of needed versions has no end")
                _, _, _, name, step = self._one(self._layout.version, entry)
                if found := _VERSION.fullmatch(self._name(strings, name)):
                    versions.add((found[1], tuple(map(int, found[2].split(".")))))
                entry += step
            library += following


def highest_version(versions: Iterable[str], name: str) -> str | None:
    """The highest of the versions `NAME_1.2.3`, without the name."""
    numbers = [tuple(map(int, text.partition("_")[2].split("."))) for text in versions if text.startswith(f"{name}_")]
    return ".".join(map(str, max(numbers))) if numbers else None


def _highest(versions: set[tuple[str, tuple[int, ...]]], name: str) -> str | None:
    numbers = [number for prefix, number in versions if prefix == name]
    return ".".join(map(str, max(numbers))) if numbers else None


def _text_at(table: bytes, offset: int) -> str:
    end = table.find(b"\0", offset, offset + _MAX_SYMBOL)
    if offset >= len(table) or end < 0:
        raise damaged(f"the name at {offset} has no end")
    return _decoded(table[offset:end])


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise damaged(f"the name {text[:40]!r} is not UTF-8") from error
