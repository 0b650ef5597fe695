from __future__ import annotations

import random
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shared_object import shared_object
from tests.support.wheel_makers import PTX, SASS, build_library, entry, region
from wheelsmith.binary.elf import BinaryFacts, read_elf
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch

FATBIN = region(entry(SASS, 86), entry(PTX, 86, isa=(8, 8)))
CODE = (("sass", Arch(8, 6), None), ("ptx", Arch(8, 6), "8.8"))


def listed(facts: BinaryFacts | None) -> tuple[tuple[str, Arch, str | None], ...]:
    assert facts is not None
    return tuple((code.kind, code.arch, code.isa) for code in facts.device_code)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("elf")
    build_library(folder / "dependency", name="libdep.so", flags=["-Wl,-soname,libdep.so.1"])
    source = """
        #include <math.h>
        extern int f(void);
        __asm__(".symver exp, exp@GLIBC_2.29");
        double g(double x) { return exp(x) + f(); }
    """
    flags = [f"-L{folder / 'dependency'}", "-l:libdep.so", "-lm", "-Wl,-rpath,/build/lib:$ORIGIN/../x"]
    return build_library(folder, FATBIN, source=source, flags=flags)


@pytest.mark.e2e
def test_facts_of_a_library(compiled):
    facts = read_elf(compiled)
    assert listed(facts) == CODE
    assert facts is not None
    pieces = [compiled[code.offset : code.offset + code.size] for code in facts.device_code]
    assert [piece[:5] for piece in pieces] == [b"\x7fELF\x02", b".vers"]
    assert replace(facts, device_code=()) == BinaryFacts(
        needed=("libdep.so.1", "libm.so.6"),
        rpath=("/build/lib", "$ORIGIN/../x"),
        glibc="2.29",
        glibcxx=None,
        device_code=(),
        versions=("GLIBC_2.29",),
        undefined=("exp", "f"),
    )


@pytest.fixture(scope="session")
def library() -> bytes:
    return shared_object(FATBIN, needed=["libdep.so.1"], undefined=["exp"])


def test_a_library_without_dependencies_or_gpu_code():
    assert read_elf(shared_object()) == BinaryFacts((), (), None, None, ())


def test_what_is_no_elf_file_is_none():
    assert read_elf(b"") is None
    assert read_elf(b"#!/bin/sh\n") is None


@pytest.mark.e2e
def test_relocatable_fatbins_count_in_objects_only(tmp_path):
    section = "__nv_relfatbin"
    assert read_elf(build_library(tmp_path / "so", FATBIN, section=section)).device_code == ()
    object_file = build_library(tmp_path / "o", FATBIN, section=section, link=["-r", "-nostdlib"])
    assert listed(read_elf(object_file)) == CODE


def _with(data: bytes, offset: int, shape: str, value: int) -> bytes:
    packed = struct.pack(shape, value)
    return data[:offset] + packed + data[offset + len(packed) :]


@pytest.mark.parametrize(
    ("offset", "shape", "value", "reason"),
    [
        (0x28, "<Q", 2**62, "leaves the file"),  # e_shoff
        (0x28, "<Q", 0, "no section table"),
        (0x3A, "<H", 0, "section headers have 0 bytes"),  # e_shentsize
        (0x3E, "<H", 0xFFF0, "string table 65520 does not exist"),  # e_shstrndx
        (0x04, "<B", 9, "cannot be read"),  # e_ident: class
    ],
)
def test_a_lying_header_is_refused(library, offset, shape, value, reason):
    with pytest.raises(InvalidWheelError, match=reason):
        read_elf(_with(library, offset, shape, value))


def test_a_section_count_of_four_billion_is_refused_at_once(library):
    table = struct.unpack_from("<Q", library, 0x28)[0]
    lying = _with(_with(library, 0x3C, "<H", 0), table + 0x20, "<Q", 2**32)  # e_shnum 0: look in section 0
    with pytest.raises(InvalidWheelError, match="table of 4294967296 entries"):
        read_elf(lying)


def test_a_table_read_again_and_again_ends(library):
    """Every section claims to be the dynamic section and to reach from the start to the end of the file."""
    table, count = struct.unpack_from("<Q", library, 0x28)[0], struct.unpack_from("<H", library, 0x3C)[0]
    strings = struct.unpack_from("<H", library, 0x3E)[0]
    data = bytearray(library) + b"\x02" * 3_000_000
    for index in set(range(count)) - {strings}:
        struct.pack_into("<I", data, table + index * 64 + 4, 6)
        struct.pack_into("<QQI", data, table + index * 64 + 0x18, len(library), 2_999_968, strings)
    with pytest.raises(InvalidWheelError, match="too long"):
        read_elf(bytes(data))


@pytest.mark.e2e
def test_a_loop_of_needed_versions_ends(compiled):
    table, count = struct.unpack_from("<Q", compiled, 0x28)[0], struct.unpack_from("<H", compiled, 0x3C)[0]
    sections = [table + index * 64 for index in range(count)]
    needs = next(at for at in sections if struct.unpack_from("<I", compiled, at + 4)[0] == 0x6FFFFFFE)
    start = struct.unpack_from("<Q", compiled, needs + 0x18)[0]
    looping = _with(_with(compiled, needs + 0x2C, "<I", 2**32 - 1), start + 12, "<I", 0)  # sh_info, vn_next
    with pytest.raises(InvalidWheelError, match="has no end"):
        read_elf(looping)


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 20_000))
def test_damaged_and_truncated_libraries_raise_only_our_error(library, seed, damages, length):
    chance = random.Random(seed)
    data = bytearray(library)
    table = struct.unpack_from("<Q", library, 0x28)[0]
    for _ in range(damages):  # where it hurts: the header, the section table, anywhere
        low, high = chance.choice([(4, 64), (table, len(data)), (64, len(data))])
        at = chance.randrange(low, high)
        data[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", bytes(4), chance.randbytes(4)])
    for damaged in (bytes(data), library[:length]):
        try:
            read_elf(damaged)
        except InvalidWheelError:
            continue


@given(st.binary(max_size=400))
def test_any_bytes_after_the_magic_raise_only_our_error(noise):
    with pytest.raises(InvalidWheelError):
        read_elf(b"\x7fELF" + noise)


def test_a_million_symbols_with_one_long_name_are_refused():
    """Reading each name anew would take days."""
    library = shared_object(undefined=["a"])
    table, count = struct.unpack_from("<Q", library, 0x28)[0], struct.unpack_from("<H", library, 0x3C)[0]
    sections = [table + index * 64 for index in range(count)]
    symbols = next(at for at in sections if struct.unpack_from("<I", library, at + 4)[0] == 11)
    strings = sections[struct.unpack_from("<I", library, symbols + 0x28)[0]]
    names = b"\0" + b"n" * 200_000 + b"\0"
    data = bytearray(library) + names + struct.pack("<IBBHQQ", 1, 0x10, 0, 0, 0, 0) * 200_000
    struct.pack_into("<QQ", data, strings + 0x18, len(library), len(names))
    struct.pack_into("<QQ", data, symbols + 0x18, len(library) + len(names), 200_000 * 24)
    with pytest.raises(InvalidWheelError, match="names of more than"):
        read_elf(bytes(data))
