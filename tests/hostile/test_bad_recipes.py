"""Whatever a recipe holds, it is planned or refused with cause and remedy: in bounded time and memory."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import bad_recipes

pytestmark = pytest.mark.hostile
SLOWEST = 20.0  # seconds of CPU time for one


def run(cases: list[tuple[str, str, str]], tmp_path: Path) -> dict[str, tuple[str, float]]:
    """What came of each case, and after how many seconds of CPU time."""
    (tmp_path / "list.json").write_text(json.dumps(cases))
    command = [sys.executable, "-m", "tests.hostile.runner", str(tmp_path / "list.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1700)
    came = {label: (what, seconds) for label, what, seconds in map(json.loads, done.stdout.splitlines())}
    stuck = next((label for label, _, _ in cases if label not in came), None)
    assert stuck is None, f"{stuck}: {done.stderr[-3000:]}"
    return came


def judge(came: dict[str, tuple[str, float]]) -> None:
    """All were refused or planned, and none took long."""
    print(f"{len(came)} recipes, slowest {max(seconds for _, seconds in came.values()):.1f} s:", end=" ")
    print({what: sum(1 for item, _ in came.values() if item == what) for what in ("refused", "planned")})
    wrong = {label: what for label, (what, seconds) in came.items() if what not in {"refused", "planned"}}
    slow = {label: seconds for label, (_, seconds) in came.items() if seconds > SLOWEST}
    assert (wrong, slow) == ({}, {})


@pytest.mark.timeout(1800)
def test_every_value_turned_into_everything(tmp_path):
    cases = []
    for number, (label, name, data) in enumerate([*bad_recipes.turned(tmp_path), *bad_recipes.shaped(tmp_path)]):
        directory = tmp_path / "cases" / str(number)
        directory.mkdir(parents=True)
        (directory / f"{name}.toml").write_bytes(data)
        cases.append((label, str(directory), name))
    assert len(cases) >= 500
    came = run(cases, tmp_path)
    judge(came)
    for kind in ("infinite", "no number", "ten to the 400", "minus one"):
        assert came[f"memory_gb: {kind}"][0] == "refused"


def put(path: Path, kind: str) -> None:
    """Make an object of this kind at `path`."""
    path.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)
        case "dangling":
            path.symlink_to("nowhere")
        case "zero" | "random":
            path.symlink_to(f"/dev/{kind}")
        case "socket":
            opened = socket.socket(socket.AF_UNIX)
            here = os.open(path.parent, os.O_PATH)
            opened.bind(f"/proc/self/fd/{here}/{path.name}")
        case "no permission":
            path.write_text("x")
            path.chmod(0)
        case "large":
            with path.open("wb") as file:
                file.truncate(1 << 40)
        case "binary":
            path.write_bytes(bytes(range(256)) * 100)


def test_what_is_no_file_is_no_recipe_lock_or_diff(tmp_path):
    name, text = bad_recipes.toy(tmp_path)
    cases = []
    for place in bad_recipes.PLACES:
        for kind in bad_recipes.OBJECTS:
            directory = tmp_path / "objects" / place / kind.replace(" ", "-")
            directory.mkdir(parents=True)
            more = {
                "recipe": text,
                "lock": text.replace("[build]", '[build]\nlock = "thing"'),
                "diff": text + '[[patch]]\ndiff = "thing"\nwhy = "w"\n',
            }[place]
            (directory / f"{name}.toml").write_text(more)
            put(directory / (f"{name}.toml" if place == "recipe" else "thing"), kind)
            cases.append((f"{place}: {kind}", str(directory), name))
    came = run(cases, tmp_path)
    judge(came)
    if os.geteuid() != 0:
        assert {what for what, _ in came.values()} == {"refused"}
    shutil.rmtree(tmp_path / "objects")
