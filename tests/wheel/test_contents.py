"""GPU code in whatever file of a wheel; what cannot be judged is listed."""

from __future__ import annotations

import base64
import bz2
import contextlib
import gzip
import io
import lzma
import struct
import tarfile
import time
import zipfile
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cubins import REAL, cubin
from tests.support.portable_executables import pe_file
from tests.support.shared_object import shared_object
from tests.support.wheel_makers import LTOIR, SASS, build_wheel, entry, region
from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch
from wheelsmith.wheel.contents import Allowance, read_contents
from wheelsmith.wheel.inspect import inspect_path

CUBIN = cubin({"k": REAL}, "86")
FATBIN = region(entry(SASS, 86, payload=CUBIN))
PTX = b"//\n.version 8.7\n.target sm_86\n.visible .entry k() { st.global.u32 [%rd1], %r1; ret; }\n"


def zipped(name, data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def tarred(name, data):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def contents(data, path="t/file"):
    found = read_contents(path, Window.of_bytes(data))
    return (
        [
            (item.path, item.facts.kind, [(c.kind, c.arch, c.kernels) for c in item.facts.device_code])
            for item in found.items
        ],
        [(item.path, item.reason) for item in found.unjudged],
    )


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (CUBIN, "t/file"),
        (FATBIN, "t/file"),
        (b"\0" + FATBIN, "t/file"),
        (b"x" * (1 << 20) + CUBIN[:], "t/file"),
        (b"x" * ((1 << 20) - 5) + FATBIN, "t/file"),
        (gzip.compress(CUBIN), "t/file(unpacked)"),
        (gzip.compress(gzip.compress(CUBIN)), "t/file(unpacked)(unpacked)"),
        (zlib.compress(CUBIN), "t/file(unpacked)"),
        (lzma.compress(CUBIN, lzma.FORMAT_ALONE), "t/file(unpacked)"),
        (zipped("a", zipped("b", CUBIN)), "t/file(a)(b)"),
        (b"#!/usr/bin/env python3\n" + zipped("a", CUBIN), "t/file(a)"),
        (tarred("a", gzip.compress(CUBIN)), "t/file(a)(unpacked)"),
        (bz2.compress(FATBIN), "t/file(unpacked)"),
        (lzma.compress(CUBIN), "t/file(unpacked)"),
        (zstandard.compress(FATBIN), "t/file(unpacked)"),
        (zipped("deep/a.cubin", CUBIN), "t/file(deep/a.cubin)"),
    ],
)
def test_code_is_found_wherever_it_lies(data, path):
    assert contents(data) == ([(path, "data", [("sass", Arch(8, 6), ("k",))])], [])


def test_code_that_lies_open_in_what_claims_to_be_an_archive():
    items, ((_, reason),) = contents(b"PK\3\4" + CUBIN)
    assert items == [("t/file", "data", [("sass", Arch(8, 6), ("k",))])]
    assert reason.startswith("a zip archive that cannot be unpacked")


def test_a_ptx_file_is_code_and_ptx_that_python_spells_is_told():
    assert contents(PTX) == ([("t/file", "data", [("ptx", Arch(8, 6), ("k",))])], [])
    told = "GPU code that text spells at offset {} cannot be read"
    assert contents(b'TEXT = """' + PTX + b'"""') == ([], [("t/file", told.format(13))])
    lines = b'K = (".version 8.7\\n"\n     ".target sm_86\\n"\n     ".visible .entry k() { ret; }")'
    assert contents(lines) == ([], [("t/file", told.format(6))])
    assert contents(b"# .version 8.7 is what .target sm_86 needs, as in .entry\n") == ([], [])
    assert contents(PTX.replace(b".entry", b".func")[2:] + b'"""')[1] == []  # functions, and no kernel


def test_a_string_of_a_program_is_ptx_if_it_holds_kernels():
    template = b"\0.version %d.%d\n.target sm_%d\n.entry k() { st.global.u32 [%rd1], %r1; ret; }\0"
    functions = PTX.replace(b".entry", b".func")
    library = shared_object(FATBIN) + template + functions + b"\0xx" + PTX + b"\0" + PTX.replace(b"86", b"90") + b"\0"
    (item,) = read_contents("a.so", Window.of_bytes(library)).items
    assert [(c.kind, c.arch, c.isa, c.kernels, c.section) for c in item.facts.device_code] == [
        ("sass", Arch(8, 6), None, ("k",), ""),
        ("ptx", Arch(8, 6), "8.7", ("k",), "no section"),
        ("ptx", Arch(9, 0), "8.7", ("k",), "no section"),
    ]
    assert len({c.unit for c in item.facts.device_code}) == 3


