"""Whole builds through the public API, in seconds: the backend is Python, the toolkit only says its release.

What holds the pipeline together is tried here: isolation, the contract, paths, the build key, the cache, interruption.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import wheelsmith
from tests.support import pure_build
from wheelsmith.cli.main import main
from wheelsmith.compile.sandbox import isolation_here
from wheelsmith.errors import CompileError, ContractError

needs_namespaces = pytest.mark.skipif(not isolation_here().canonical, reason="the kernel gives no namespaces here")


def build(recipes: Path, place: Path, *, toolkit: Path | None = None, index: str = "dist", **more):
    root = str(toolkit or pure_build.toolkit(place / "cuda"))
    where: dict[str, Any] = {"recipes": [recipes], "store": place / "store", "index": place / index, "toolkit": root}
    return wheelsmith.build("toycuda", environment="current", **where, **more)


def in_wheel(result, name: str) -> str:
    with zipfile.ZipFile(result.wheel) as archive:
        return archive.read(name).decode()


def published(place: Path) -> list[str]:
    return sorted(path.name for path in place.glob("dist/*.whl"))


class Plain(NamedTuple):
    """A build with nothing special, made once: what it saw is in its wheel."""

    place: Path
    recipes: Path
    toolkit: Path
    result: wheelsmith.BuildResult


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Plain:
    inside = """
def reach(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return "not reached"
    return "reached"
links = sorted(line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:])
files["toycuda/net.txt"] = f"{reach(int(settings['port']))} {links}".encode()
launch = pathlib.Path(os.environ["PATH"].split(":")[0]).parent
chain = [line for line in (launch / "place.py").read_text().splitlines() if line.startswith("CHAIN = ")]
files["toycuda/chain.txt"] = chain[0].encode()
"""
    place = tmp_path_factory.mktemp("plain")
    toolkit = pure_build.toolkit(place / "cuda", "13.0.48")
    with socket.create_server(("127.0.0.1", 0)) as server:
        recipes = pure_build.project(place / "p", inside, port=str(server.getsockname()[1]))
        return Plain(place, recipes, toolkit, build(recipes, place, toolkit=toolkit))


@needs_namespaces
def test_the_build_reaches_no_network_and_the_record_says_so(plain):
    assert in_wheel(plain.result, "toycuda/net.txt") == "not reached ['lo']"
    assert plain.result.record["isolation"]["network"] is False


def test_a_wheel_that_breaks_its_contract_is_not_published(tmp_path):
    with pytest.raises(ContractError, match=r"toycuda/lib\.so does not run on 12\.0"):
        build(pure_build.project(tmp_path / "p", archs=(86,)), tmp_path)
    assert published(tmp_path) == []


@pytest.mark.e2e
@needs_namespaces
def test_what_the_recipe_says_of_choices_travels_in_the_wheel(tmp_path):
    recipes = pure_build.project(tmp_path / "p")
    (recipe,) = recipes.glob("toycuda*.toml")
    told = '[[contract.choice]]\nby = "gpu"\nwhy = "toycuda/x.py"\nlibrary = [{ path = "toycuda/lib.so" }]\n'
    recipe.write_text(f"{recipe.read_text()}\n{told}")
    result = build(recipes, tmp_path)
    (choice,) = wheelsmith.inspect(result.wheel).choices
    assert (choice.package, choice.by, choice.library[0].path) == ("toycuda", "gpu", "toycuda/lib.so")
    with zipfile.ZipFile(result.wheel) as archive:
        assert [name for name in archive.namelist() if name.endswith(".dist-info/wheelsmith.json")]


@pytest.mark.e2e
def test_what_a_failed_configuring_has_found_out_does_not_outlive_it(tmp_path):
    """As CMake's cache, which keeps the compiler that was not there."""
    inside = """
left = pathlib.Path("CMakeCache.txt")
if left.exists():
    raise SystemExit("poisoned")
left.write_text("CMAKE_CUDA_COMPILER=NOTFOUND")
raise RuntimeError("CMake Error: no CUDA compiler")
"""
    recipes, toolkit = pure_build.project(tmp_path / "p", inside), pure_build.toolkit(tmp_path / "cuda")
    for _ in range(2):
        with pytest.raises(CompileError, match="does not compile") as caught:
            build(recipes, tmp_path, toolkit=toolkit)
        assert "no CUDA compiler" in caught.value.detail
        (aside,) = (tmp_path / "store/work").iterdir()
        assert caught.value.remedy.endswith(f"what configuring left is in {aside}, and the same command begins anew.")
        assert (aside / "src/CMakeCache.txt").is_file()
        (page,) = (tmp_path / "store/logs").glob("*.html")
        assert f"a page about it {page};" in caught.value.remedy
        assert "no CUDA compiler</mark>" in page.read_text()


