"""The scheduler in real builds, with real compilers."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

import wheelsmith
from benchmarks.limits import memory_cgroup, why_no_cgroup
from tests.support import hungry, toyproject
from wheelsmith.events import Compiling, UnitDone

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for environments and toolkits."""
    return tmp_path_factory.mktemp("store")


def build(recipes: Path, store: Path, index: Path, told: list, **more):
    return wheelsmith.build(
        "toycuda", recipes=[recipes], store=store, index=index, toolkit="wheels", listener=told.append, **more
    )


def test_units_of_nvcc_and_of_gxx_go_through_the_broker_and_no_more_run_than_may(store, tmp_path):
    content = toyproject.files() | {
        "four.cpp": "#include <vector>\nint four() { return std::vector<int>(4).size(); }\n"
    }
    content["CMakeLists.txt"] = content["CMakeLists.txt"].replace("three.cu", "three.cu four.cpp")
    told: list = []
    result = build(toyproject.make(tmp_path, content), store, tmp_path / "dist", told, jobs=1)
    names = {"src/one.cu", "src/two.cu", "src/three.cu", "src/four.cpp", "src/build/toycuda.so"}
    assert {event.name for event in told if isinstance(event, UnitDone)} == names
    assert max(len(event.running) for event in told if isinstance(event, Compiling)) == 1
    assert result.record["compile"]["summary"]["units"] == 5
    (run,) = wheelsmith.timeline(result.log, store=store)["runs"]
    units = sorted(run["units"], key=lambda unit: unit["start"])
    assert all(one["end"] <= other["start"] for one, other in itertools.pairwise(units))
    assert {tuple(unit["archs"]) for unit in units if unit["kind"] == "cuda"} == {("sm_120", "sm_86")}
    assert all(unit["cpu_seconds"] > 0 and unit["peak"] > 10_000_000 for unit in units)
    model = json.loads((store / "models" / "toycuda.json").read_text())
    assert {row["name"] for row in model["units"]} == names


SETUP = """
import os, subprocess
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

class BuildWithNvcc(build_ext):
    def build_extension(self, extension):
        os.makedirs(self.build_temp, exist_ok=True)
        made = os.path.join(self.build_temp, "one.o")
        nvcc = os.path.join(os.environ["CUDA_HOME"], "bin", "nvcc")
        archs = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in (86, 120)]
        subprocess.check_call([nvcc, *archs, "-Xcompiler", "-fPIC", "-c", "one.cu", "-o", made])
        extension.extra_objects = [made]
        extension.library_dirs = [os.environ["CUDA_HOME"] + "/lib64"]
        super().build_extension(extension)

setup(
    packages=["toycuda"],
    ext_modules=[Extension("toycuda.toycuda", ["main.cpp"], libraries=["cudart_static", "dl", "rt", "pthread"])],
    cmdclass={"build_ext": BuildWithNvcc},
)
"""
MAIN = """
#include <Python.h>
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "toycuda"};
extern "C" PyObject *PyInit_toycuda() { return PyModule_Create(&module); }
"""


def test_a_setup_that_calls_nvcc_itself_goes_through_the_jobserver(store, tmp_path):
    content = {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "toycuda"\nversion = "1.0"\n',
        "setup.py": SETUP,
        "main.cpp": MAIN,
        "one.cu": toyproject.files()["one.cu"],
        "toycuda/__init__.py": "",
    }
    recipe = toyproject.RECIPE.replace('["scikit-build-core>=0.10", "cmake>=4", "ninja"]', '["setuptools"]')
    settings = recipe[recipe.index("[build.config_settings]") : recipe.index("[expect]")]
    recipe = recipe.replace(settings, "").replace("toycuda/toycuda.so", "toycuda/toycuda*.so")
    recipe = recipe.replace("[wheel]", "[wheel]\nstrip = true")  # Python's own -g names where its headers are
    told: list = []
    result = build(toyproject.make(tmp_path, content, recipe), store, tmp_path / "dist", told)
    units = [(event.name, event.status) for event in told if isinstance(event, UnitDone)]
    assert units[:2] == [("src/one.cu", 0), ("src/main.cpp", 0)]
    assert result.record["verdict"]["rows"][0]["outcome"] == "native"


@pytest.mark.skipif(bool(why_no_cgroup()), reason=why_no_cgroup())
def test_compilers_killed_for_memory_run_again_alone_and_the_build_ends_well(store, tmp_path):
    """The recipe promises 10 MB a unit and each takes 250: four start at once where one and a half fit."""
    recipes = hungry.make(tmp_path, dict.fromkeys(("a", "b", "c", "d"), 250), memory_gb=0.01)
    command = [sys.executable, "-m", "wheelsmith", "build", "toycuda", "--recipes", recipes, "--store", store]
    command += ["--toolkit", "wheels", "--jobs", "4", "--json", "--index"]
    wheelsmith.fetch("toycuda", recipes=[recipes], store=store, toolkit="wheels")
    with memory_cgroup(500_000_000) as group:
        script = f'echo $$ > {group}/cgroup.procs; exec "$@"'
        done = subprocess.run(
            ["sh", "-c", script, "sh", *command, tmp_path / "one"], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "died of memory" in done.stderr
    assert "runs again, alone" in done.stderr
    summary = json.loads(done.stdout)["record"]["compile"]["summary"]
    assert summary["deaths"] > 0
    assert summary["units"] == 5
    (run,) = wheelsmith.timeline("toycuda", store=store)["runs"]
    again = [unit for unit in run["units"] if unit["attempt"] > 1]
    assert len(again) == summary["deaths"]
    others = [(unit["start"], unit["end"]) for unit in run["units"]]
    for unit in again:  # nobody ran beside it
        overlapping = [span for span in others if span[0] < unit["end"] and unit["start"] < span[1]]
        assert overlapping == [(unit["start"], unit["end"])]

    # The model knows now what they take: the next build, from nothing, is not killed once.
    recipe = recipes / "toycuda.toml"
    recipe.write_text(recipe.read_text().replace('build-dir = "build"', 'build-dir = "again"'))
    with memory_cgroup(500_000_000) as group:
        script = f'echo $$ > {group}/cgroup.procs; exec "$@"'
        done = subprocess.run(
            ["sh", "-c", script, "sh", *command, tmp_path / "two"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["record"]["compile"]["summary"]["deaths"] == 0
