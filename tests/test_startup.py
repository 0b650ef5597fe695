"""What a command does not need is not imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wheelsmith

HEAVY = {
    "auditwheel",
    "build",
    "cryptography",
    "elftools",
    "jinja2",
    "lz4",
    "msgspec",
    "obstore",
    "pypi_simple",
    "requests",
    "rich",
    "unidiff",
    "uvicorn",
    "zstandard",
}


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["build", "--help"], set()),
        (["plan", "vllm==0.15.1", "--json"], {"msgspec"}),
        (["plan", "vllm==0.15.1"], {"msgspec"}),
        (["gpus", "--json"], set()),
        (["recipes", "--json"], {"msgspec"}),
        (["schema"], set()),
        (["plan", "vlm"], {"msgspec"}),
    ],
    ids=" ".join,
)
def test_a_command_imports_what_it_needs(arguments, needed):
    code = (
        "import sys; from wheelsmith.cli.main import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        f"print('\\n', *sorted({HEAVY!r} & sys.modules.keys()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(out.splitlines()[-1].split()) <= needed


def test_importing_the_api_imports_no_room():
    code = "import sys, wheelsmith; print(*sorted(m for m in sys.modules if m.startswith('wheelsmith')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "wheelsmith\n"


PROGRAM = """
from __future__ import annotations

import wheelsmith
from wheelsmith import Advice, BuildResult, Event, Fits, Listener, Plan, WheelReport, WheelsmithError
from wheelsmith.events import Note


def show(event: Event, /) -> None:
    if isinstance(event, Note):
        print(event.text)


def archs(requirement: str) -> str:
    plan: Plan = wheelsmith.plan(requirement, gpu="RTX 5090,A40", options={"standalone": True})
    return plan.target.archs.torch


def run(plan: Plan, listener: Listener = show) -> BuildResult | None:
    try:
        result = wheelsmith.build(plan, index="dist", jobs=2, listener=listener)
        assert result.published is not None  # it is None with publish=False
        print(result.record["toolchain"]["cuda"], result.published.sha256)
        return result
    except WheelsmithError as error:
        print(error.cause, error.remedy, error.exit_code)
        return None


def judge(path: str) -> bool:
    report: WheelReport = wheelsmith.inspect(path)
    fits: Fits = wheelsmith.fits(path, gpu="A40")
    advice: Advice = wheelsmith.advise("cuvec", gpu="A40")
    libraries: list[str] = [library["path"] for library in report.to_dict()["libraries"]]
    return fits.fits and not advice.build_needed and bool(libraries)


build = wheelsmith.build("cuvec", gpu="A40", jobs=1)
"""


def check(tmp_path, text):
    (tmp_path / "program.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports", "silent"]
    command += ["--cache-dir", str(tmp_path / "cache"), str(tmp_path / "program.py")]
    environment = {**os.environ, "MYPYPATH": str(Path(wheelsmith.__file__).parents[1])}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment).stdout


@pytest.mark.e2e
def test_a_users_program_passes_the_strict_type_checker(tmp_path):
    assert check(tmp_path, PROGRAM) == ""
    wrong = check(
        tmp_path, PROGRAM.replace('gpu="A40", jobs=1', 'gpus="A40"').replace("Advice, Build", "Advise, Build")
    )
    assert "Advise" in wrong
    assert "gpus" in wrong
