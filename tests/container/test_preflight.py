"""The program at the start of an image, run as an image runs it: another interpreter, no package, a machine made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.cubins import REAL, cubin
from tests.support.shared_object import shared_object
from tests.support.wheel_makers import PTX, SASS, build_wheel, entry, region
from wheelsmith.compat import distributions
from wheelsmith.compat.model import CxxLibrary
from wheelsmith.compat.summary import Code, Library, Units, WheelSummary
from wheelsmith.container import preflight_main
from wheelsmith.container.preflight import make_preflight
from wheelsmith.errors import FactsError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver
from wheelsmith.gpu.machine import Found
from wheelsmith.wheel.inspect import inspect_path

pytestmark = pytest.mark.e2e

RTX_5090 = "NVIDIA GeForce RTX 5090, 12.0"
OLD, NEW = "570.124.06", "580.65.06"

# NVML as NVIDIA documents it: one RTX 5090, and the driver that the variables name.
NVML = """
#include <stdlib.h>
#include <string.h>
int nvmlInit_v2(void) { return getenv("FAKE_NVML_FAILS") ? 18 : 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 18 ? "Driver/library version mismatch" : "?"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(long)(index + 1); return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned length) {
  strncpy(name, "NVIDIA GeForce RTX 5090", length); return device ? 0 : 2; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { *major = 12; *minor = 0; return 0; }
int nvmlSystemGetDriverVersion(char *version, unsigned length) {
  strncpy(version, getenv("FAKE_DRIVER"), length); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = atoi(getenv("FAKE_CUDA")); return 0; }
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The program for a wheel with machine code for the RTX 5090, and for one that has only PTX (of CUDA 12.9)."""
    folder = tmp_path_factory.mktemp("preflight")
    made = {}
    for name, fatbin in {
        "native": region(entry(SASS, 120), entry(SASS, 86)),
        "ptx": region(entry(SASS, 86), entry(PTX, 80, isa=(8, 8))),
        "static": region(entry(SASS, 120, payload=cubin({"k": REAL}, "120", toolkit="13.0"))),
    }.items():
        version = "1.0+cu130" if name == "static" else "1.0+cu128"
        library = shared_object(fatbin)
        wheel = build_wheel(
            folder / f"{name}-{version}-cp311-abi3-manylinux_2_17_x86_64.whl", {f"{name}/_C.so": library}
        )
        made[name] = folder / f"{name}.pyz"
        made[name].write_bytes(make_preflight([inspect_path(wheel)]))
    return made


@pytest.fixture(scope="module")
def nvml(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(NVML)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", folder / "nvml.c"], check=True)
    return folder


def run(program: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        [sys.executable, "-I", "-S", program, *command], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def smi(tmp_path):
    """A PATH whose nvidia-smi reports an RTX 5090 with a driver."""

    def make(driver: str) -> str:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho '{RTX_5090}, {driver}'\n")
        program.chmod(0o755)
        return f"{tmp_path}:{os.environ['PATH']}"

    return make


@pytest.mark.parametrize(
    ("wheel", "driver", "code", "said"),
    [
        (
            "native",
            OLD,
            0,
            f"native-1.0+cu128-cp311-abi3-manylinux_2_17_x86_64.whl fits {RTX_5090.replace(', ', ' (')})",
        ),
        ("native", NEW, 0, " fits "),
        ("ptx", NEW, 0, "the driver compiles them at first use"),
        ("ptx", OLD, 54, "it is of version 8.8 (CUDA 12.9), and driver 570.124.06 compiles PTX up to 8.7 (CUDA 12.8)."),
        ("static", NEW, 0, " fits "),
        ("static", OLD, 54, "CUDA 13.x needs driver 580.65.06 or newer, and this is 570.124.06"),
        ("native", "560.35.03", 54, "driver 560.35.03 does not know NVIDIA GeForce RTX 5090 (12.0)"),
    ],
)
def test_it_starts_the_command_only_where_the_wheel_fits(programs, smi, wheel, driver, code, said):
    done = run(programs[wheel], "echo", "started", PATH=smi(driver))
    assert (done.returncode, done.stdout) == (code, "" if code else "started\n")
    assert said in done.stderr
    assert ("what to do: Install" in done.stderr) is bool(code)


def test_it_asks_nvml_first_and_believes_what_cuda_the_driver_says(programs, nvml, smi):
    common = {"LD_LIBRARY_PATH": str(nvml), "FAKE_DRIVER": OLD, "PATH": smi(NEW)}
    done = run(programs["ptx"], "echo", "started", FAKE_CUDA="12080", **common)
    assert (done.returncode, done.stdout) == (54, "")
    assert "DOES NOT FIT NVIDIA GeForce RTX 5090 (12.0), driver 570.124.06" in done.stderr
    assert run(programs["ptx"], FAKE_CUDA="12090", **common).returncode == 0


def test_without_a_gpu_it_says_why_and_how_to_give_one(programs, nvml, tmp_path):
    nothing = run(programs["native"], PATH=str(tmp_path))
    assert nothing.returncode == 54
    assert "No NVIDIA GPU is to be seen here: libnvidia-ml.so.1 is not there." in nothing.stderr
    assert "docker run --gpus all" in nothing.stderr
    broken = run(programs["native"], PATH=str(tmp_path), LD_LIBRARY_PATH=str(nvml), FAKE_NVML_FAILS="1")
    assert "NVML says: Driver/library version mismatch (nvmlInit_v2, code 18)" in broken.stderr


@pytest.mark.parametrize(
    ("mode", "code", "out", "said"),
    [
        ("warn", 0, "started\n", "started all the same"),
        ("off", 0, "started\n", ""),
        ("strict", 54, "", "DOES NOT FIT"),
        ("maybe", 2, "", "Write strict, warn, off."),
    ],
)
def test_there_is_a_way_out(programs, smi, mode, code, out, said):
    done = run(programs["ptx"], "echo", "started", PATH=smi(OLD), WHEELSMITH_PREFLIGHT=mode)
    assert (done.returncode, done.stdout) == (code, out)
    assert said in done.stderr
    assert (mode != "off") or done.stderr == ""


def test_a_command_that_is_not_there(programs, smi):
    done = run(programs["native"], "no-such-thing", PATH=smi(NEW))
    assert done.returncode == 127
    assert "'no-such-thing' cannot be started: No such file or directory." in done.stderr


def test_it_is_small_and_the_same_each_time(programs, tmp_path):
    wheel = next(programs["native"].parent.glob("native-*.whl"))
    assert make_preflight([inspect_path(wheel)]) == programs["native"].read_bytes()
    assert programs["native"].stat().st_size < 60_000
    with zipfile.ZipFile(programs["native"]) as zipped:
        assert not [name for name in zipped.namelist() if name.endswith(".pyc")]
        assert zipped.read("wheelsmith/compat/__init__.py") == b""


def test_the_users_own_facts_travel(programs, smi, tmp_path, monkeypatch):
    """A table that says which driver was the last for a GPU counts in the image too, whatever its variables name."""
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts/gpus.toml").write_text('schema_version = 1\n[arch."12.0"]\nlast_driver = 575\n')
    monkeypatch.setenv("WHEELSMITH_FACTS", str(tmp_path / "facts"))
    wheel = next(programs["native"].parent.glob("native-*.whl"))
    (tmp_path / "own.pyz").write_bytes(make_preflight([inspect_path(wheel)]))
    done = run(tmp_path / "own.pyz", PATH=smi(NEW), WHEELSMITH_FACTS="/nowhere")
    assert done.returncode == 54, done.stderr
    assert "575" in done.stderr
    assert run(tmp_path / "own.pyz", PATH=smi(OLD)).returncode == 0
    (tmp_path / "facts/gpus.toml").write_text('schema_version = 1\n[arch."12.0"]\nlast_drivr = 575\n')
    monkeypatch.setenv("HOME", str(tmp_path))  # tables are read once
    with pytest.raises(FactsError, match="last_drivr"):
        make_preflight([inspect_path(wheel)])


@pytest.mark.parametrize(("defined", "code"), [("3.4.33", 54), ("3.4.34", 0)])
def test_it_asks_for_the_cxx_library_of_the_image_too(monkeypatch, capsys, defined, code):
    unit = Units(1, (Code("sass", Arch(8, 6), cuda="12.8"),))
    summary = WheelSummary("toy-1.0-py3-none-any.whl", libraries=(Library("a.so", (unit,), glibcxx="3.4.34"),))
    found = Found((("A40", Arch(8, 6)),), Driver.parse("580.65.06"), "a test")
    monkeypatch.setattr(preflight_main, "_machine", lambda: found)
    monkeypatch.setattr(distributions, "cxx_library_here", lambda: CxxLibrary(defined, "1.3.15"))
    reports = json.dumps([{"summary": summary.to_dict(), "choices": []}]).encode()
    assert preflight_main.main([], reports, {}) == code
    assert ("libstdc++.so.6 there defines up to GLIBCXX_3.4.33" in capsys.readouterr().err) is (code == 54)
