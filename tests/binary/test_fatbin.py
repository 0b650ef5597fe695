from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cubins import EMPTY, REAL, TRAPPING, cubin
from tests.support.wheel_makers import ARCH_SPECIFIC, FAMILY_SPECIFIC, LTOIR, LZ4, PTX, SASS, ZSTD, entry, region
from wheelsmith.binary.fatbin import DeviceCode, read_fatbin
from wheelsmith.binary.names import name_hash
from wheelsmith.binary.ptx import read_ptx
from wheelsmith.binary.unpack import unpack
from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch


def test_every_field_of_every_kind_in_file_order():
    eight = b"payload!"
    data = (
        region(entry(SASS, 86, payload=eight), entry(PTX, 86, 0x11 | ZSTD, (8, 8), b"x" * 24, header=80))
        + bytes(24)
        + region(
            entry(SASS, 120, 0x1000011, payload=eight, header=112),
            entry(SASS, 90, ARCH_SPECIFIC | LZ4, payload=b"y" * 7),
        )
        + region(entry(SASS, 100, FAMILY_SPECIFIC, payload=eight), entry(LTOIR, 121, isa=(1, 65)))
        + bytes(3)
    )
    assert read_fatbin(data) == (
        DeviceCode("sass", Arch(8, 6), None, 8, "", unit=0, offset=80, unread=True),
        DeviceCode("ptx", Arch(8, 6), "8.8", 24, "zstd", unit=0, offset=168, unread=True),
        DeviceCode("sass", Arch(12, 0), None, 8, "", unit=1, offset=344, unread=True),
        DeviceCode("sass", Arch(9, 0, "a"), None, 7, "lz4", unit=1, offset=416, unread=True),
        DeviceCode("sass", Arch(10, 0, "f"), None, 8, "", unit=2, offset=503, unread=True),
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


def packed(data, method, kind=SASS, number=86):
    if method == LZ4:
        import lz4.block

        small = lz4.block.compress(data, store_size=False)
    else:
        import zstandard

        small = zstandard.ZstdCompressor().compress(data)
    whole = bytearray(entry(kind, number, method, payload=small))
    struct.pack_into("<I", whole, 16, len(small))
    struct.pack_into("<Q", whole, 56, len(data))
    return bytes(whole)


MARLIN = "_ZN6marlin6MarlinILi4EEEvv"


@pytest.mark.parametrize(
    ("kernels", "shown", "stubs"),
    [
        ({"plain": REAL, MARLIN: REAL}, ("plain", "marlin::Marlin"), []),
        ({"plain": REAL, MARLIN: EMPTY}, ("plain",), [MARLIN]),
        ({"plain": TRAPPING, MARLIN: b""}, (), ["plain", MARLIN]),
        ({}, (), []),
    ],
)
def test_kernels_are_named_and_their_absence_is_seen(kernels, shown, stubs):
    data = cubin(kernels)
    real = {name_hash(name.encode()) for name in kernels if name not in stubs}
    for one in (entry(SASS, 86, payload=data), packed(data, LZ4), packed(data, ZSTD)):
        (code,) = read_fatbin(region(one))
        assert (code.kernels, code.empty, code.toolkit) == (shown, shown == (), "13.0")
        assert code.entries == frozenset(real)
        assert code.stubs == frozenset(name_hash(name.encode()) for name in stubs)


def test_the_arch_of_the_code_counts_and_a_false_label_is_told():
    (code,) = read_fatbin(region(entry(SASS, 120, payload=cubin({"k": REAL}, "86"))))
    assert (code.arch, code.label, code.listed) == (Arch(8, 6), Arch(12, 0), Arch(12, 0))
    (code,) = read_fatbin(region(entry(SASS, 90, payload=cubin({"k": REAL}, "90a"))))
    assert (code.arch, code.label) == (Arch(9, 0, "a"), Arch(9, 0))
    (code,) = read_fatbin(region(entry(SASS, 90, ARCH_SPECIFIC, payload=cubin({"k": REAL}, "90"))))
    assert (code.arch, code.label) == (Arch(9, 0, "a"), None)  # CUDA 13's header says no suffix
    ptx = b".version 8.8\n.target sm_90\n.entry k() { st.global.f32 [%rd1], %f1; ret; }"
    (code,) = read_fatbin(region(entry(PTX, 80, payload=ptx)))
    assert (code.arch, code.label) == (Arch(9, 0), Arch(8, 0))
    assert code.isa == "8.8"  # the label says 9.0


@pytest.mark.parametrize(("kind", "method"), [(SASS, ZSTD), (SASS, LZ4), (PTX, ZSTD), (PTX, LZ4)])
def test_code_of_any_honest_size_is_read(kind, method):
    """cuSPARSELt 0.10 holds a cubin of 31.7 MB and PTX of 70.9 MB, compressed to 2 and 9."""
    if kind == SASS:
        data = cubin({"k": REAL}, "90") + bytes(25 << 20)
    else:
        data = b".version 8.8\n.target sm_90\n.entry k() { st.global.f32 [%rd1], %f1; ret; }\n" + b"//\n" * (9 << 20)
    (code,) = read_fatbin(region(packed(data, method, kind, 80)))
    assert (code.arch, code.label, code.unread) == (Arch(9, 0), Arch(8, 0), False)
    assert code.kernels == (("k",) if kind == SASS else None)


def test_a_frame_that_ends_before_its_size_is_unread():
    whole = packed(cubin({"k": REAL}) + bytes(25 << 20), ZSTD)
    for data in (
        whole[:56] + struct.pack("<Q", (30 << 20)) + whole[64:],
        whole[:16] + struct.pack("<I", len(whole) - 200) + whole[20:],
        whole[:56] + struct.pack("<Q", 2 << 30) + whole[64:],
    ):
        (code,) = read_fatbin(region(data))
        assert (code.unread, code.arch) == (True, Arch(8, 6))


def test_a_zstd_frame_that_declares_more_than_its_entry_is_not_unpacked():
    import zstandard

    huge = zstandard.ZstdCompressor().compress(bytes(200 << 20))
    whole = bytearray(entry(SASS, 86, ZSTD, payload=huge))
    struct.pack_into("<I", whole, 16, len(huge))
    struct.pack_into("<Q", whole, 56, 1000)
    (code,) = read_fatbin(region(bytes(whole)))
    assert (code.entries, code.empty) == (None, False)


@pytest.mark.parametrize(
    "one",
    [
        entry(SASS, 86, payload=cubin()[:100]),
        entry(SASS, 86, payload=cubin().replace(b"\x7fELF", b"\x7fFLE")),
        packed(cubin(), LZ4).replace(b"ELF", b"FLE"),
        packed(bytes(70_000), ZSTD),
        entry(PTX, 86, payload=b"something else"),
        entry(PTX, 86, payload=b".version 8.8\n.target sm_86\n.visible .func (.param .b32 r) f() { ret; }"),
    ],
)
def test_what_cannot_be_looked_into_is_not_empty(one):
    (code,) = read_fatbin(region(one))
    assert not code.empty
    assert code.unread is (b".func" not in one)


def test_ptx_without_a_kernel_is_empty():
    (code,) = read_fatbin(region(entry(PTX, 86, payload=b".version 8.8\n.target sm_86\n.address_size 64\n")))
    assert code.empty


def test_kernels_without_a_body_are_each_read_once():
    text = b".version 8.7 .target sm_86 " + b".entry a " * 400_000
    started = time.process_time()
    facts = read_ptx(text)
    assert facts is not None and facts.names is not None and not facts.names.real
    assert time.process_time() - started < 5


def test_what_is_packed_in_more_bytes_than_it_has_is_not_read_whole(monkeypatch):
    read = []
    monkeypatch.setattr(Window, "read", lambda self, offset, size: read.append(size) or b"")
    with unpack("lz4", Window.of_bytes(bytes(1 << 20)), 1000) as data:
        assert (data, read) == (None, [])
