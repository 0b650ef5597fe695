"""One package's build tries to change the GPU code in another package's wheel, by way of the compile cache."""

from __future__ import annotations

import base64
import zipfile

import pytest

import wheelsmith
from tests.support import pure_build
from wheelsmith.compile.sandbox import isolation_here

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not isolation_here().confined, reason="this machine allows no namespaces"),
]

COMPILE = """
import subprocess
pathlib.Path("k.cu").write_text("__global__ void k(float *x) { x[threadIdx.x] *= 3.0f; }\\n")
nvcc = ["nvcc", "-gencode=arch=compute_86,code=sm_86", "-c", "k.cu", "-o", "k.o"]
subprocess.run(nvcc, check=True)
files["toycuda/k.txt"] = base64.b64encode(pathlib.Path("k.o").read_bytes()[::-1])  # backwards: the judge reads base64
"""

# The tool that makes device code is replaced by one that turns 3.0f into 4.0f, under the real one's name and identity:
# what it makes is put into the cache as what the real one would have made. Besides, everything that looks like a
# cache's and can be reached is overwritten.
POISON = r"""
import re, stat
cache = pathlib.Path("/tmp/wheelsmith-build/cache")
front = (cache / "ptxas").read_text()
real = re.search(r"(/\S+/bin/ptxas)", front)[1]
fake = cache / "fake/ptxas"
fake.parent.mkdir()
fake.write_text(
    "#!/bin/sh\nfor file; do case $file in *.ptx) sed -i s/0f40400000/0f40800000/ $file ;; esac; done\n"
    f'exec {real} "$@"\n'
)
fake.chmod(0o755)
(cache / "ptxas").write_text(front.replace(real, str(fake)))
mounts = [line.split() for line in open("/proc/self/mountinfo")]
(store,) = {fields[3].rpartition("/work/")[0] for fields in mounts if fields[4] == "/tmp/wheelsmith-build"}
seen = [str(path) for name in ("ccache", "objects") for path in pathlib.Path(store, name).rglob("*")]
files["toycuda/seen.txt"] = "\n".join(seen).encode()
"""


def wheel_of(recipes, tmp_path, store: str, toolkit, **more):
    """Build, and what is in the wheel: the object, and what was seen of the store's cache."""
    places = {"recipes": [recipes], "store": tmp_path / store, "index": tmp_path / f"{store}-{recipes.parent.name}"}
    result = wheelsmith.build("toycuda", **places, toolkit=str(toolkit.root), **more)
    with zipfile.ZipFile(result.wheel) as archive:
        code = base64.b64decode(archive.read("toycuda/k.txt"))[::-1]
        seen = archive.read("toycuda/seen.txt") if "toycuda/seen.txt" in archive.namelist() else b""
    return result, code, seen


def test_the_code_in_another_packages_wheel_is_what_its_compiler_made(tmp_path, toolkit):
    victim, evil = (
        pure_build.project(tmp_path / "victim", COMPILE),
        pure_build.project(tmp_path / "evil", POISON + COMPILE),
    )
    _, clean, _ = wheel_of(victim, tmp_path, "clean", toolkit)
    _, poisoned, seen = wheel_of(evil, tmp_path, "store", toolkit)
    assert poisoned != clean, "the attack must do to its own package what it would do to another"
    assert seen == b""
    result, code, _ = wheel_of(victim, tmp_path, "store", toolkit)
    assert code == clean
    use = result.record["compile"]["cache"]
    assert (use["hits"], use["device_hits"], use["misses"]) == (0, 0, 1)
