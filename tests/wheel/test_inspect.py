from __future__ import annotations

import hashlib
import json
import stat
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shared_object import shared_object
from tests.support.wheel_makers import ARCH_SPECIFIC, PTX, SASS, build_wheel, entry, region
from wheelsmith.errors import InvalidWheelError, UsageError
from wheelsmith.gpu.arch import Arch
from wheelsmith.wheel.inspect import inspect_path

NAME = "demo_cuda-1.2-cp312-cp312-manylinux_2_28_x86_64.manylinux_2_27_x86_64.whl"


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> bytes:
    def eight(kind, number, flags=0x11, isa=(9, 0)):
        return entry(kind, number, flags, isa, b"payload!")

    first = region(eight(SASS, 120), eight(SASS, 86), eight(PTX, 86, isa=(8, 8)))
    return shared_object(first + region(eight(SASS, 86), eight(SASS, 90, ARCH_SPECIFIC)))


def test_a_wheel(library, tmp_path):
    metadata = "Metadata-Version: 2.1\nName: demo.CUDA\nVersion: 1.2\nRequires-Dist: torch (==2.9.1)\n\ntext\n"
    files = {"demo/z.so": library, "demo/__init__.py": b"", "demo/a.bin": library}
    wheel = build_wheel(tmp_path / NAME, files, metadata=metadata)
    report = inspect_path(wheel)
    assert [item.path for item in report.libraries] == ["demo/a.bin", "demo/z.so"]
    assert report.libraries[1].sass == ((Arch(8, 6), 2), (Arch(9, 0, "a"), 1), (Arch(12, 0), 1))
    assert report.libraries[1].ptx == ((Arch(8, 6), "8.8", 1),)
    assert json.loads(json.dumps(report.to_dict())) == {
        "schema_version": 2,
        "kind": "wheel",
        "filename": NAME,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "size": wheel.stat().st_size,
        "name": "demo-cuda",
        "version": "1.2",
        "tags": ["cp312-cp312-manylinux_2_27_x86_64", "cp312-cp312-manylinux_2_28_x86_64"],
        "platform": "manylinux_2_5_x86_64",
        "platform_because": [],
        "requires_dist": ["torch (==2.9.1)"],
        "choices": [],
        "code": [
            {"kind": "sass", "arch": "8.6", "count": 4, "empty": 0, "size": 32, "packed": 32},
            {"kind": "sass", "arch": "9.0a", "count": 2, "empty": 0, "size": 16, "packed": 16},
            {"kind": "sass", "arch": "12.0", "count": 2, "empty": 0, "size": 16, "packed": 16},
            {"kind": "ptx", "arch": "8.6", "isa": "8.8", "count": 2, "empty": 0, "size": 16, "packed": 16},
        ],
        "libraries": [
            {
                "path": path,
                "size": len(library),
                "packed": len(library),
                "kind": "shared",
                "format": "elf",
                "toolkit": None,
                "cudart_major": None,
                "mislabelled": [],
                "unread": 5,
                "sass": [
                    {"arch": "8.6", "count": 2, "empty": 0, "size": 16, "packed": 16},
                    {"arch": "9.0a", "count": 1, "empty": 0, "size": 8, "packed": 8},
                    {"arch": "12.0", "count": 1, "empty": 0, "size": 8, "packed": 8},
                ],
                "ptx": [{"arch": "8.6", "isa": "8.8", "count": 1, "empty": 0, "size": 8, "packed": 8}],
                "ltoir": [],
                "units": 2,
                "compression": {"none": 5},
                "needed": [],
                "rpath": [],
                "glibc": None,
                "glibcxx": None,
                "python_abi": "none",
                "torch_abi": "none",
                "torch_symbols": [],
            }
            for path in ("demo/a.bin", "demo/z.so")
        ],
        "unjudged": [],
    }


def test_a_library_and_a_folder(library, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "lib.so.1").write_bytes(library)
    (tmp_path / "lib.so").symlink_to("sub/lib.so.1")
    (tmp_path / "text").write_text("no")
    folder = inspect_path(tmp_path)
    single = inspect_path(tmp_path / "sub" / "lib.so.1")
    assert (folder.kind, folder.sha256, folder.size) == ("folder", None, len(library))
    assert [item.path for item in folder.libraries] == ["sub/lib.so.1"]
    assert (single.kind, single.name, single.sha256) == ("library", None, hashlib.sha256(library).hexdigest())
    assert single.libraries[0].sass == folder.libraries[0].sass
    for path in (tmp_path / "text", tmp_path / "absent", tmp_path / "absent.whl"):
        with pytest.raises(UsageError):
            inspect_path(path)


def test_a_folder_of_wheels(library, tmp_path):
    (tmp_path / "dist").mkdir()
    build_wheel(tmp_path / "dist" / NAME, {"demo/z.so": library})
    (tmp_path / "dist" / "broken-1-py3-none-any.whl").write_bytes(b"PK")
    (tmp_path / "libfoo.so").write_bytes(library)
    found = inspect_path(tmp_path)
    assert [item.path for item in found.libraries] == [f"dist/{NAME}(demo/z.so)", "libfoo.so"]
    assert found.libraries[0].facts == found.libraries[1].facts
    assert found.libraries[0].packed is not None


