"""Stripping: smaller, loadable, and the GPU code untouched."""

from __future__ import annotations

import ctypes
import zipfile

import pytest

from tests.support.wheel_makers import SASS, build_library, build_wheel, entry, region
from wheelsmith.errors import InvalidWheelError
from wheelsmith.wheel.inspect import inspect_path
from wheelsmith.wheel.strip import find_strip, strip_wheel

pytestmark = pytest.mark.e2e

NAME = "demo-1.0-cp311-cp311-linux_x86_64.whl"
SOURCE = "static int hidden(int x){return x*2;} int f(void){return hidden(21);}"


def test_a_library_loses_debug_information_and_keeps_its_gpu_code(tmp_path):
    fatbin = region(entry(SASS, 86), entry(SASS, 120))
    library = build_library(tmp_path / "so", fatbin, source=SOURCE, flags=("-g",))
    obj = build_library(tmp_path / "o", source=SOURCE, name="x.o", link=("-r", "-nostdlib"), flags=("-g",))
    wheel = build_wheel(tmp_path / "in" / NAME, {"d/lib.so": library, "d/x.o": obj, "d/x.py": b"#"})
    stripped = strip_wheel(wheel, tmp_path, tool=find_strip(), epoch=0)
    with zipfile.ZipFile(stripped.wheel) as archive:
        slim = archive.read("d/lib.so")
        assert archive.read("d/x.o") == obj
        assert archive.read("d/x.py") == b"#"
    assert (stripped.before, stripped.after) == (len(library), len(slim))
    assert len(slim) < len(library)
    assert b"hidden" not in slim
    before, after = (
        next(item for item in inspect_path(path).libraries if item.path == "d/lib.so")
        for path in (wheel, stripped.wheel)
    )
    assert [str(arch) for arch, _ in after.sass] == ["8.6", "12.0"]
    assert after.sass == before.sass
    (tmp_path / "lib.so").write_bytes(slim)
    assert ctypes.CDLL(str(tmp_path / "lib.so")).f() == 42


def test_a_broken_library_is_an_error_and_nothing_is_left(tmp_path):
    broken = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + b"\xff" * 50
    wheel = build_wheel(tmp_path / "in" / NAME, {"d/lib.so": broken})
    with pytest.raises(InvalidWheelError, match=r"strip cannot read 'd/lib.so'"):
        strip_wheel(wheel, tmp_path, tool=find_strip(), epoch=0)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
