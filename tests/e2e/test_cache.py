"""The compile cache with nvcc, in the room that builds have: the bytes are nvcc's own, always."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wheelsmith.compile.compiler_wrappers import WIDE
from wheelsmith.compile.sandbox import Room, isolation_here
from wheelsmith.events import ignore
from wheelsmith.planning.model import CANONICAL
from wheelsmith.toolchain.ccache.cache import CacheSettings, cache_use, open_cache
from wheelsmith.toolchain.ccache.entries import Scope

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not isolation_here().canonical, reason="no mount namespaces here"),
]

# Which code and which headers are used depends on the pass: host, sm_86, sm_120.
UNIT = """
#if !defined(__CUDA_ARCH__)
#include "host.h"
#elif __CUDA_ARCH__ >= 1000
#include "new.h"
#else
#define VALUE 1
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
#define MORE 10
#else
#define MORE 20
#endif
__global__ void k(int *x) { x[threadIdx.x] = VALUE + MORE; }
extern "C" int launch(int *x) { k<<<1, 32>>>(x); return VALUE; }
"""
LISTED = 'extern "C" const char *archs() { return TEXT(__CUDA_ARCH_LIST__); }\n'


class Builder:
    """Compiles one unit in a room, with and without the cache."""

    def __init__(self, root: Path, store: Path, toolkit) -> None:
        self.root, self.store, self.toolkit = root, store, toolkit
        self.room = Room(root, root, toolkit.root, isolation_here())
        for name in ("src", "trees", "home", "tmp", "out", "env", "cuda"):
            (root / name).mkdir(parents=True)
        self.write(unit=UNIT, host="#define VALUE 2\n", new="#define VALUE 3\n")

    def write(self, unit: str | None = None, **headers: str) -> None:
        if unit is not None:
            (self.root / "src/unit.cu").write_text(unit)
        for name, text in headers.items():
            (self.root / f"src/{name}.h").write_text(text)

    def call(self, archs, flags, append, place, cache=None, environment=None) -> bytes:
        codes = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
        nvcc = [f"{CANONICAL}/cuda/bin/nvcc", *codes, *flags, "-c", "unit.cu", "-o", "unit.o"]
        script = f'cd {place} && exec "$@"'
        base = {"PATH": os.environ["PATH"], "NVCC_APPEND_FLAGS": append}
        prefix, binds, paths = (cache.prefix, cache.binds, cache.paths) if cache else ((), (), ())
        self.room.hand_over(*(path for path, writable in paths if writable))
        command = self.room.command(["sh", "-c", script, "sh", *prefix, *nvcc], binds=binds, paths=paths)
        base |= dict(cache.environment) if cache else {}
        subprocess.run(command, env=base | (environment or {}), check=True)
        return (self.root / place / "unit.o").read_bytes()

    def compile(self, *flags: str, archs=(86, 120), append: str = "-objtemp", place: str = "src", **more: str):
        """Compile through the cache and compare with nvcc's own bytes; what the cache did."""
        settings = CacheSettings(self.store, Scope("package", "a" * 32))
        with open_cache(
            self.root, CANONICAL, settings=settings, toolkit=self.toolkit, packages="", listener=ignore
        ) as cache:
            assert cache is not None
            through = self.call(archs, flags, append, place, cache, more)
        assert through == self.call(archs, flags, append, place, environment=more)
        return cache_use(self.root / "cache")


@pytest.fixture
def builder(tmp_path, toolkit):
    return Builder(tmp_path / "work", tmp_path / "store", toolkit)


def test_a_build_in_another_directory_is_answered_with_the_same_bytes(builder, tmp_path, toolkit):
    assert builder.compile().misses == 1
    assert Builder(tmp_path / "elsewhere/deep", tmp_path / "store", toolkit).compile().hits == 1


@pytest.mark.parametrize("name", ["host", "new"])
def test_a_header_that_only_one_pass_includes_is_noticed(builder, name):
    builder.compile()
    builder.write(**{name: "#define VALUE 5\n"})
    assert builder.compile().hits == 0


def test_code_that_only_one_arch_sees_is_noticed(builder):
    builder.compile()
    builder.write(unit=UNIT.replace("MORE 10", "MORE 11"))
    assert builder.compile().hits == 0


def test_a_comment_is_no_other_code(builder):
    builder.compile()
    builder.write(unit=UNIT + "// end\n")
    assert builder.compile().hits == 1


def test_flags_from_the_environment_are_noticed(builder):
    builder.compile()
    assert builder.compile(append="-objtemp -Xptxas -O0").hits == 0


def test_a_host_compiler_named_by_the_environment_is_noticed(builder):
    builder.compile()
    assert builder.compile(NVCC_CCBIN="/usr/bin/g++").hits == 0


