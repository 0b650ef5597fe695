from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wheel_makers import ARCH_SPECIFIC, FAMILY_SPECIFIC, LTOIR, LZ4, PTX, SASS, ZSTD, entry, region
from wheelsmith.binary.fatbin import DeviceCode, read_fatbin
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch


def test_every_field_of_every_kind_in_file_order():
    data = (
        region(entry(SASS, 86), entry(PTX, 86, 0x11 | ZSTD, (8, 8), b"x" * 24, header=80))
        + bytes(24)
        + region(entry(SASS, 120, 0x1000011, header=112), entry(SASS, 90, ARCH_SPECIFIC | LZ4, payload=b"y" * 7))
        + region(entry(SASS, 100, FAMILY_SPECIFIC), entry(LTOIR, 121, isa=(1, 65)))
        + bytes(3)
    )
    assert read_fatbin(data) == (
        DeviceCode("sass", Arch(8, 6), None, 8, "", unit=0, offset=80),
        DeviceCode("ptx", Arch(8, 6), "8.8", 24, "zstd", unit=0, offset=168),
        DeviceCode("sass", Arch(12, 0), None, 8, "", unit=1, offset=344),
        DeviceCode("sass", Arch(9, 0, "a"), None, 7, "lz4", unit=1, offset=416),
        DeviceCode("sass", Arch(10, 0, "f"), None, 8, "", unit=2, offset=503),
        DeviceCode("ltoir", Arch(12, 1), None, 8, "", unit=2, offset=575),
    )


def test_nothing_is_in_an_empty_section():
    assert read_fatbin(b"") == read_fatbin(bytes(64)) == read_fatbin(region()) == ()


ONE = region(entry(SASS, 86))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x01" + ONE, "unknown magic number"),
        (ONE[:4] + b"\x02" + ONE[5:], "a region of version 2"),
        (ONE[:6] + b"\x20" + ONE[7:], "a 32-byte header"),
        (ONE[:8] + struct.pack("<Q", 2**63) + ONE[16:], "bytes after the section"),
        (ONE[:-1], "ends 1 bytes after the section"),
        (ONE + ONE[:9], "9 stray bytes"),
        (region(entry(4, 86)), "unknown kind 4"),
        (region(entry(SASS, 86, header=32, payload=bytes(64))), "leave their region"),
        (region(entry(SASS, 86)[:-1]), "leave their region"),
        (region(entry(SASS, 86)[:40]), "40 stray bytes"),
        (region(entry(SASS, 7)), "impossible arch 7"),
        (region(entry(SASS, 86, LZ4 | ZSTD)), "two compressions"),
        (region(entry(SASS, 90, ARCH_SPECIFIC | FAMILY_SPECIFIC)), "both arch- and family-specific"),
    ],
)
def test_what_is_not_understood_is_refused(data, reason):
    with pytest.raises(InvalidWheelError, match=reason):
        read_fatbin(data)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_other_bytes_raise_only_our_error(noise, position):
    whole = region(entry(SASS, 86), entry(PTX, 120)) + region(entry(SASS, 90))
    for data in (noise, whole[:position], whole[:position] + noise + whole[position + len(noise) :]):
        try:
            codes = read_fatbin(memoryview(data))
        except InvalidWheelError:
            continue
        assert sum(code.size + 64 for code in codes) <= len(data)


def test_a_section_of_countless_empty_regions_is_refused():
    with pytest.raises(InvalidWheelError, match="more than 200000 regions"):
        read_fatbin(region() * 200_002)


CUBIN_NAMES = b"\0.text._ZN6marlin6MarlinILi4EEEvv\0.text.plain\0.nv.info\0"


def cubin(*sections):
    """A cubin whose sections have these (name offset, flags, size)."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    count = len(sections) + 2
    head += struct.pack("<HHIQQQIHHHHHH", 2, 190, 1, 0, 0, 64 + len(CUBIN_NAMES), 0, 64, 0, 0, 64, count, count - 1)
    table = bytes(64)
    for name, flags, size in sections:
        table += struct.pack("<IIQQQQIIQQ", name, 1, flags, 0, 64, size, 0, 0, 1, 0)
    table += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 64, len(CUBIN_NAMES), 0, 0, 1, 0)
    return head + CUBIN_NAMES + table


def packed(data, method):
    if method == LZ4:
        import lz4.block

        small = lz4.block.compress(data, store_size=False)
    else:
        import zstandard

        small = zstandard.ZstdCompressor().compress(data)
    whole = bytearray(entry(SASS, 86, method, payload=small))
    struct.pack_into("<I", whole, 16, len(small))
    struct.pack_into("<Q", whole, 56, len(data))
    return bytes(whole)


PLAIN, MARLIN = CUBIN_NAMES.index(b".text.plain"), 1


@pytest.mark.parametrize(
    ("sections", "kernels"),
    [
        ([(PLAIN, 6, 128), (MARLIN, 6, 128)], ("plain", "marlin::Marlin")),
        ([(PLAIN, 6, 0)], ()),
        ([(PLAIN, 2, 128)], ()),
        ([(CUBIN_NAMES.index(b".nv.info"), 6, 128)], ()),
        ([], ()),
    ],
)
def test_kernels_are_named_and_their_absence_is_seen(sections, kernels):
    data = cubin(*sections)
    for one in (entry(SASS, 86, payload=data), packed(data, LZ4), packed(data, ZSTD)):
        (code,) = read_fatbin(region(one))
        assert (code.kernels, code.empty) == (kernels, kernels == ())


@pytest.mark.parametrize(
    "one",
    [
        entry(SASS, 86, payload=cubin()[:100]),
        entry(SASS, 86, payload=cubin((PLAIN, 6, 8)).replace(b"\x7fELF", b"\x7fFLE")),
        packed(cubin(), LZ4).replace(b"ELF", b"FLE"),
        packed(bytes(70_000), ZSTD),
        entry(PTX, 86, payload=b".version 8.8\n.visible .entry k() {}"),
        entry(PTX, 86, payload=b"something else"),
    ],
)
def test_what_cannot_be_looked_into_counts_as_code(one):
    (code,) = read_fatbin(region(one))
    assert not code.empty


def test_ptx_without_a_kernel_is_empty():
    (code,) = read_fatbin(region(entry(PTX, 86, payload=b".version 8.8\n.target sm_86\n.address_size 64\n")))
    assert code.empty
