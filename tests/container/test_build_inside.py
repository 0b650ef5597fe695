"""`wheelsmith build --container` from the outside, with a program in the engine's place that notes what it is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from wheelsmith.container.ownwheel import own_wheel

ENGINE = """\
#!{python}
import json, os, signal, sys, time
from pathlib import Path
notes = Path({notes!r})
arguments = sys.argv[1:]
seen = {{name: os.environ.get(name) for name in ("WHEELSMITH_INDEX_URL", "HOME", "HTTPS_PROXY")}}
context = sorted(os.listdir(arguments[-1])) if arguments[0] == "build" else []
with notes.open("a") as file:
    file.write(json.dumps([arguments, seen, context]) + "\\n")
if arguments[0] == "info":
    print("5.4.0 rootless=true")
elif arguments[:2] == ["image", "inspect"]:
    sys.exit(0 if any('"build"' in line for line in notes.read_text().splitlines()) else 1)
elif arguments[0] == "build":
    # The second image, with another Python on top of the first one, has no wheel in its context.
    sys.exit(1 if os.environ.get("FAKE_NO_PYTHON") and len(context) == 1 else 0)
elif arguments[0] == "run":
    def stop(number, frame):
        notes.with_name("signalled").write_text(signal.Signals(number).name)
        sys.exit(1)  # as buildah does
    signal.signal(signal.SIGINT, stop)
    print("from the inside")
    print("progress", file=sys.stderr, flush=True)
    if os.environ.get("FAKE_WAITS"):
        time.sleep(60)
    sys.exit(int(os.environ.get("FAKE_EXIT", "0")))