def _add(wheel, name, data=b"x", mode=stat.S_IFREG | 0o644, **fields):
    with zipfile.ZipFile(wheel, "a") as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        for field, value in fields.items():
            setattr(member, field, value)
        archive.writestr(member, data)


@pytest.mark.parametrize(
    "name", ["../evil.so", "demo/../../evil", "/etc/evil", "demo//evil", "./demo/evil", "demo\\evil"]
)
def test_paths_that_leave_the_wheel_are_refused(tmp_path, name):
    wheel = build_wheel(tmp_path / NAME)
    _add(wheel, name)
    with pytest.raises(InvalidWheelError, match="has an unsafe path"):
        inspect_path(wheel)


def test_links_are_refused(tmp_path):
    wheel = build_wheel(tmp_path / NAME)
    _add(wheel, "demo/link", b"/etc/passwd", stat.S_IFLNK | 0o777)
    with pytest.raises(InvalidWheelError, match="is a link"):
        inspect_path(wheel)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_names_are_refused(tmp_path):
    wheel = build_wheel(tmp_path / NAME, {"demo/a.py": b""})
    _add(wheel, "demo/a.py", b"other")
    with pytest.raises(InvalidWheelError, match=r"holds 'demo/a\.py' twice"):
        inspect_path(wheel)


def _declare(wheel, name, size):
    """Change the uncompressed size of a member in the central directory."""
    data = bytearray(wheel.read_bytes())
    header = data.rindex(name.encode()) - 46
    assert data[header : header + 4] == b"PK\x01\x02"
    data[header + 24 : header + 28] = struct.pack("<I", size)
    wheel.write_bytes(data)


@pytest.mark.parametrize(
    ("size", "reason"),
    [(4096, "cannot be unpacked"), (400_000, "does not hold the 400000 bytes"), (2**31, "out of")],
)
def test_a_member_that_lies_about_its_size_is_refused(tmp_path, size, reason):
    wheel = build_wheel(tmp_path / NAME)
    _add(wheel, "demo/bomb.so", b"\x7fELF" + bytes(300_000), compress_type=zipfile.ZIP_DEFLATED)
    _declare(wheel, "demo/bomb.so", size)
    with pytest.raises(InvalidWheelError, match=reason):
        inspect_path(wheel)


def test_overlapping_members_are_refused(tmp_path):
    wheel = build_wheel(tmp_path / NAME, {"demo/a.py": b"1" * 99, "demo/b.py": b"1" * 99})
    data = bytearray(wheel.read_bytes())
    second = data.rindex(b"demo/b.py") - 46
    data[second + 42 : second + 46] = bytes(data[data.rindex(b"demo/a.py") - 4 :][:4])
    wheel.write_bytes(data)
    with pytest.raises(InvalidWheelError, match="overlap"):
        inspect_path(wheel)


def test_a_member_outside_the_file_is_refused(tmp_path):
    wheel = build_wheel(tmp_path / NAME, {"demo/a.py": b"1" * 99})
    data = bytearray(wheel.read_bytes())
    header = data.rindex(b"demo/a.py") - 46
    data[header + 42 : header + 46] = b"\xff\xff\xff\x7f"
    wheel.write_bytes(data)
    with pytest.raises(InvalidWheelError, match="lies outside the file"):
        inspect_path(wheel)


def test_a_damaged_member_is_refused(tmp_path, library):
    wheel = build_wheel(tmp_path / NAME, {"demo/a.so": library})
    data = bytearray(wheel.read_bytes())
    data[data.index(b"\x7fELF") + 600] ^= 1
    wheel.write_bytes(data)
    with pytest.raises(InvalidWheelError, match=r"'demo/a\.so' cannot be unpacked"):
        inspect_path(wheel)


def test_an_unreadable_library_is_named(tmp_path, library):
    wheel = build_wheel(tmp_path / NAME, {"demo/cut.so": library[:1000]})
    found = inspect_path(wheel).unjudged
    assert {item.path for item in found} == {"demo/cut.so"}
    assert any(item.reason.startswith("damaged, or of an unknown form: An ELF file cannot") for item in found)


@pytest.mark.parametrize(
    ("name", "metadata", "reason"),
    [
        ("demo.whl", None, "its name has not the form"),
        (NAME, "Metadata-Version: 2.1\nName: other\nVersion: 1.2\n", "its METADATA is of 'other' '1.2'"),
        (NAME, "Metadata-Version: 2.1\nName: demo_cuda\nVersion: x\n", "its METADATA is of 'demo_cuda' 'x'"),
    ],
)
def test_a_wheel_that_contradicts_itself_is_refused(tmp_path, name, metadata, reason):
    wheel = build_wheel(tmp_path / NAME, metadata=metadata).rename(tmp_path / name)
    with pytest.raises(InvalidWheelError, match=reason):
        inspect_path(wheel)


@given(st.integers(0, 40_000), st.binary(max_size=8), st.integers(0, 40_000))
def test_damaged_and_truncated_wheels_raise_only_our_error(tmp_path_factory, library, position, noise, length):
    folder = tmp_path_factory.getbasetemp()
    whole = build_wheel(folder / NAME, {"demo/a.so": library}).read_bytes()
    position %= len(whole)
    for data in (whole[:position] + noise + whole[position + len(noise) :], whole[:length], noise):
        (folder / NAME).write_bytes(data)
        try:
            inspect_path(folder / NAME)
        except InvalidWheelError:
            continue