def test_the_same_unit_in_another_directory_of_the_project_is_another_module(builder):
    """nvcc derives the module's name from the whole path: two of the same name do not link."""
    files = [*(builder.root / "src").iterdir()]
    for name in ("one", "two"):
        (builder.root / "src" / name).mkdir()
        for file in files:
            shutil.copy(file, builder.root / "src" / name)
    builder.compile("-rdc=true", place="src/one")
    assert builder.compile("-rdc=true", place="src/two").hits == 0
    assert builder.compile("-rdc=true", place="src/two").hits == 1


def test_comments_count_where_the_source_becomes_a_part_of_the_ptx(builder):
    flags = ("-lineinfo", "-src-in-ptx", "-gencode=arch=compute_86,code=compute_86")
    builder.compile(*flags)
    builder.write(unit=UNIT.replace("= VALUE + MORE;", "= VALUE /* here */ + MORE;"))
    builder.compile(*flags)


@pytest.mark.parametrize("flag", [("-Xcompiler", "-fPIC"), ("-rdc=true",), ("-Xptxas", "-O1"), ("--fmad=false",)])
def test_flags_for_one_step_are_noticed(builder, flag):
    builder.compile()
    assert builder.compile(*flag).hits == 0


@pytest.mark.parametrize("flags", [(), ("-rdc=true", "-lineinfo")])
def test_adding_an_arch_compiles_the_device_code_of_that_arch_only(builder, flags):
    first = builder.compile(*flags)
    assert (first.device_hits, first.device_misses) == (0, 4)  # cicc and ptxas, for two archs
    third = builder.compile(*flags, archs=(86, 89, 120))
    assert (third.hits, third.misses, third.device_hits, third.device_misses) == (0, 1, 4, 2)
    assert "host_hit" in (builder.root / "cache/device").read_text().split()  # cudafe++: the host's text is the same


@pytest.mark.parametrize("flags", [(), ("-rdc=true", "-lineinfo")])
def test_the_only_arch_is_not_compiled_again_when_a_second_one_is_added(builder, flags):
    """nvcc names a pass's files otherwise then; the bytes of the object are its own (`compile` compares them)."""
    assert builder.compile(*flags, archs=(86,)).device_misses == 2
    second = builder.compile(*flags, archs=(86, 120))
    assert (second.hits, second.device_hits, second.device_misses) == (0, 2, 2)
    assert "host_hit" in (builder.root / "cache/device").read_text().split()


def test_host_code_that_asks_for_the_list_of_archs_is_made_again(builder):
    """As CUB's does, in every name; and the bytes are nvcc's own."""
    builder.write(unit=UNIT + "#define LIST(...) #__VA_ARGS__\n#define TEXT(...) LIST(__VA_ARGS__)\n" + LISTED)
    builder.compile()
    builder.compile(archs=(86, 89, 120))
    assert "host_hit" not in (builder.root / "cache/device").read_text().split()


def test_passes_side_by_side_make_the_same_bytes_under_the_same_key(builder):
    wide = builder.root / "tmp/wide"
    wide.write_text(WIDE)
    wide.chmod(0o755)
    both = {"CCACHE_PREFIX": f"{CANONICAL}/tmp/wide", "WHEELSMITH_WIDTH": "2"}
    assert builder.compile(**both).device_misses == 4  # and the bytes are compared with nvcc's own, one after the other
    assert builder.compile().hits == 1


def test_a_unit_that_prints_is_remembered_by_its_device_code(builder):
    first, second = builder.compile("-Xptxas", "-v"), builder.compile("-Xptxas", "-v")
    assert (first.uncacheable, second.uncacheable, second.device_hits) == (1, 1, 4)


def test_native_is_not_answered_with_another_machines_code(builder):
    builder.compile("-Xcompiler", "-march=native")
    use = builder.compile("-Xcompiler", "-march=native")
    assert (use.hits, use.misses) == (0, 0)


PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from tests.e2e.test_cache import Builder
from wheelsmith.toolchain.cuda import inspect_toolkit
toolkit = inspect_toolkit(Path({toolkit!r}), "test")
print(Builder(Path({root!r}) / sys.argv[1], Path({store!r}), toolkit).compile())
"""


def with_cache_on(tmp_path: Path, toolkit, options: str, script: str) -> str:
    """Run a shell script that has a small file system as its store, and `build NAME`; what the caches did."""
    store = tmp_path / "store"
    store.mkdir()
    places = {"root": str(tmp_path), "store": str(store), "toolkit": str(toolkit.root)}
    (tmp_path / "program.py").write_text(PROGRAM.format(path=sys.path, **places))
    start = f"mount -t tmpfs -o {options} none {store}; build() {{ {sys.executable} {tmp_path}/program.py $1; }}"
    command = ["unshare", "--mount", "sh", "-ec", f"{start}; cd {tmp_path}; {script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_a_full_disk_fails_no_build(tmp_path, toolkit):
    assert "hits=0" in with_cache_on(tmp_path, toolkit, "size=40k", "build one")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_a_read_only_cache_answers_all_the_same(tmp_path, toolkit):
    said = with_cache_on(tmp_path, toolkit, "size=10m", "build one; mount -o remount,ro store; build two")
    assert ["hits=1" in line for line in said.splitlines()] == [False, True]
