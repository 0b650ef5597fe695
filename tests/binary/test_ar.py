from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wheel_makers import SASS, build_library, entry, region
from wheelsmith.binary.ar import read_archive
from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch
from wheelsmith.wheel.inspect import inspect_path

pytestmark = pytest.mark.e2e


def members(data: bytes) -> list[tuple[str, bytes]]:
    return [(name, member.read(0, member.size)) for name, member in read_archive(Window.of_bytes(data))]


def test_gnu_names_short_and_long(tmp_path):
    long = "a_name_that_is_longer_than_fifteen.o"
    for name, text in (("a.o", "odd"), (long, "even")):
        (tmp_path / name).write_text(text)
    subprocess.run(["ar", "rcs", "lib.a", "a.o", long], cwd=tmp_path, check=True)
    assert members((tmp_path / "lib.a").read_bytes()) == [("a.o", b"odd"), (long, b"even")]
    subprocess.run(["ar", "rcsT", "thin.a", "a.o"], cwd=tmp_path, check=True)
    with pytest.raises(InvalidWheelError, match="thin"):
        members((tmp_path / "thin.a").read_bytes())


def test_bsd_names():
    def member(name: bytes, data: bytes) -> bytes:
        return b"%-16s%-12s%-6s%-6s%-8s%-10d`\n" % (name, b"0", b"0", b"0", b"644", len(data)) + data

    index = member(b"#1/12", b"__.SYMDEF\0\0\0" + bytes(4))
    assert members(b"!<arch>\n" + index + member(b"#1/4", b"x.o\0body")) == [("x.o", b"body")]


def test_gpu_code_in_the_objects_of_an_archive_is_listed_and_named(tmp_path):
    for name, arch in (("one.o", 86), ("two.o", 120)):
        build_library(tmp_path, region(entry(SASS, arch)), name=name, link=["-r", "-nostdlib"])
    build_library(tmp_path, name="host.o", link=["-r", "-nostdlib"])
    subprocess.run(["ar", "rcs", "lib.a", "one.o", "two.o", "host.o"], cwd=tmp_path, check=True)
    report = inspect_path(tmp_path / "lib.a")
    assert [(item.path, item.sass) for item in report.libraries] == [
        ("lib.a(one.o)", ((Arch(8, 6), 1),)),
        ("lib.a(two.o)", ((Arch(12, 0), 1),)),
    ]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_damaged_archives_raise_only_our_error(noise, position):
    header = b"%-16s%-12s%-6s%-6s%-8s%-10d`\n" % (b"a.o/", b"0", b"0", b"0", b"644", 100)
    whole = b"!<arch>\n" + header + bytes(100) + header + bytes(100)
    for data in (noise, b"!<arch>\n" + noise, whole[:position] + noise + whole[position + len(noise) :]):
        try:
            assert sum(len(content) for _, content in members(data)) <= len(data)
        except InvalidWheelError:
            continue
