"""Two wheels compared: the member, and in a library the section."""

from __future__ import annotations

import zipfile

import pytest

from tests.support.wheel_makers import SASS, build_library, build_wheel, entry, region
from wheelsmith.wheel.compare import compare

pytestmark = pytest.mark.e2e

NAME = "demo-1.0-py3-none-any.whl"


def pair(tmp_path, before, after):
    return build_wheel(tmp_path / "a" / NAME, before), build_wheel(tmp_path / "b" / NAME, after)


def test_equal_wheels_do_not_differ(tmp_path):
    assert compare(*pair(tmp_path, {"x.py": b"1"}, {"x.py": b"1"})) == ()


def test_members_that_differ_are_named_and_record_is_not(tmp_path):
    found = compare(*pair(tmp_path, {"x.py": b"1", "old.py": b""}, {"x.py": b"2", "new.py": b""}))
    assert list(map(str, found)) == ["new.py: only after", "old.py: only before", "x.py: content"]


def test_only_the_packing_differs(tmp_path):
    one, two = pair(tmp_path, {"x.py": b"1"}, {"x.py": b"1"})
    with zipfile.ZipFile(two, "a") as archive:
        archive.comment = b"packed elsewhere"
    (difference,) = compare(one, two)
    assert (difference.kind, difference.sections) == ("archive", ())
    assert str(difference).startswith(f"{NAME}: every file in it is the same, byte for byte; the zip around them")


def test_the_section_that_differs_is_named(tmp_path):
    def library(name, payload, value):
        return build_library(
            tmp_path / name, region(entry(SASS, 86, payload=payload)), source=f"int f(void){{return {value};}}"
        )

    first = library("1", b"payload1", 1)
    code, gpu = library("2", b"payload1", 2), library("3", b"payload2", 1)
    for changed, section in ((code, ".text"), (gpu, ".nv_fatbin")):
        (difference,) = compare(*pair(tmp_path, {"d/lib.so": first}, {"d/lib.so": changed}))
        # The build id is a digest of the others.
        assert [s.name for s in difference.sections if s.name != ".note.gnu.build-id"] == [section]
        assert difference.sections[-1].before == difference.sections[-1].after


def test_a_lying_elf_file_differs_as_a_whole(tmp_path):
    lying = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\xff" * 200
    (difference,) = compare(*pair(tmp_path, {"lib.so": lying}, {"lib.so": lying + b"x"}))
    assert (difference.kind, difference.sections) == ("content", ())
