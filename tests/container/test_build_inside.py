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

pytestmark = pytest.mark.e2e

ENGINE = """\
#!{python}
import json, os, signal, sys, time
from pathlib import Path
notes = Path({notes!r})
arguments = sys.argv[1:]
seen = {{name: os.environ.get(name) for name in ("WHEELSMITH_INDEX_URL", "HOME", "HTTPS_PROXY")}}
context = sorted(os.listdir(arguments[-1])) if arguments[0] == "build" else []
secrets = {{}}
for word in arguments if arguments[0] == "build" else ():
    if word.startswith("id="):
        name, _, source = word.removeprefix("id=").partition(",src=")
        secrets[name] = Path(source).read_text()
order = {{}}
if arguments[0] == "run":
    place = Path(arguments[-1])
    assert place.stat().st_mode & 0o777 == 0o600
    order = json.loads(place.read_text())
    place.unlink()  # as what runs inside does
with notes.open("a") as file:
    file.write(json.dumps([arguments, seen, context, order, secrets]) + "\\n")
if arguments[0] == "info":
    print("5.4.0 rootless=true")
elif arguments[:2] == ["image", "inspect"]:
    if "wheelsmith-builder" not in arguments[-1]:
        told = os.environ.get("FAKE_BASE", "linux/amd64 [sha256:aa] [PATH=/bin]")
        print(told)
        sys.exit(0 if told else 1)
    sys.exit(0 if any('"build"' in line for line in notes.read_text().splitlines()) else 1)
elif arguments[0] in ("build", "pull") and os.environ.get("FAKE_SAYS"):
    print(os.environ["FAKE_SAYS"], file=sys.stderr)
    sys.exit(125)
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
    if os.environ.get("FAKE_EXIT") == "-9":
        os.kill(os.getpid(), 9)
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
    assert "podman: building in docker.io/nvidia/cuda:13.0.1-devel-ubuntu24.04 with podman 5.4.0 (rootless)" in err
    assert "for the image's own Python" in err
    assert "progress" in err

    asked, looked, inspected, built, ran = notes(folder)
    assert asked[0][0] == "info"
    assert looked[0][-1] == "docker.io/nvidia/cuda:13.0.1-devel-ubuntu24.04"
    tag = inspected[0][-1]
    assert tag.startswith("localhost/wheelsmith-builder:")
    assert built[0][:5] == ["build", "--file", f"{built[0][-1]}/Dockerfile", "--tag", tag]
    secrets = built[4]
    assert "-----BEGIN CERTIFICATE-----" in secrets.pop("authorities", "-----BEGIN CERTIFICATE-----")
    assert secrets == {
        "netrc": "machine host login __token__ password s3cret\n",
        "index": "http://127.0.0.1:8080/simple/",
    }
    assert built[2] == ["Dockerfile", "prepare.sh", own_wheel()[0]]

    arguments, seen, _, order, _ = ran
    assert arguments[arguments.index("--workdir") + 1] == f"{folder}/store"
    assert arguments[arguments.index("--network") + 1] == "host"  # the index listens on loopback
    volumes = [arguments[i + 1] for i, word in enumerate(arguments) if word == "--volume"]
    modes = {".netrc": "ro", "dist": "rw", "recipes": "ro", "store": "rw"}
    assert volumes == [f"{folder}/{name}:{folder}/{name}:{mode}" for name, mode in modes.items()]
    assert order["variables"] == {
        "HTTPS_PROXY": "http://proxy.example:3128",
        "NETRC": f"{folder}/.netrc",
        "UV_CACHE_DIR": f"{folder}/store/uv",
        "WHEELSMITH_CONTAINER_IMAGE": "docker.io/nvidia/cuda:13.0.1-devel-ubuntu24.04@5f7043ddffe76895",
        "WHEELSMITH_INDEX_URL": "http://127.0.0.1:8080/simple/",
        "WHEELSMITH_STORE": f"{folder}/store",
    }
    module, (path,) = arguments[arguments.index(tag) + 1 : -1], arguments[-1:]
    assert module == ["/opt/wheelsmith/bin/python", "-m", "wheelsmith.container.inside"]
    assert Path(path).parent == folder / "store/orders"
    assert order["words"] == [
        *("build", "toy==1.0", "--recipes", "recipes", "--jobs", "3"),
        *("--index-url", "http://127.0.0.1:8080/simple/", "--container", "podman", "--store", "store"),
        *("--cuda", "13.0", "--container", "none"),
        *("--store", f"{folder}/store", "--index", f"{folder}/dist", "--recipes", f"{folder}/recipes"),
    ]
    # The client's environment is its own: where it finds images, logins and contexts.
    assert (seen["HOME"], seen["WHEELSMITH_INDEX_URL"]) == (str(folder), None)
    assert (folder / "dist").is_dir()

    start().communicate(timeout=300)
    assert [note[0][0] for note in notes(folder)[5:]] == ["info", "image", "image", "run"]  # the image is made once


def test_isolation_that_the_configuration_requires_is_required_inside(machine, monkeypatch):
    folder, start = machine
    (folder / "config.toml").write_text("require_isolation = true\n")
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(folder / "config.toml"))
    start().communicate(timeout=60)
    assert "--require-isolation" in notes(folder)[-1][3]["words"]


def test_a_python_that_is_asked_for_is_an_image_on_top(machine, monkeypatch):
    folder, start = machine
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", "https://mirror.example/python")
    start("--python", "3.12").communicate(timeout=300)
    _, _, _, _, tools, python, ran = notes(folder)
    assert python[4]["mirror"] == "https://mirror.example/python"
    assert "mirror" not in tools[4]
    assert python[0][python[0].index("--tag") + 1] in ran[0]
    words = ran[3]["words"]
    assert words[words.index("--cuda") - 2 : words.index("--cuda")] == ["--python", "3.12"]


def test_the_callers_settings_hold_inside(machine, monkeypatch):
    """Configuration, facts, signatures, mirrors, cache and key: as values, or mounted at their own paths."""
    folder, start = machine
    for name in ("facts", "signs", "signs2", "mirror"):
        (folder / name).mkdir()
    (folder / "config.toml").write_text('[mirrors]\n"https://github.com/" = "mirror"\n')
    (folder / "choices.toml").write_text("schema_version = 1\n")
    (folder / "key").write_text("k" * 64)
    (folder / "key").chmod(0o600)
    monkeypatch.setenv("WHEELSMITH_CONFIG", "config.toml")
    monkeypatch.setenv("WHEELSMITH_FACTS", "facts")
    monkeypatch.setenv("WHEELSMITH_CHOICES", str(folder / "choices.toml"))
    monkeypatch.setenv("WHEELSMITH_SIGNATURES", "signs:signs2")
    monkeypatch.setenv("WHEELSMITH_CACHE_KEY_FILE", "key")
    monkeypatch.setenv("WHEELSMITH_CACHE", "elsewhere")
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "for-no-cache-in-s3")
    process = start("--cache", "more")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    arguments, _, _, order, _ = notes(folder)[-1]
    told = order["variables"]
    assert told["WHEELSMITH_CONFIG"] == f"{folder}/config.toml"
    assert told["WHEELSMITH_FACTS"] == f"{folder}/facts"
    assert told["WHEELSMITH_CHOICES"] == f"{folder}/choices.toml"
    assert told["WHEELSMITH_SIGNATURES"] == f"{folder}/signs:{folder}/signs2"
    assert told["WHEELSMITH_CACHE_KEY_FILE"] == f"{folder}/key"
    assert told["WHEELSMITH_CACHE"] == f"{folder}/more"
    assert (told["HTTPS_PROXY"], told["NO_PROXY"]) == ("http://proxy.example:3128", "localhost")
    assert "AWS_SECRET_ACCESS_KEY" not in told
    assert order["words"][-2:] == ["--cache", f"{folder}/more"]
    assert (folder / "more").is_dir()  # else no engine could mount it
    volumes = [arguments[i + 1] for i, word in enumerate(arguments) if word == "--volume"]
    modes = {"choices.toml": "ro", "config.toml": "ro", "facts": "ro", "key": "ro", "mirror": "ro", "more": "rw"}
    modes |= {"signs": "ro", "signs2": "ro", "dist": "rw", "recipes": "ro", "store": "rw"}
    assert sorted(volumes) == sorted(f"{folder}/{name}:{folder}/{name}:{mode}" for name, mode in modes.items())


def test_credentials_are_in_no_command_line_and_no_environment_of_the_engine(machine, monkeypatch):
    folder, start = machine
    monkeypatch.setenv("HTTPS_PROXY", "http://me:proxy-pass@127.0.0.1:3128")
    monkeypatch.setenv("WHEELSMITH_CACHE", "redis://:cache-pass@localhost:6379/0")
    monkeypatch.setenv("WHEELSMITH_CACHE_KEY", "k" * 64)
    start("--index-url", "https://me:index-pass@wheels.example/simple/").communicate(timeout=60)
    built, ran = notes(folder)[3], notes(folder)[-1]
    assert built[4]["index"] == "https://me:index-pass@wheels.example/simple/"
    assert ran[3]["variables"]["WHEELSMITH_CACHE"] == "redis://:cache-pass@localhost:6379/0"
    for arguments, *_ in notes(folder):
        assert not [word for word in arguments if "-pass" in word or "kkkk" in word]
    assert ran[0][ran[0].index("--network") + 1] == "host"  # the proxy and the cache listen on loopback
    assert not list((folder / "store/orders").iterdir())


def test_an_order_is_carried_out_and_gone_before_anything_runs(tmp_path):
    order = tmp_path / "order"
    words = ["plan", "cuvec==6.0.1", "--json"]
    variables = {"NETRC": str(tmp_path / "netrc"), "WHEELSMITH_FACTS": str(tmp_path / "missing")}
    order.write_text(json.dumps({"words": words, "variables": variables, "authorities": ""}))
    done = subprocess.run(
        [sys.executable, "-m", "wheelsmith.container.inside", order], capture_output=True, text=True, check=False
    )
    assert f"WHEELSMITH_FACTS names {tmp_path}/missing" in done.stderr
    assert done.returncode == json.loads(done.stdout)["error"]["code"] != 0
    assert not order.exists()


def test_a_python_that_cannot_be_fetched_names_what_to_do(machine, monkeypatch):
    _, start = machine
    monkeypatch.setenv("FAKE_NO_PYTHON", "1")
    process = start("--python", "3.14")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 35
    assert "Python 3.14 is not in docker.io/nvidia/cuda:13.0.1-devel-ubuntu24.04, and uv could not fetch it" in err
    assert "UV_PYTHON_INSTALL_MIRROR" in err


def test_offline_says_what_is_missing_before_anything_starts(machine):
    folder, start = machine
    process = start("--offline")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 23
    assert "--offline was given, and the image that builds in docker.io/nvidia/cuda:13.0.1" in err
    assert [note[0][0] for note in notes(folder)] == ["info", "image", "image"]


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


def test_an_engine_that_is_killed_leaves_no_container_and_says_so(machine, monkeypatch):
    folder, start = machine
    monkeypatch.setenv("FAKE_EXIT", "-9")
    process = start()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 35
    assert "podman 5.4.0 (rootless) was killed by signal 9" in err
    assert notes(folder)[-1][0][:2] == ["rm", "--force"]
    assert not list((folder / "store/orders").iterdir())


def test_an_image_of_the_table_that_is_fetched_is_said_to_be_untried(machine, monkeypatch):
    folder, start = machine
    monkeypatch.setenv("FAKE_BASE", "")
    monkeypatch.setenv("FAKE_SAYS", "Error: something new")
    process = start()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 35
    assert "podman 5.4.0 (rootless) cannot fetch docker.io/nvidia/cuda:13.0.1-devel-ubuntu24.04 (exit code 125)" in err
    assert "wheelsmith's tests never pulled it" in err
    assert [note[0][0] for note in notes(folder)] == ["info", "image", "pull"]


@pytest.mark.parametrize(
    ("base", "says", "code", "cause"),
    [
        ("linux/arm64 [sha256:aa] []", "", 37, "IMAGE is for linux/arm64, and this machine is linux/amd64."),
        ("", "Error: reading manifest 9 in docker.io/a/b: manifest unknown", 37, "The registry has no IMAGE"),
        ("", "pull access denied for a/b, repository does not exist", 37, "The registry has no IMAGE"),
        ("", 'Error: short-name "a" did not resolve to an alias', 37, "as no registry is in the name"),
        ("", "no image found in manifest list for architecture amd64", 37, "not for this machine's architecture"),
        (
            "",
            "dial tcp: lookup registry-1.docker.io on 1.2.3.4:53: no such host",
            20,
            "cannot reach the registry of IMAGE",
        ),
        (
            "",
            "writing blob: write /x: no space left on device",
            70,
            "The disk that podman 5.4.0 (rootless) works on is full",
        ),
        (None, "exec /bin/sh: exec format error", 37, "not for this machine's architecture"),
        (
            None,
            "#7 0.2 wheelsmith: this image has Python 3.9.2, and wheelsmith needs",
            37,
            "IMAGE has Python 3.9.2, and",
        ),
        (None, "E: Failed to fetch x  Temporary failure resolving 'y'", 20, "What IMAGE lacks could not be fetched"),
        (None, "tar: write: No space left on device", 70, "The disk that podman"),
        (None, "something new", 35, "cannot make an image of IMAGE (exit code 125)."),
    ],
)
def test_an_image_that_does_not_serve_is_told_from_an_engine_that_fails(machine, monkeypatch, base, says, code, cause):
    _, start = machine
    if base is not None:
        monkeypatch.setenv("FAKE_BASE", base)
    monkeypatch.setenv("FAKE_SAYS", says)
    process = start("--container-image", "example.net/a/b:1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert cause.replace("IMAGE", "example.net/a/b:1") in err
    assert "what to do:" in err


def test_an_image_of_this_machine_that_is_not_there_is_not_asked_for_elsewhere(machine, monkeypatch):
    folder, start = machine
    monkeypatch.setenv("FAKE_BASE", "")
    process = start("--container-image", "localhost/mine:1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 37
    assert "localhost/mine:1 is not among the images of podman 5.4.0 (rootless)" in err
    assert [note[0][0] for note in notes(folder)] == ["info", "image"]


def test_a_tag_that_means_another_image_today_is_another_image(machine, monkeypatch):
    folder, start = machine
    start().communicate(timeout=60)
    monkeypatch.setenv("FAKE_BASE", "linux/amd64 [sha256:bb] [PATH=/bin]")
    start().communicate(timeout=60)
    runs = [note for note in notes(folder) if note[0][0] == "run"]
    assert len({next(word for word in note[0] if "wheelsmith-builder" in word) for note in runs}) == 2
    assert len({note[3]["variables"]["WHEELSMITH_CONTAINER_IMAGE"] for note in runs}) == 2


def test_an_index_on_disk_is_refused_while_the_image_is_made(machine):
    folder, start = machine
    process = start("--index-url", f"file://{folder}/simple/")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 35
    assert "python3 -m http.server" in err
    assert [note[0][0] for note in notes(folder)] == ["info", "image", "image"]


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


@pytest.mark.e2e
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
