from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wheel_makers import ARCH_SPECIFIC, FAMILY_SPECIFIC, LTOIR, LZ4, PTX, SASS, ZSTD, entry, region

from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu import Arch
from wheelsmith.wheel import DeviceCode, read_fatbin


def test_every_field_of_every_kind_in_file_order():
    data = (
        region(entry(SASS, 86), entry(PTX, 86, 0x11 | ZSTD, (8, 8), b"x" * 24, header=80))
        + bytes(24)
        + region(entry(SASS, 120, 0x1000011, header=112), entry(SASS, 90, ARCH_SPECIFIC | LZ4, payload=b"y" * 7))
        + region(entry(SASS, 100, FAMILY_SPECIFIC), entry(LTOIR, 121, isa=(1, 65)))
        + bytes(3)
    )
    assert read_fatbin(data) == (
        DeviceCode("sass", Arch(8, 6), None, 8, ""),
        DeviceCode("ptx", Arch(8, 6), "8.8", 24, "zstd"),
        DeviceCode("sass", Arch(12, 0), None, 8, ""),
        DeviceCode("sass", Arch(9, 0, "a"), None, 7, "lz4"),
        DeviceCode("sass", Arch(10, 0, "f"), None, 8, ""),
        DeviceCode("ltoir", Arch(12, 1), None, 8, ""),
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
        (region(entry(SASS, 86, header=32)), "leave their region"),
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