"""


@pytest.fixture
def machine(tmp_path, recipe_dir, monkeypatch):
    """A folder with a podman of our own on PATH, and how to run `wheelsmith build` there."""
    program = tmp_path / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(ENGINE.format(python=sys.executable, notes=str(tmp_path / "notes")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)

    def start(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "wheelsmith", "build", "toy==1.0", "--recipes", "recipes", *more]
        command += ["--container", "podman", "--store", "store"]
        return subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    return tmp_path, start


def notes(folder: Path) -> list[list]:
    return [json.loads(line) for line in (folder / "notes").read_text().splitlines()]


def test_the_same_command_runs_inside_with_the_same_paths_and_its_exit_code(machine, monkeypatch):
    folder, start = machine
    (folder / ".netrc").write_text("machine host login __token__ password s3cret\n")
    monkeypatch.setenv("FAKE_EXIT", "40")
    done = start("--jobs", "3", "--index-url", "http://127.0.0.1:8080/simple/")
    out, err = done.communicate(timeout=300)
    assert (done.returncode, out) == (40, "from the inside\n")
    assert "--container podman: building in nvidia/cuda:13.0.1-devel-ubuntu24.04 with podman 5.4.0 (rootless)" in err
    assert "for the image's own Python" in err
    assert "progress" in err

    asked, inspected, built, ran = notes(folder)
    assert asked[0][0] == "info"
    tag = inspected[0][2]
    assert tag.startswith("localhost/wheelsmith-builder:")
    assert built[0][:5] == ["build", "--file", f"{built[0][-1]}/Dockerfile", "--tag", tag]
    assert f"id=netrc,src={folder}/.netrc" in built[0]
    assert "PIP_INDEX_URL=http://127.0.0.1:8080/simple/" in built[0]
    assert built[2] == ["Dockerfile", own_wheel()[0]]

    arguments, seen, _ = ran
    assert arguments[arguments.index("--workdir") + 1] == f"{folder}/store"
    assert arguments[arguments.index("--network") + 1] == "host"  # the index listens on loopback
    volumes = [arguments[i + 1] for i, word in enumerate(arguments) if word == "--volume"]
    modes = {".netrc": "ro", "dist": "rw", "recipes": "ro", "store": "rw"}
    assert volumes == [f"{folder}/{name}:{folder}/{name}:{mode}" for name, mode in modes.items()]
    variables = [arguments[i + 1] for i, word in enumerate(arguments) if word == "--env"]
    assert variables == [
        *("HOME=/tmp", f"NETRC={folder}/.netrc", f"UV_CACHE_DIR={folder}/store/uv"),
        "WHEELSMITH_CONTAINER_IMAGE=nvidia/cuda:13.0.1-devel-ubuntu24.04",
        *(f"WHEELSMITH_STORE={folder}/store", "HTTPS_PROXY", "WHEELSMITH_INDEX_URL"),
    ]
    assert arguments[arguments.index(tag) + 1 :] == [
        *("/opt/wheelsmith/bin/wheelsmith", "build", "toy==1.0", "--recipes", "recipes", "--jobs", "3"),
        *("--index-url", "http://127.0.0.1:8080/simple/", "--container", "podman", "--store", "store"),
        *("--cuda", "13.0", "--container", "none"),
        *("--store", f"{folder}/store", "--index", f"{folder}/dist", "--recipes", f"{folder}/recipes"),
    ]
    assert seen == {
        "WHEELSMITH_INDEX_URL": "http://127.0.0.1:8080/simple/",
        "HOME": str(folder),  # the client's own: where it finds images, logins and contexts
        "HTTPS_PROXY": "http://proxy.example:3128",
    }
    assert (folder / "dist").is_dir()

    start().communicate(timeout=300)
    assert [note[0][0] for note in notes(folder)[4:]] == ["info", "image", "run"]  # the image is made once


def test_isolation_that_the_configuration_requires_is_required_inside(machine, monkeypatch):
    folder, start = machine
    (folder / "config.toml").write_text("require_isolation = true\n")
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(folder / "config.toml"))
    start().communicate(timeout=60)
    assert "--require-isolation" in notes(folder)[-1][0]


def test_a_python_that_is_asked_for_is_an_image_on_top(machine, monkeypatch):
    folder, start = machine
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", "https://mirror.example/python")
    start("--python", "3.12").communicate(timeout=300)
    _, _, _, tools, python, ran = [note[0] for note in notes(folder)]
    assert "UV_PYTHON_INSTALL_MIRROR=https://mirror.example/python" in python
    assert "UV_PYTHON_INSTALL_MIRROR=https://mirror.example/python" not in tools
    assert python[python.index("--tag") + 1] in ran
    assert ran[ran.index("--cuda") - 2 : ran.index("--cuda")] == ["--python", "3.12"]


def test_a_python_that_cannot_be_fetched_names_what_to_do(machine, monkeypatch):
    _, start = machine
    monkeypatch.setenv("FAKE_NO_PYTHON", "1")
    process = start("--python", "3.14")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 35
    assert "Python 3.14 is not in nvidia/cuda:13.0.1-devel-ubuntu24.04, and uv could not fetch it" in err
    assert "UV_PYTHON_INSTALL_MIRROR" in err


def test_offline_says_what_is_missing_before_anything_starts(machine):
    folder, start = machine
    process = start("--offline")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 23
    assert "--offline was given, and the image that builds in nvidia/cuda:13.0.1" in err
    assert [note[0][0] for note in notes(folder)] == ["info", "image"]


def test_an_index_that_cannot_be_written_is_refused_before_the_engine_makes_anything(machine):
    folder, start = machine
    (folder / "file").write_text("")
    process = start("--index", "./file/dist")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 72, err
    assert "file/dist cannot be written" in err
    assert [note[0][0] for note in notes(folder)] == ["info"]


def test_offline_means_no_network_inside(machine):
    folder, start = machine
    start().communicate(timeout=300)
    start("--offline").communicate(timeout=300)
    arguments = notes(folder)[-1][0]
    assert arguments[arguments.index("--network") + 1] == "none"


def test_a_failing_engine_is_not_a_failing_build(machine, monkeypatch):
    _, start = machine
    monkeypatch.setenv("FAKE_EXIT", "125")
    done = start()
    _, err = done.communicate(timeout=300)
    assert done.returncode == 35
    assert "podman 5.4.0 (rootless) could not run the container (exit code 125)." in err


@pytest.mark.parametrize(("sent", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupt_reaches_the_container_once_and_is_told_as_one(machine, monkeypatch, sent, whole_group):
    folder, start = machine
    monkeypatch.setenv("FAKE_WAITS", "1")
    process = start()
    assert process.stderr is not None
    while process.stderr.readline() != "progress\n":
        pass
    time.sleep(0.1)
    (os.killpg if whole_group else os.kill)(process.pid, sent)
    process.communicate(timeout=300)
    assert process.returncode == 130
    assert (folder / "signalled").read_text() == "SIGINT"


def test_wheelsmith_packs_itself_the_same_way_each_time(tmp_path):
    name, data = own_wheel()
    assert (name, data) == own_wheel()
    (tmp_path / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / name) as wheel:
        names = wheel.namelist()
        assert "wheelsmith/shipped_recipes/cuvec.toml" in names
        assert "wheelsmith/container/images.toml" in names
        assert not [item for item in names if "__pycache__" in item]
        info = next(item for item in names if item.endswith(".dist-info/entry_points.txt"))
        assert b"wheelsmith = wheelsmith.cli.main:main" in wheel.read(info)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "t", tmp_path / name],
        check=True,
    )
    assert (tmp_path / "t/wheelsmith/shipped_recipes/vllm.toml").is_file()
