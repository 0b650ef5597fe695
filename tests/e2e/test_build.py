"""The main job through the public front door, with real compilers, uv and pip."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from functools import partial
from pathlib import Path

import pytest

import wheelsmith
from tests.support import toyproject
from wheelsmith.compile.sandbox import isolation_here
from wheelsmith.errors import CompileError, ContractError, HashMismatchError, OfflineError, PatchError
from wheelsmith.events import ToolLine
from wheelsmith.toolchain.python import running_python

pytestmark = pytest.mark.e2e

CUVEC = "cuvec==6.0.1"


@pytest.fixture(scope="session")
def toolkit_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for environments and toolkits, so that each is made once per run."""
    return tmp_path_factory.mktemp("shared-store")


def build(recipes: Path, store: Path, index: Path, **more):
    return wheelsmith.build("toycuda", recipes=[recipes], store=store, index=index, toolkit="wheels", **more)


@contextlib.contextmanager
def served(directory: Path):
    """A plain static file server on loopback."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_path_of_somebodys_python_does_not_get_into_a_wheel(toolkit_store, tmp_path):
    """`assert` in Python's headers, which nvcc leaves on, says where they lie: often below a home directory."""
    content = toyproject.files()
    content["two.cu"] = "#undef NDEBUG\n#include <Python.h>\n" + content["two.cu"]
    content["two.cu"] += 'extern "C" Py_ssize_t size(PyObject *tuple) { return PyTuple_GET_SIZE(tuple); }\n'
    content["CMakeLists.txt"] = content["CMakeLists.txt"].replace(
        "install(",
        "find_package(Python REQUIRED COMPONENTS Development.Module)\n"
        "target_include_directories(toycuda PRIVATE ${Python_INCLUDE_DIRS})\ninstall(",
    )
    made = build(toyproject.make(tmp_path, content), toolkit_store, tmp_path / "dist", python=running_python())
    library = zipfile.ZipFile(made.wheel).read("toycuda/toycuda.so")
    header = re.search(rb"/[^\0]*/cpython/tupleobject.h", library)[0].decode()
    if Path(sys.base_prefix).is_relative_to("/usr"):
        assert header.startswith("/usr/")
    else:
        assert header.startswith("/tmp/wheelsmith-build/python/include/")


def test_a_public_package_from_requirement_to_pip_install(toolkit_store, tmp_path):
    """cuvec from its sdist, with a toolkit assembled from wheels: built, proved, published, installed over HTTP."""
    first = wheelsmith.build(CUVEC, gpu="RTX 5090,A40", store=toolkit_store, index=tmp_path / "dist", toolkit="wheels")
    assert (first.reused, first.bytes_fetched) == (False, 27_732)
    served_by = {(row["library"].split(".")[0], row["arch"]): row for row in first.record["verdict"]["rows"]}
    assert served_by["cuvec/example_cpython", "8.6"]["served_by"] == "sm_86"
    assert served_by["cuvec/example_cpython", "12.0"]["served_by"] == "sm_120"
    assert first.record["toolchain"]["cuda_origin"] == "NVIDIA's wheels"

    second = wheelsmith.build(
        CUVEC, arch="8.6;12.0", store=toolkit_store, index=tmp_path / "dist", toolkit="wheels", offline=True
    )
    assert (second.reused, second.bytes_fetched, second.published.sha256) == (True, 0, first.published.sha256)

    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    with served(tmp_path / "dist") as url:
        subprocess.run([*pip, "--isolated", "--index-url", f"{url}/simple/", "--no-deps", "cuvec"], check=True)
    shown = subprocess.run([venv / "bin/python", "-m", "pip", "list", "--format=json"], capture_output=True, check=True)
    assert {"name": "cuvec", "version": "6.0.1+cu130"} in json.loads(shown.stdout)

    tried = wheelsmith.try_install("cuvec==6.0.1+cu130", index=tmp_path / "dist")
    assert tried.imported == ("cuvec", "cuvec.cuvec_cpython")
    assert "cuvec==6.0.1+cu130" in tried.installed