def test_two_cubins_in_a_row_are_two_units():
    (item,) = read_contents("t", Window.of_bytes(CUBIN + b"-" + FATBIN)).items
    assert [(code.unit, code.section) for code in item.facts.device_code] == [(0, "data"), (1, "data")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"C = '" + base64.b64encode(CUBIN) + b"'", "GPU code that text spells at offset 5 cannot be read"),
        (b"C = '" + CUBIN.hex().encode() + b"'", "GPU code that text spells at offset 5 cannot be read"),
        (b"C = " + repr(CUBIN).encode(), "GPU code that text spells at offset 6 cannot be read"),
        (b"\x7fELF", "damaged, or of an unknown form: An ELF file cannot be read"),
        (gzip.compress(bytes(1000))[:-9], "a gzip file that cannot be unpacked"),
        (b"PK\3\4 nothing more", "a zip archive that cannot be unpacked"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(9), "a 7-Zip archive, which is not unpacked"),
        (b"BC\xc0\xde" + bytes(9), "LLVM bitcode"),
        (b"\x7fELF\x01\x01" + bytes(12) + b"\xbe\0", "a cubin of 32 bits"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\xe0\0", "code for AMD GPUs"),
        (FATBIN[:-1], "what begins like a fatbin or a cubin at offset 0 and at 1 other places cannot be read"),
        (b"head" + CUBIN[:-1], "what begins like a fatbin or a cubin at offset 4 cannot be read"),
        (
            CUBIN.replace(b"\x7fELF\x02\x01\x01\x41", b"\x7fELF\x02\x01\x01\x42"),
            "what begins like a fatbin or a cubin at offset 0 cannot be read",
        ),
        (b"__CLANG_OFFLOAD_BUNDLE__" + bytes(9), "ROCm"),
    ],
)
def test_what_cannot_be_judged_is_listed(data, reason):
    (items, ((path, said),)) = contents(data)
    assert (items, path) == ([], "t/file")
    assert said.startswith(reason) or reason in said


def test_a_bomb_of_archives_is_bounded_and_told():
    """As 42.zip, with seven archives in each of six levels; unpacked, they would be 7**6 times its core."""
    core = bytes(1 << 20)
    for _ in range(6):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(7):
                archive.writestr(f"{number}.zip", core)
        core = file.getvalue()
    started = time.process_time()
    items, unjudged = contents(core)
    assert (items, time.process_time() - started < 20) == ([], True)
    assert len(unjudged) == 21
    assert {reason for _, reason in unjudged[:-1]} == {"an archive within archives, which is not unpacked"}
    assert unjudged[-1] == ("t/file", f"{7**3 - 20} more parts of it that cannot be judged")


def test_of_all_files_together_no_more_than_an_allowance_is_unpacked():
    bomb = gzip.compress(bytes(8 << 20) + CUBIN)
    allowance = Allowance(12 << 20)
    first, second, third = (read_contents(name, Window.of_bytes(bomb), allowance) for name in "abc")
    assert [item.path for item in first.items] == ["a(unpacked)"]
    assert (first.unjudged, second.items, third.items) == ((), (), ())
    assert second.unjudged[0].reason == "a gzip file of which the first 3 MiB were unpacked"
    assert third.unjudged[0].reason == "a gzip file of which the first 0 MiB were unpacked"


def test_a_stream_that_asks_for_gigabytes_of_memory_is_left():
    made = bytearray(lzma.compress(CUBIN, check=lzma.CHECK_NONE))
    assert made[14:17] == b"\x21\x01\x16"  # LZMA2, one byte of properties: a dictionary of 8 MiB
    made[16] = 40  # 4 GiB
    struct.pack_into("<I", made, 20, zlib.crc32(made[12:20]))
    items, ((path, reason),) = contents(bytes(made))
    assert (items, path) == ([], "t/file")
    assert reason.startswith("a xz file that cannot be unpacked (Memory usage limit")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress])
def test_a_file_of_several_streams_is_read_to_its_end(pack):
    items, unjudged = contents(pack(bytes(100)) + pack(CUBIN))
    assert ([item[0] for item in items], unjudged) == (["t/file(unpacked)"], [])


def test_headers_that_share_one_huge_table_are_given_up():
    """500 cubins of 64 bytes claim the same 60,000 sections: 30 million in all."""
    head = bytearray(CUBIN[:64])
    table = bytes(59_999 * 64) + struct.pack("<IIQQQQIIQQ", 0, 1, 0, 0, 1 << 40, 1, 0, 0, 1, 0)  # it leaves the file
    data = bytearray()
    for number in range(500):
        struct.pack_into("<Q", head, 40, (500 - number) * 64)
        struct.pack_into("<HH", head, 60, 60_000, 0)
        data += head
    started = time.process_time()
    items, ((_, reason),) = contents(bytes(data) + table)
    assert (items, time.process_time() - started < 5) == ([], True)
    assert "cannot be read" in reason


def test_the_limit_of_unpacking_is_told(monkeypatch):
    monkeypatch.setattr("wheelsmith.wheel.contents._MAX_UNPACKED", 4 << 20)
    items, unjudged = contents(gzip.compress(CUBIN + bytes(8 << 20)))
    assert [item[0] for item in items] == ["t/file(unpacked)"]
    assert unjudged == [("t/file(unpacked)", "a gzip file of which the first 4 MiB were unpacked")]
    items, unjudged = contents(zipped("a", bytes(8 << 20)))
    assert (items, unjudged) == ([], [("t/file", "a zip archive of 1 files, which is too large to be unpacked")])