@needs_namespaces
def test_a_path_of_this_machine_in_the_wheel_is_refused(tmp_path):
    leak = str(tmp_path / "store" / "somewhere")
    recipes = pure_build.project(tmp_path / "p", 'files["toycuda/leak.txt"] = settings["leak"].encode()', leak=leak)
    with pytest.raises(ContractError, match=r"Paths of this machine are in the wheel: toycuda/leak\.txt"):
        build(recipes, tmp_path)
    assert published(tmp_path) == []


def test_another_release_of_the_toolkit_is_another_build(plain, tmp_path):
    again = build(plain.recipes, plain.place, toolkit=plain.toolkit)
    assert (plain.result.reused, again.reused) == (False, True)
    new = pure_build.toolkit(tmp_path / "new", "13.0.88")
    other = build(plain.recipes, plain.place, toolkit=new, index="other")
    assert (other.reused, other.record["toolchain"]["cuda"]) == (False, "13.0.88")
    assert other.record["key"] != plain.result.record["key"]


def test_without_the_cache_no_compiler_passes_one(plain, tmp_path):
    without = build(plain.recipes, tmp_path, toolkit=plain.toolkit, use_cache=False)
    assert (in_wheel(without, "toycuda/chain.txt"), without.record["compile"]["cache"]) == ("CHAIN = ()", None)
    assert "/cache/" in in_wheel(plain.result, "toycuda/chain.txt")
    assert plain.result.record["compile"]["cache"]["hits"] == 0


def test_ctrl_c_ends_with_130_and_the_next_run_finishes(tmp_path):
    inside = """
if not pathlib.Path("again").exists():
    pathlib.Path("again").touch()
    print("the backend waits", flush=True)
    time.sleep(60)
"""
    recipes = pure_build.project(tmp_path / "p", inside)
    options = ["--recipes", recipes, "--store", tmp_path / "store", "--index", tmp_path / "dist", "--env", "current"]
    options += ["--toolkit", pure_build.toolkit(tmp_path / "cuda"), "--verbose"]
    command = [sys.executable, "-m", "wheelsmith", "build", "toycuda", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if "the backend waits" in line:
                break
        sent = time.monotonic()
        for _ in range(2):  # the second asks for an end at once
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.3)
        rest = process.stdout.read()
        assert process.wait(30) == 130, rest
        assert time.monotonic() - sent < 20
    assert published(tmp_path) == []
    assert main(command[3:]) == 0
    assert published(tmp_path) == ["toycuda-1.0+cu130-py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl"]


@pytest.mark.e2e
def test_programs_of_the_current_environment_start_inside(tmp_path):
    """Installers write the environment's own path into their first line."""
    inside = """
import subprocess
words = subprocess.run(["auditwheel", "--version"], capture_output=True, text=True, check=True).stdout.split()
files["toycuda/said.txt"] = " ".join(words[:1]).encode()
"""
    assert (Path(sys.prefix) / "bin" / "auditwheel").read_text().startswith(f"#!{sys.prefix}")
    result = build(pure_build.project(tmp_path / "p", inside), tmp_path)
    assert in_wheel(result, "toycuda/said.txt") == "auditwheel"
