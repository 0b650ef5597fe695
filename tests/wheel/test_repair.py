from __future__ import annotations

import zipfile

import pytest

from tests.support.shared_object import shared_object
from tests.support.wheel_makers import SASS, build_library, build_wheel, entry, region
from wheelsmith.errors import InvalidWheelError, NotPortableError
from wheelsmith.events import Event, ToolLine, ignore
from wheelsmith.wheel.inspect import inspect_path
from wheelsmith.wheel.paths import check_paths
from wheelsmith.wheel.repair import repair
from wheelsmith.wheel.seal import seal

pytestmark = pytest.mark.e2e

EPOCH = 1_700_000_000
NAME = "demo-1.0-cp312-cp312-linux_x86_64.whl"
USES_LIBC = '#include <stdio.h>\nint f(void){return puts("x");}'


@pytest.fixture
def dependency(tmp_path):
    folder = tmp_path / "dependency"
    source = "int dep(void){return 1;}"
    build_library(folder, name="libdep.so.1", source=source, flags=["-Wl,-soname,libdep.so.1"])
    return folder


def library(tmp_path, dependency, rpath, fatbin=b""):
    source = '#include <stdio.h>\nextern int dep(void);\nint f(void){return puts("x") + dep();}'
    flags = [f"-L{dependency}", "-l:libdep.so.1", f"-Wl,-rpath,{rpath}"]
    return build_library(tmp_path / "library", fatbin, source=source, flags=flags)


def wheel_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("demo-1.0.dist-info/WHEEL").decode()


def test_true_tag_and_no_path_of_the_build_machine(tmp_path, dependency):
    rpath = f"{dependency}:$ORIGIN/../torch/lib:$ORIGIN/../../lib:"
    fatbin = region(entry(SASS, 86))
    binary = library(tmp_path, dependency, rpath, fatbin)
    only_bad = build_library(tmp_path / "other", source=USES_LIBC, flags=["-Wl,-rpath,/build/machine"])
    wheel = build_wheel(tmp_path / "in" / NAME, {"demo/a.so": binary, "demo/b.so": only_bad})
    heard: list[Event] = []
    out = tmp_path / "out"
    out.mkdir()
    fixed = repair(wheel, out, exclude=["libdep.so.*"], epoch=EPOCH, listener=heard.append)
    assert fixed.name == "demo-1.0-cp312-cp312-manylinux1_x86_64.manylinux_2_5_x86_64.whl"
    assert list(out.iterdir()) == [fixed]
    tags = sorted(line for line in wheel_file(fixed).splitlines() if line.startswith("Tag"))
    assert tags == ["Tag: cp312-cp312-manylinux1_x86_64", "Tag: cp312-cp312-manylinux_2_5_x86_64"]
    first, second = inspect_path(fixed).libraries
    assert (first.rpath, first.needed[0]) == (("$ORIGIN/../torch/lib",), "libdep.so.1")
    assert second.rpath == ()
    assert [(str(arch), count) for arch, count in first.sass] == [("8.6", 1)]
    assert check_paths(fixed, [str(dependency), "/build/machine"]) == ()
    assert ToolLine("proof", "INFO:auditwheel.lddtree:Excluding libdep.so.1") in heard


def test_libraries_are_grafted_from_the_given_folders(tmp_path, dependency):
    binary = library(tmp_path, dependency, "/nowhere")
    wheel = build_wheel(tmp_path / "in" / NAME, {"demo/a.so": binary})
    fixed = repair(wheel, tmp_path, exclude=[], library_dirs=[dependency], epoch=EPOCH, listener=ignore)
    grafted, first = inspect_path(fixed).libraries
    assert grafted.path.startswith("demo.libs/libdep-")
    assert first.needed[0] == grafted.path.removeprefix("demo.libs/")
    assert first.rpath == ("$ORIGIN/../demo.libs",)


def test_a_library_that_is_not_found_leaves_nothing_behind(tmp_path, dependency):
    binary = library(tmp_path, dependency, "/nowhere")
    wheel = build_wheel(tmp_path / "in" / NAME, {"demo/a.so": binary})
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(NotPortableError) as caught:
        repair(wheel, out, exclude=[], epoch=EPOCH, listener=ignore)
    assert caught.value.cause == (
        f"auditwheel cannot make {NAME} portable: "
        'Cannot repair wheel, because required library "libdep.so.1" could not be located.'
    )
    assert list(out.iterdir()) == []


def test_a_symbol_newer_than_every_policy_is_not_portable(tmp_path):
    source = '#include <stdio.h>\n__asm__(".symver puts, puts@GLIBC_2.99");\nint f(void){return puts("x");}'
    (tmp_path / "map").write_text("GLIBC_2.99 { puts; };")
    stub = build_library(
        tmp_path / "stub",
        name="libc.so.6",
        source="int puts(const char *s){return 0;}",
        flags=["-nostdlib", "-Wl,-soname,libc.so.6", f"-Wl,--version-script={tmp_path / 'map'}"],
    )
    assert stub
    flags = ["-nostdlib", f"-L{tmp_path / 'stub'}", "-l:libc.so.6"]
    binary = build_library(tmp_path / "new", source=source, flags=flags)
    wheel = build_wheel(tmp_path / "in" / NAME, {"demo/a.so": binary})
    with pytest.raises(NotPortableError, match="presence of too-recent versioned symbols"):
        repair(wheel, tmp_path, exclude=[], epoch=EPOCH, listener=ignore)


def test_a_wheel_for_any_platform_passes(tmp_path):
    wheel = build_wheel(tmp_path / "in" / "demo-1.0-py3-none-any.whl", {"demo/__init__.py": b""})
    fixed = repair(wheel, tmp_path, exclude=[], epoch=EPOCH, listener=ignore)
    assert fixed.name == wheel.name
    assert fixed.read_bytes() == wheel.read_bytes()


def test_a_library_that_record_does_not_list_is_refused(tmp_path):
    wheel = build_wheel(tmp_path / "in" / NAME, {"demo/a.so": shared_object()})
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("demo/hidden.so", build_library(tmp_path / "b", source=USES_LIBC))
    with pytest.raises(InvalidWheelError, match=r"RECORD does not list 'demo/hidden\.so'"):
        repair(wheel, tmp_path, exclude=[], epoch=EPOCH, listener=ignore)


def test_repair_and_seal_are_reproducible(tmp_path, dependency):
    binary = library(tmp_path, dependency, "/build/lib")
    results = []
    for number, reverse in enumerate((False, True)):
        wheel = build_wheel(tmp_path / f"in{number}" / NAME, {"demo/a.so": binary, "z.py": b""}, reverse=reverse)
        fixed = repair(wheel, wheel.parent, exclude=[], library_dirs=[dependency], epoch=EPOCH, listener=ignore)
        results.append(seal(fixed, wheel.parent, local_version="cu130", epoch=EPOCH).read_bytes())
    assert results[0] == results[1]