@pytest.mark.skipif(not isolation_here().canonical, reason="this machine allows no mount namespaces")
def test_two_stores_give_the_same_bytes_and_no_secret_or_path_gets_in(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SECRET_TOKEN", "hunter2-hunter2")
    content = toyproject.files()
    content["CMakeLists.txt"] += 'execute_process(COMMAND env COMMAND sort OUTPUT_FILE "${CMAKE_BINARY_DIR}/env.txt")\n'
    content["CMakeLists.txt"] += 'install(FILES "${CMAKE_BINARY_DIR}/env.txt" DESTINATION toycuda)\n'
    recipes = toyproject.make(tmp_path, content)
    results = [build(recipes, tmp_path / name / "store", tmp_path / name / "dist", jobs=1) for name in ("a", "much/b")]
    assert results[0].published.sha256 == results[1].published.sha256
    import zipfile

    with zipfile.ZipFile(results[0].wheel) as wheel:
        environment = wheel.read("toycuda/env.txt").decode()
    assert "hunter2" not in environment
    assert str(tmp_path) not in environment
    assert "CUDACXX=/tmp/wheelsmith-build/cuda/bin/nvcc\n" in environment
    assert not results[0].record["isolation"]["network"]


def test_an_arch_that_the_build_drops_fails_with_the_table(toolkit_store, tmp_path):
    recipe = toyproject.RECIPE.replace('"{archs_cmake}"', '"86-real"')
    recipes = toyproject.make(tmp_path, recipe=recipe)
    with pytest.raises(ContractError) as caught:
        build(recipes, toolkit_store, tmp_path / "dist")
    assert "12.0" in caught.value.cause
    assert "toycuda/toycuda.so" in caught.value.detail
    assert not list(tmp_path.glob("dist/*.whl"))


def test_a_path_of_this_machine_is_a_leak_where_the_build_wrote_it_and_not_where_upstream_did(toolkit_store, tmp_path):
    files = toyproject.files()
    written = f'file(WRITE ${{CMAKE_BINARY_DIR}}/made.txt "{Path.home()}/x")\n'
    files["CMakeLists.txt"] += written + "install(FILES ${CMAKE_BINARY_DIR}/made.txt DESTINATION toycuda)\n"
    files["toycuda/words.py"] = f"PLACE = '{Path.home()}/x'\n"
    recipes = toyproject.make(tmp_path, files)
    if not isolation_here().canonical:
        pytest.skip("without namespaces it is a warning")
    with pytest.raises(ContractError) as caught:
        build(recipes, toolkit_store, tmp_path / "dist")
    assert caught.value.cause == "Paths of this machine are in the wheel: toycuda/made.txt."


def test_limits_of_the_whole_wheel_are_enforced(toolkit_store, tmp_path):
    contract = '[contract]\nmax_size_mb = 0.001\nneeded = ["libc.so.6"]\n\n[releases'
    recipes = toyproject.make(tmp_path, recipe=toyproject.RECIPE.replace("[releases", contract))
    with pytest.raises(ContractError) as caught:
        build(recipes, toolkit_store, tmp_path / "dist")
    assert "and its contract allows 1,000" in caught.value.detail
    assert "toycuda/toycuda.so needs libstdc++.so.6, which its contract does not allow" in caught.value.detail


def test_a_compile_error_is_shown_and_what_was_compiled_is_kept(toolkit_store, tmp_path):
    content = toyproject.files()
    content["two.cu"] = "__global__ void two() { undefined_thing(); }\n"
    recipes = toyproject.make(tmp_path, content)
    with pytest.raises(CompileError) as caught:
        build(recipes, toolkit_store, tmp_path / "dist", jobs=1)
    assert 'identifier "undefined_thing" is undefined' in caught.value.detail
    assert "continues there" in caught.value.remedy


def start(recipes: Path, store: Path, index: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "wheelsmith", "build", "toycuda", "--recipes", str(recipes), "--jobs", "1"]
    command += ["--store", str(store), "--index", str(index), "--toolkit", "wheels", "--verbose"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed")


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_compile_continues_with_the_units_left(toolkit_store, tmp_path, how, code):
    # A build directory of its own makes it a plan of its own: nothing is left from the other signals' runs.
    recipe = toyproject.RECIPE.replace('build-dir = "build"', f'build-dir = "build-{how.name}"')
    recipes = toyproject.make(tmp_path, recipe=recipe)
    process = start(recipes, toolkit_store, tmp_path / "dist")
    wait_for(process, "[2/")
    process.send_signal(how)
    assert process.wait(timeout=300) == code
    process.stderr.close()
    time.sleep(0.5)
    assert not compilers_below(toolkit_store)
    assert not list(tmp_path.glob("dist/*.whl"))

    units: list[str] = []

    def listen(event):
        if isinstance(event, ToolLine) and "Building CUDA object" in event.text:
            units.append(event.text)

    result = build(recipes, toolkit_store, tmp_path / "dist", jobs=1, listener=listen)
    assert result.record["compile"]["resumed"]
    # Who is asked to stop lets the unit that runs come to its end, and it may be the last one.
    assert (0 < len(units) < 3) if how == signal.SIGKILL else (len(units) < 2)


def compilers_below(store: Path) -> list[str]:
    """Processes that still work in the store."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (directory / "cwd").readlink().is_relative_to(store):
                found.append((directory / "cmdline").read_text())
    return found


def test_offline_without_the_source_fails_and_leaves_nothing(toolkit_store, tmp_path):
    with pytest.raises(OfflineError):
        build(toyproject.make(tmp_path), toolkit_store, tmp_path / "dist", offline=True)
    assert not (tmp_path / "dist").exists()


def test_a_source_with_other_bytes_is_refused(toolkit_store, tmp_path):
    recipes = toyproject.make(tmp_path)
    with (tmp_path / "toycuda-1.0.tar.gz").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(HashMismatchError):
        build(recipes, toolkit_store, tmp_path / "dist")


def test_a_patch_that_does_not_match_stops_before_the_compile(toolkit_store, tmp_path):
    patch = '[[patch]]\nwhy = "w"\nfile = "one.cu"\nfind = "threadIdx.y"\nreplace = "0"\n\n[releases'
    recipes = toyproject.make(tmp_path, recipe=toyproject.RECIPE.replace("[releases", patch))
    with pytest.raises(PatchError, match=r"one\.cu"):
        build(recipes, toolkit_store, tmp_path / "dist")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root")
def test_a_full_disk_has_its_exit_code_and_the_store_stays_sound(toolkit_store, tmp_path):
    recipes = toyproject.make(tmp_path)
    script = (
        f"mkdir {tmp_path}/small && mount -t tmpfs -o size=30m none {tmp_path}/small && "
        f"exec {sys.executable} -m wheelsmith build toycuda --recipes {recipes} --store {tmp_path}/small"
        f" --index {tmp_path}/dist --toolkit wheels"
    )
    recipe = recipes / "toycuda.toml"
    recipe.write_text(recipe.read_text().replace("disk_gb = 0.5", "disk_gb = 0.01"))
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 70, done.stderr
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "dist").exists()


BIG = """__asm__(".section .rodata\\n.globl big\\nbig: .fill 60000000,1,7\\n.text\\n");
int f(void) { return 3; }
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root")
def test_a_disk_that_fills_while_it_compiles_and_then_at_the_link_is_named_and_the_build_goes_on(
    toolkit_store, tmp_path
):
    """An object and a library of 60 MB. What a compiler behind the cache says goes to the same full disk at first."""
    files = {name: text for name, text in toyproject.files().items() if name not in ("two.cu", "three.cu")}
    cmake = toyproject.CMAKE.replace("CXX CUDA", "C CXX CUDA").replace("one.cu two.cu three.cu", "one.cu big.c")
    recipe = toyproject.RECIPE.replace("disk_gb = 0.5", "disk_gb = 0.01")
    recipes = toyproject.make(tmp_path, files | {"big.c": BIG, "CMakeLists.txt": cmake}, recipe)
    fetched = wheelsmith.plan("toycuda", recipes=[recipes])
    wheelsmith.fetch(fetched, store=toolkit_store, toolkit="wheels")
    toolkit = next(toolkit_store.glob("cuda/*/toolkit"))
    small, rest = tmp_path / "small", f"--recipes {recipes} --toolkit {toolkit} --store {tmp_path}/small"
    build = f"{sys.executable} -m wheelsmith build toycuda {rest} --index {tmp_path}/dist; echo ended $? >&2"
    grow = f"mount -o remount,size=$(($(df -k --output=used {small} | tail -1) + %d))k {small}"
    script = (
        f"mkdir {small} && mount -t tmpfs none {small} && {sys.executable} -m wheelsmith fetch toycuda {rest};"
        f"{grow % 70_000}; {build}; {grow % 85_000}; {build}; {grow % 500_000}; {build}; cat {small}/logs/*.log >&2"
    )
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert re.findall(r"ended (\d+)", done.stderr) == ["70", "70", "0"], done.stderr
    assert done.stderr.count("wheelsmith: The disk is full.") == 2
    assert "final link failed: No space left on device" in done.stderr
    assert "compile    backend ran" in done.stderr
    assert list((tmp_path / "dist").rglob("toycuda-1.0*.whl"))
