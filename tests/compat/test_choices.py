"""What a wheel chooses among when it runs travels in it, to everybody who judges it."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import wheelsmith
from tests.support.shared_object import shared_object
from tests.support.wheel_makers import SASS, build_wheel, entry, region
from wheelsmith.api import judging
from wheelsmith.compat.choices import choices_of, not_taken
from wheelsmith.compat.judge import judge
from wheelsmith.compat.model import Machine
from wheelsmith.compat.summarise import summarise
from wheelsmith.compat.summary import WheelSummary, from_dict
from wheelsmith.container.preflight import make_preflight
from wheelsmith.contract import Alternative, Choice, choices_from_bytes, choices_to_bytes
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver
from wheelsmith.index.layout import Layout
from wheelsmith.index.web.choosing import wheels_of
from wheelsmith.wheel.inspect import inspect_path

CHOICE = Choice("toy", "gpu", "toy/x.py", (Alternative("toy/fa3.so", "9.0"), Alternative("toy/fa2.so")))
RTX_5090 = Machine((("RTX 5090", Arch(12, 0)),), Driver.parse("580.65.06"))


def wheel(folder: Path, told: bytes | None) -> Path:
    """`fa2.so` is for 8.0 and 12.0, `fa3.so` for 9.0; `told`: what the wheel says of that."""
    fa2 = shared_object(region(entry(SASS, 80), entry(SASS, 120)))
    fa3 = shared_object(region(entry(SASS, 90)))
    files = {"toy/fa2.so": fa2, "toy/fa3.so": fa3} | ({"toy-1.0.dist-info/wheelsmith.json": told} if told else {})
    return build_wheel(folder / "toy-1.0-cp311-abi3-manylinux_2_17_x86_64.whl", files)


@pytest.mark.parametrize(("told", "verdict"), [(None, "does not fit"), (choices_to_bytes((CHOICE,)), "fits")])
def test_the_command_the_index_page_and_the_preflight_say_the_same(tmp_path, told, verdict):
    made = wheel(tmp_path, told)
    assert wheelsmith.fits(made, gpu="RTX 5090", driver="580.65.06", store=tmp_path / "store").verdict == verdict
    summary = summarise(inspect_path(made))
    assert from_dict(json.loads(json.dumps(summary.to_dict()))).choices == ((CHOICE,) if told else ())
    wheelsmith.publish([made], index=tmp_path / "dist")
    (listed,) = wheels_of(Layout(tmp_path / "dist"), "toy")
    shown = {str(arch): fit.answer for arch, fit in listed.fits}
    assert (shown.get("12.0") == "yes") == (verdict == "fits")
    with zipfile.ZipFile(io.BytesIO(make_preflight([inspect_path(made)]))) as program:
        (kept,) = json.loads(program.read("wheelsmith/reports.json"))
    choices = [Choice.from_dict(item) for item in kept["choices"]]
    assert judge(from_dict(kept["summary"]), RTX_5090, choices).verdict == verdict


@pytest.mark.parametrize(
    "told",
    [
        b"[]",
        b"\xff",
        b"{}",
        b'{"schema_version": 2, "choice": []}',
        b'{"schema_version": 1, "choice": [{"package": "toy"}]}',
        choices_to_bytes((CHOICE,)).replace(b'"9.0"', b'"nine"'),
        choices_to_bytes((CHOICE,)).replace(b'"gpu"', b'"moon"'),
        choices_to_bytes((CHOICE,)).replace(b'"toy/fa3.so"', b"3"),
    ],
)
def test_what_somebody_else_wrote_there_is_refused(tmp_path, told):
    with pytest.raises(ValueError, match=r"."):
        choices_from_bytes(told)
    with pytest.raises(InvalidWheelError, match=r"wheelsmith\.json is not wheelsmith's"):
        inspect_path(wheel(tmp_path, told))


@pytest.mark.e2e
def test_installed_requirements_are_judged_where_they_are_installed(tmp_path):
    """In a virtual environment of its own, from what pip wrote there."""
    site = subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, capture_output=True
    )
    assert site.returncode == 0
    python = tmp_path / "venv/bin/python"
    own = shared_object(region(entry(SASS, 120)))
    metadata = "Metadata-Version: 2.1\nName: needy\nVersion: 1.0\nRequires-Dist: toy>=1\nRequires-Dist: absent\n"
    needy = build_wheel(
        tmp_path / "needy-1.0-cp311-abi3-manylinux_2_17_x86_64.whl", {"needy/_C.so": own}, metadata=metadata
    )
    for told, verdict in ((choices_to_bytes((CHOICE,)), "yes"), (None, "no")):
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index"]
        subprocess.run([*pip, "--force-reinstall", wheel(tmp_path, told), needy], check=True)
        found = fits(python, needy, tmp_path / "store")
        (toy,) = found["dependencies"]
        assert (toy["wheel"], toy["answers"]["RTX 5090"]) == ("toy 1.0 (installed)", verdict)
        assert [item["library"] for item in toy["libraries"]] == ["toy/fa2.so", "toy/fa3.so"]
        assert found["missing"] == ["absent"]
        assert found["verdict"] == ("not judged" if verdict == "yes" else "does not fit")
        assert found["answers"]["RTX 5090"] == verdict


def test_every_requirement_is_followed_or_named(monkeypatch, tmp_path):
    """One that is none, a URL, and what an extra asks for that is named after its package was seen."""
    asked = []

    def best(requirement, python, index, *, glibc):
        asked.append((str(requirement), python, glibc))
        metadata = "Metadata-Version: 2.1\nName: big\nVersion: 1.0\nRequires-Dist: small>=2; extra == 'x'\n"
        name = tmp_path / "big-1.0-py3-none-any.whl"
        return build_wheel(name, metadata=metadata) if requirement.name == "big" else None

    monkeypatch.setattr(judging, "best_published", best)
    requires: tuple[str, ...] = (
        "no requirement!",
        "toy @ https://me:geheim@x.example/toy.whl ; python_version > '3'",
        "big",
        "big[x]",
    )
    requires += ("odd; sys_platform ~= 'linux'", "other; extra == 'never'", "third; sys_platform == 'win32'")
    summary = WheelSummary("own.whl", name="own", requires=requires)
    machine = dataclasses.replace(RTX_5090, glibc="2.31")
    found = judging.judge_closure(judge(summary, machine), summary, None, "3.12")  # type: ignore[arg-type]
    assert asked == [("big", "3.12", "2.31"), ("small>=2", "3.12", "2.31")]
    assert found.missing == (
        "no requirement! (no valid requirement)",
        "odd; sys_platform ~= 'linux' (no valid requirement)",
        "toy @ https://x.example/toy.whl (a URL, which is not followed)",
        "small>=2",
    )
    assert found.verdict == "not judged"


def fits(python: Path, made: Path, store: Path) -> dict:
    """As the interpreter of the environment says, with wheelsmith and what it needs from ours."""
    paths = [str(Path(wheelsmith.__file__).parents[1]), *(path for path in sys.path if path.endswith("site-packages"))]
    program = f"import sys; sys.path += {paths!r}; from wheelsmith.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [str(python), "-c", program, "fits", str(made), "--gpu", "RTX 5090", "--driver", "580.65.06", "--json"]
    command += ["--with-dependencies", "--offline", "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (54, 55), done.stderr
    return json.loads(done.stdout)


def test_the_profiler_that_triton_brings_is_chosen_by_the_gpu():
    lib = "triton/backends/nvidia/lib"
    newer, older = f"{lib}/cupti-blackwell/libcupti.so.13", f"{lib}/cupti/libcupti.so.12"
    amd, own = "triton/backends/amd/lib/libtriton_amd_codegen.so", "triton/_C/libtriton.so"
    (choice,) = choices_of("triton")
    for arch, aside in (("9.0", {newer, amd}), ("10.0", {older, amd}), ("12.1", {older, amd})):
        assert set(not_taken(choice, [newer, older, amd, own], Arch.parse(arch), None)) == aside


def test_inspect_shows_what_is_chosen_when_it_runs(tmp_path):
    """As the wheel says itself, else as the table of packages does."""
    own = wheelsmith.inspect(wheel(tmp_path, choices_to_bytes((CHOICE,)))).to_dict()
    assert own["choices"] == [CHOICE.to_dict()]
    plain = build_wheel(tmp_path / "sgl_kernel-1.0-cp311-abi3-manylinux_2_17_x86_64.whl", {"sgl_kernel/x.py": b""})
    assert [item["by"] for item in wheelsmith.inspect(plain).to_dict()["choices"]] == ["gpu", "gpu"]
    assert inspect_path(plain).choices == ()


def test_old_bitsandbytes_takes_its_libraries_without_cublaslt_below_7_5_only():
    names = ("libbitsandbytes_cuda118.so", "libbitsandbytes_cuda118_nocublaslt.so")
    paths = [f"bitsandbytes/{name}" for name in names]
    (choice,) = (item for item in choices_of("bitsandbytes") if item.by == "gpu")
    aside = {arch: [*not_taken(choice, paths, Arch.parse(arch), "11.8")] for arch in ("8.6", "7.0")}
    assert aside == {"8.6": [paths[1]], "7.0": [paths[0]]}


def test_a_path_that_a_hostile_wheel_brings_is_matched_in_no_time():
    hostile = Choice("toy", "gpu", "x", (Alternative("*a" * 40 + "*b"), Alternative("toy/*_{cuda}*.so", "9.0")))
    started = time.process_time()
    assert not_taken(hostile, ["a" * 4000 + "c", "toy/x_130_y.so"], Arch(8, 6), None) == {}
    assert time.process_time() - started < 2
