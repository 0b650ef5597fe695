"""Completion: what a shell asks is answered from the parser, the recipes and the tables; each shell runs its script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wheelsmith.cli.completion import SHELLS

PROGRAM = Path(sys.executable).with_name("wheelsmith")


def completed(line: str) -> list[str]:
    """What bash is told, as argcomplete's script asks: on file descriptor 8."""
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\v",
        "_ARGCOMPLETE_SHELL": "bash",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    asked = ["bash", "-c", 'exec 8>&1 1>/dev/null; exec "$0"', str(PROGRAM)]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return [word.strip() for word in done.stdout.split("\v")]


@pytest.mark.parametrize(
    ("line", "among"),
    [
        ("wheelsmith pl", "plan"),
        ("wheelsmith plan cuv", "cuvec"),
        ("wheelsmith build cuvec==", "cuvec==6.0.1"),
        pytest.param("wheelsmith plan cuvec --dr", "--driver", marks=pytest.mark.e2e),
        pytest.param("wheelsmith plan cuvec --cuda 13.", "13.0", marks=pytest.mark.e2e),
        pytest.param("wheelsmith plan cuvec --env cur", "current", marks=pytest.mark.e2e),
        pytest.param("wheelsmith plan cuvec --gpu 'RTX 409", "RTX 4090", marks=pytest.mark.e2e),
        pytest.param("wheelsmith index ve", "verify", marks=pytest.mark.e2e),
        pytest.param("wheelsmith recipes check tor", "torch-scatter", marks=pytest.mark.e2e),
        pytest.param("wheelsmith schema index-l", "index-list", marks=pytest.mark.e2e),
    ],
)
def test_what_a_shell_asks_is_answered(line, among):
    assert among in completed(line)


def test_one_gpu_after_another_and_no_recipe_of_a_directory_that_is_not_there():
    assert "A40,RTX 4090" in completed("wheelsmith plan cuvec --gpu 'A40,RTX 409")
    assert completed("wheelsmith plan --recipes /nowhere cuv") == [""]


@pytest.mark.e2e
@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_runs_in_its_shell(shell, tmp_path):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    script = subprocess.run([PROGRAM, "completion", shell], capture_output=True, text=True, check=True).stdout
    environment = os.environ | {"PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    ask = {
        "bash": "complete -p wheelsmith",
        "zsh": "echo $_comps[wheelsmith]",
        "fish": "complete --do-complete 'wheelsmith recipes ch'",
    }[shell]
    first = "autoload -U compinit; compinit -D\n" if shell == "zsh" else ""
    done = subprocess.run(
        [program, "-c", f"{first}{script}\n{ask}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert {"bash": "-F", "zsh": "_python_argcomplete", "fish": "check"}[shell] in done.stdout
