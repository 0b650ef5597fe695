"""What is done in a base image to make the image that builds: `prepare.sh`, with programs of our own on its PATH."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import wheelsmith

SCRIPT = Path(wheelsmith.__file__).with_name("container") / "prepare.sh"


@pytest.fixture
def image(tmp_path):
    """A PATH with nothing but what every image has, and how to put a program there and to run the script."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "ls", "touch"):
        (folder / name).symlink_to(shutil.which(name))
    (folder / "rm").write_text("#!/bin/sh\nexit 0\n")  # the script empties the image's /var/lib/apt, and here is none
    (folder / "rm").chmod(0o755)

    def put(name: str, text: str) -> None:
        (folder / name).write_text(f"#!{shutil.which('sh')}\n{text}\n")
        (folder / name).chmod(0o755)

    def prepare(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(folder / "sh"), str(SCRIPT), *words]
        environment = {"PATH": str(folder), "LOG": str(tmp_path / "log")}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return put, prepare


OLD = 'case $1 in -c) exec {python} -c "import sys; sys.version_info = (3, 9, 2); $2" ;; *) echo Python 3.9.2 ;; esac'


def test_an_image_with_neither_tools_nor_package_manager_is_told_so(image):
    _, prepare = image
    done = prepare("tools", "/x.whl")
    assert done.returncode == 1
    assert (
        "lacks one of g++, git, make and a Python with venv and Python.h, and has neither apt-get nor dnf"
        in done.stderr
    )


def test_an_image_whose_distribution_has_an_old_python_is_told_so(image, tmp_path):
    put, prepare = image
    for name in ("g++", "git", "make"):
        put(name, "exit 0")
    put("python3", OLD.format(python=sys.executable))
    put("apt-get", 'echo "$*" >> "$LOG"')
    done = prepare("tools", "/x.whl")
    assert done.returncode == 1
    assert done.stderr == (
        "wheelsmith: this image has Python 3.9.2, and wheelsmith needs 3.11.4 or newer, with venv and Python.h\n"
    )
    assert (tmp_path / "log").read_text().splitlines()[0] == "update"  # it was asked for a newer one


def test_what_is_missing_beside_gxx_is_noticed(image, tmp_path):
    """dash's `command -v` looks at its first argument only."""
    put, prepare = image
    put("g++", "exit 0")
    put("python3", f'exec {sys.executable} "$@"')
    put("apt-get", 'echo "$*" >> "$LOG"; exit 7')
    done = prepare("tools", "/x.whl")
    assert done.returncode == 7
    assert (tmp_path / "log").read_text() == "update\n"


def test_a_python_of_the_image_is_not_fetched(image):
    put, prepare = image
    put("python3.12", "exit 0")
    assert prepare("python", "3.12").returncode == 0