def test_other_sections_rocm_and_lto_of_a_library(tmp_path):
    renamed = shared_object(FATBIN, section=".nv_fatbiX")
    (code,) = read_contents("a.so", Window.of_bytes(renamed)).items[0].facts.device_code
    assert (code.arch, code.section, code.kernels) == (Arch(8, 6), ".nv_fatbiX", ("k",))
    rocm = shared_object(b"anything", section=".hip_fatbin")
    assert "ROCm" in read_contents("b.so", Window.of_bytes(rocm)).unjudged[0].reason
    for name, count in (("x/libdevice.10.bc", 0), ("x/libdevice.bc", 1)):  # NVIDIA's library of functions
        assert len(read_contents(name, Window.of_bytes(b"BC\xc0\xde" + bytes(9))).unjudged) == count
    lto = shared_object(region(entry(LTOIR, 90)))
    assert read_contents("c.so", Window.of_bytes(lto)).unjudged[0].reason.startswith("1 pieces of LTO IR")
    appended = read_contents("d.so", Window.of_bytes(shared_object() + CUBIN)).items[0]
    assert [code.section for code in appended.facts.device_code] == ["no section"]


def test_a_wheel_for_windows_with_a_plain_cubin(tmp_path):
    files = {
        "demo/_C.pyd": pe_file({".nv_fatb": FATBIN}, imports=["cudart64_110.dll"]),
        "demo/k.cubin": cubin({"k": REAL}, "90a", toolkit="12.4", old=True),
        "demo/odd.7z": b"7z\xbc\xaf\x27\x1c",
    }
    report = inspect_path(build_wheel(tmp_path / "demo-1-cp312-cp312-win_amd64.whl", files))
    assert [(x.path, x.facts.format, x.cudart_major, x.toolkit) for x in report.libraries] == [
        ("demo/_C.pyd", "pe", 11, "13.0"),
        ("demo/k.cubin", "data", None, "12.4"),
    ]
    assert report.platform is None
    assert [item.path for item in report.unjudged] == ["demo/odd.7z"]
    assert report.to_dict()["unjudged"][0]["reason"] == "a 7-Zip archive, which is not unpacked"


def test_a_false_label_is_reported(tmp_path):
    library = shared_object(region(entry(SASS, 120, payload=CUBIN)))
    (tmp_path / "lib.so").write_bytes(library)
    (found,) = read_contents("a.so", Window.of_bytes(library)).items
    assert [(code.label, code.arch) for code in found.facts.device_code] == [(Arch(12, 0), Arch(8, 6))]
    (report,) = inspect_path(tmp_path / "lib.so").libraries
    assert report.mislabelled == ((Arch(12, 0), Arch(8, 6)),)


@given(st.binary(max_size=200), st.integers(0, 400), st.sampled_from([gzip.compress, bz2.compress, lzma.compress]))
def test_damaged_data_is_read_or_listed_and_nothing_raises(noise, position, pack):
    for whole in (CUBIN + FATBIN, pack(CUBIN), zipped("a", CUBIN)):
        contents(b"-" + whole[:position] + noise + whole[position + len(noise) :])
        with contextlib.suppress(InvalidWheelError):  # noise may begin as a library
            contents(whole[:position] + noise + whole[position + len(noise) :])


def test_a_second_xz_stream_behind_long_padding_is_read():
    data = lzma.compress(b"first") + b"\0" * (3 << 20) + lzma.compress(CUBIN)
    assert contents(data) == ([("t/file(unpacked)", "data", [("sass", Arch(8, 6), ("k",))])], [])


def test_text_that_begins_as_ptx_again_and_again_is_passed_once():
    begin = b".version 8.7 .target sm_86 "
    for text, told in ((begin * 400_000, 0), (begin * 400_000 + b"x" * 30_000 + b".entry k", 0), (begin * 9 + PTX, 1)):
        started = time.process_time()
        assert len(contents(b"text " + text)[1]) == told
        assert time.process_time() - started < 5


def test_a_cubin_in_a_program_that_says_no_arch_is_not_judged():
    """As in a file of data: else it was code for sm_00, which no GPU misses."""
    of_nothing = CUBIN.replace(b"\x7fELF\x02\x01\x01\x41", b"\x7fELF\x02\x01\x01\x42")
    library = shared_object(FATBIN)
    items, unjudged = contents(library + of_nothing, "t/a.so")
    assert items == [("t/a.so", "shared", [("sass", Arch(8, 6), ("k",))])]
    reason = f"what begins like a fatbin or a cubin at offset {len(library)} cannot be read"
    assert unjudged == [("t/a.so", reason)]


@pytest.mark.parametrize("behind", ["41c78424c0020000", "41c7442478000080", "c745780000803f48"])
def test_the_magic_number_in_an_instruction_is_no_fatbin(behind):
    """What follows it in cuDNN's engines, in CuTe DSL and in fatbinary itself, which make fatbins."""
    code = bytes.fromhex("c70050ed55ba01001000" + behind)
    assert contents(shared_object() + code + bytes(64), "t/a.so")[1] == []
    assert contents(shared_object() + FATBIN[:-1], "t/a.so")[1] != []
