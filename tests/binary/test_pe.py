"""PE files: what Windows finds in them, and no other error than ours."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cubins import REAL, cubin
from tests.support.portable_executables import pe_file
from tests.support.wheel_makers import PTX, SASS, entry, region
from wheelsmith.binary.pe import read_pe
from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch

FATBIN = region(entry(SASS, 80, payload=cubin({"k": REAL}, "80")), entry(PTX, 80, isa=(8, 7))) + region(entry(SASS, 90))
SOUND = pe_file({".nv_fatb": FATBIN}, imports=["cudart64_12.dll", "KERNEL32.dll"], delayed=["torch_cuda.dll"])


def read(data):
    return read_pe(Window.of_bytes(data))


def test_imports_and_code():
    facts = read(SOUND)
    assert facts.needed == ("cudart64_12.dll", "KERNEL32.dll", "torch_cuda.dll")
    assert (facts.format, facts.kind, facts.machine) == ("pe", "shared", 62)
    found = [(code.kind, code.arch, code.unit, code.section) for code in facts.device_code]
    assert found == [("sass", Arch(8, 0), 0, ""), ("ptx", Arch(8, 0), 0, ""), ("sass", Arch(9, 0), 1, "")]
    assert SOUND[facts.device_code[0].offset :].startswith(b"\x7fELF")


def test_code_in_another_section_is_found_and_named():
    (*_, last) = read(pe_file({".nv_fatb": FATBIN, ".hidden": region(entry(SASS, 86))}, dll=False)).device_code
    assert (last.arch, last.unit, last.section) == (Arch(8, 6), 2, ".hidden")


@pytest.mark.parametrize("data", [b"", b"MZ", b"MZ" + bytes(200), b"MZ" + b"\xff" * 80, b"not one" + bytes(99)])
def test_other_files_are_left_alone(data):
    assert read(data) is None


def changed(offset, form, *values):
    data = bytearray(SOUND)
    struct.pack_into(form, data, offset, *values)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (changed(70, "<H", 97), "it has 97 sections"),
        (changed(88, "<H", 0x107), "unknown kind 0x107"),
        (changed(88 + 120, "<I", 0x7FFFFFFF), "in none of its sections"),
        (changed(64 + 24 + 240 + 16, "<II", 1 << 31, 1 << 31), "leaves the file|names more|in none"),
        (SOUND[: len(SOUND) - 1200], "leaves the file"),
        (pe_file({".nv_fatb": FATBIN[:-1]}), "ends 1 bytes after the section"),
        (pe_file(imports=["a.dll"] * 10_001), "names more than 10000 libraries"),
    ],
)
def test_contradictions_are_told(data, reason):
    with pytest.raises(InvalidWheelError, match=reason):
        read(data)


@given(st.binary(max_size=300), st.integers(0, 2500))
def test_damage_raises_only_our_error(noise, position):
    for data in (b"MZ" + noise, SOUND[:position], SOUND[:position] + noise + SOUND[position + len(noise) :]):
        try:
            read(data)
        except InvalidWheelError:
            continue
