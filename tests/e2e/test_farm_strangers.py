"""`farm build` where people do what nobody planned: real processes of Dask, the public command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import toyproject
from tests.support.farming import KEY, farm
from wheelsmith.compile.sandbox import isolation_here

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed"),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A matrix of one small package, its recipe, and a farm's directory."""
    toyproject.make(tmp_path)
    (tmp_path / "wheels.toml").write_text("schema_version = 1\n[[package]]\nrequirement = 'toycuda'\n")
    return tmp_path


def command(place: Path, *more: str) -> list[str]:
    """The public command."""
    there = ["--recipes", str(place / "recipes"), "--index", str(place / "dist"), "--jobs", "1"]
    return [sys.executable, "-m", "wheelsmith", "farm", "build", str(place / "wheels.toml"), *there, *more]


def surroundings(place: Path) -> dict[str, str]:
    """Of a worker."""
    own = {"WHEELSMITH_STORE": str(place / "store"), "WHEELSMITH_CACHE": str(place / "cache")}
    return dict(os.environ) | own | {"WHEELSMITH_CACHE_KEY": KEY}


def test_a_worker_that_cannot_load_wheelsmith_is_named_before_anything_starts(place):
    """Started where a farm has been used before: Dask gives it our plugin, and it never gets ready."""
    shadow = place / "shadow" / "wheelsmith"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'wheelsmith'\")\n")
    with farm(place / "farm") as there:
        where = ["--scheduler", there.address, "--tls", str(there.tls), "--wait", "2"]
        first = subprocess.run(command(place, *where), capture_output=True, text=True, check=False)
        assert (first.returncode, "has no worker." in first.stderr) == (73, True)
        there.start_worker("bare", surroundings(place) | {"PYTHONPATH": str(place / "shadow")})
        log = place / "farm" / "bare.log"
        until = time.monotonic() + 60
        while "No module named" not in log.read_text() and time.monotonic() < until:
            time.sleep(0.2)
        second = subprocess.run(command(place, *where), capture_output=True, text=True, check=False)
    assert second.returncode == 73
    assert "Traceback" not in second.stderr
    assert "does not answer" in second.stderr or "cannot load wheelsmith" in second.stderr, second.stderr
    assert not (place / "dist").exists()


@pytest.mark.skipif(not isolation_here().canonical, reason="no mount namespaces here")
def test_two_runs_of_one_matrix_at_the_same_time(place):
    with farm(place / "farm") as there:
        for name in ("w0", "w1"):
            there.start_worker(name, surroundings(place))
        where = ["--scheduler", there.address, "--tls", str(there.tls), "--wait", "120", "--workers", "2"]

        def run(number: int) -> tuple[int, str, str]:
            events = place / f"events-{number}"
            more = ["--split", "always", "--json", "--events", str(events)]
            done = subprocess.run(command(place, *where, *more), capture_output=True, text=True, check=False)
            return done.returncode, done.stdout, events.read_text()

        with ThreadPoolExecutor(2) as pool:
            (code, out, told), (other_code, other_out, other_told) = pool.map(run, range(2))
    assert (code, other_code) == (0, 0)
    cells = [json.loads(text)["cells"][0] for text in (out, other_out)]
    assert len({cell["sha256"] for cell in cells}) == 1
    assert {cell["state"] for cell in cells} <= {"built", "stored"}
    ends = [[line for line in text.splitlines() if '"UnitDone"' in line] for text in (told, other_told)]
    assert not set(ends[0]) & set(ends[1])  # nobody hears of the other: no two units take the same time
    compiled = [m["name"] for m in map(json.loads, (*ends[0], *ends[1])) if m["cache"] == "miss"]
    assert sorted(compiled) == ["src/one.cu", "src/three.cu", "src/two.cu"]  # each once, for both


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.skipif(not isolation_here().canonical, reason="no mount namespaces here")
def test_ctrl_c_ends_a_cluster_of_this_machine(place, times):
    process = subprocess.Popen(
        command(place, "--workers", "2", "--split", "always"),
        env=surroundings(place),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        said = ""
        while "cell" not in (line := process.stderr.readline()):
            assert line, said
            said += line
        time.sleep(5)
        for _ in range(times):
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
            time.sleep(1)
        out, err = process.communicate(timeout=60)
    finally:
        left = _alive(process.pid)
        if process.poll() is None or left:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert "Traceback" not in out + err, err
    assert not left
    assert not list((place / "dist").glob("*")) if (place / "dist").exists() else True


def _alive(session: int) -> list[str]:
    """Processes of a session, after a moment to end in."""
    for _ in range(100):
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and entry.name != str(session):
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == session and fields[0] != "Z":
                        found.append((entry / "cmdline").read_text().replace("\0", " ")[:200])
                except (OSError, ValueError):
                    continue
        if not found:
            return []
        time.sleep(0.1)
    return found
