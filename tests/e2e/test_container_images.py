"""Our Dockerfile and `--container` with real engines, on base images that tests/container/engines.sh makes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.real_engines import (
    CUDA,
    DEVEL,
    NVIDIA,
    ROOT,
    SLIM,
    UNFIT,
    arguments,
    dockerd,
    must,
    needs_engines,
    own_storage,
    run,
    wheelsmith,
)
from tests.support.recorder import recording
from tests.support.registry import registry
from wheelsmith.sources.client_index import configured_index

pytestmark = [pytest.mark.e2e, pytest.mark.images, needs_engines, pytest.mark.timeout(1800)]

TOKEN = "not-for-any-layer-7f3a"
BUILD = [
    "buildah",
    "build",
    "--isolation",
    "oci",
    "--network",
    "host",
    "--layers",
    "--format",
    "docker",
    "--pull-never",
]


@pytest.fixture(scope="module", autouse=True)
def storage() -> Iterator[None]:
    """podman and buildah with the tests' own storage."""
    with own_storage():
        yield


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A package index on loopback that remembers; its URL and its folder."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    folder = tmp_path_factory.mktemp("mirror")
    with recording(folder, (configured_index() or PYPI_SIMPLE_ENDPOINT).rstrip("/") + "/") as url:
        yield url, folder


@pytest.fixture(scope="module")
def netrc(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "netrc"
    path.write_text(f"machine 127.0.0.1 login __token__ password {TOKEN}\n")
    return path


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> Path:
    """All that engines said while they had a secret."""
    return tmp_path_factory.mktemp("said") / "log"


@pytest.fixture(scope="module")
def runtime(mirror, netrc, said) -> str:
    """The runtime image, by podman; the other tests build with buildah."""
    tag = "localhost/wheelsmith-test:runtime"
    secret = ["--secret", f"id=netrc,src={netrc}"]
    command = ["podman", *BUILD[1:-1], "--pull=never", *arguments(mirror[0]), *secret, "--target", "runtime"]
    done = run(*command, "--tag", tag, ROOT)
    assert done.returncode == 0, done.stderr[-6000:]
    said.write_text(done.stdout + done.stderr)
    return tag


def found_in(secret: str, *places: Path | str) -> list[str]:
    """The files below that hold it. What is mounted again, as of a container that is open, is looked at once."""
    command = ["grep", "--recursive", "--files-with-matches", "--fixed-strings", "--devices=skip", "--text"]
    command += ["--exclude-dir=merged", "--exclude-dir=proc", "--exclude-dir=sys"]
    inside = ["podman", "unshare"] if os.geteuid() else []  # what an ordinary user's images hold has other owners
    told = run(*inside, *command, secret, *(place for place in places if Path(place).exists()))
    assert told.returncode in (0, 1), told.stderr[-2000:]
    return told.stdout.splitlines()


def start(image: str, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return run("podman", "run", "--rm", "--network=none", *options, image, *command)


@pytest.fixture
def smi(tmp_path):
    """Options of `podman run` that put an nvidia-smi with an RTX 4090 into the container."""

    def make(driver: str) -> tuple[str, ...]:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 8.9, {driver}'\n")
        program.chmod(0o755)
        return ("--volume", f"{program}:/usr/bin/nvidia-smi:ro")

    return make


def test_the_runtime_image_holds_what_runs_and_nothing_else(runtime):
    script = "id -u; command -v gcc cc g++ nvcc git pip pip3; ls -A /var/cache/pip /var/lib/apt/lists /var/log /tmp"
    told = start(runtime, "-c", script, options=("--entrypoint=sh",)).stdout.split("\n")
    assert told[0] == "10001"
    assert [line for line in told[1:] if line and not line.endswith(":")] == []
    off = ("--env", "WHEELSMITH_PREFLIGHT=off")
    assert start(runtime, "python3", "-c", "import cuvec; print(cuvec.__version__)", options=off).stdout == "6.0.1\n"


def test_it_says_what_is_wrong_with_gpu_and_driver_before_anything_starts(runtime, smi):
    nothing = start(runtime, "echo", "started")
    assert (nothing.returncode, nothing.stdout) == (54, "")
    assert "No NVIDIA GPU is to be seen here" in nothing.stderr
    fits = start(runtime, "echo", "started", options=smi("580.65.06"))
    assert (fits.returncode, fits.stdout) == (0, "started\n")
    assert "fits NVIDIA GeForce RTX 4090 (8.9), driver 580.65.06" in fits.stderr
    old = start(runtime, "echo", "started", options=smi("515.65.01"))
    assert (old.returncode, old.stdout) == (54, "")
    assert "driver 515.65.01 does not know NVIDIA GeForce RTX 4090 (8.9)" in old.stderr


def test_no_secret_is_left_in_any_layer(runtime, tmp_path):
    must("podman", "save", "--format", "docker-archive", "--output", tmp_path / "image.tar", runtime)
    with tarfile.open(tmp_path / "image.tar") as image:
        members = [member for member in image.getmembers() if member.isfile()]
        assert len([member for member in members if member.size > 10_000]) >= 4
        for member in members:
            file = image.extractfile(member)
            assert file is not None
            assert TOKEN.encode() not in file.read(), member.name
    assert TOKEN not in must("podman", "history", "--no-trunc", "--format", "json", runtime)


def test_the_wheels_stage_comes_out_as_files(mirror, tmp_path):
    must(*BUILD, *arguments(mirror[0]), "--target", "wheels", "--output", f"type=local,dest={tmp_path}/dist", ROOT)
    names = {path.name for path in (tmp_path / "dist").iterdir()}
    (wheel,) = [name for name in names if name.endswith(".whl")]
    papers = {f"{wheel}.cdx.json", f"{wheel}.report.json", f"{wheel}.provenance.json"}
    assert papers | {"simple", "requirements.txt", "dependencies.txt", "preflight.pyz"} <= names
    assert json.loads((tmp_path / "dist" / f"{wheel}.cdx.json").read_text())["bomFormat"] == "CycloneDX"
    assert must(sys.executable, "-m", "wheelsmith", "verify", tmp_path / "dist" / wheel)


def test_another_wheel_changes_only_the_last_layers(runtime, mirror):
    """Pushed to a registry that counts: what a change of the wheel costs."""
    other = "localhost/wheelsmith-test:other"
    must(*BUILD, *arguments(mirror[0], GPUS="RTX 4090"), "--target", "runtime", "--tag", other, ROOT)
    layers = [json.loads(must("podman", "image", "inspect", tag))[0]["RootFS"]["Layers"] for tag in (runtime, other)]
    assert len(layers[0]) == len(layers[1])
    same = [one == two for one, two in zip(*layers, strict=True)]
    assert same[-2:] == [False, False]
    assert all(same[:-2])
    with registry() as told, contextlib.ExitStack() as stack:
        conf = Path(os.environ["CONTAINERS_CONF"]).with_name("registries.conf")
        conf.write_text(f'[[registry]]\nlocation = "{told.host}"\ninsecure = true\n')
        stack.callback(conf.unlink)
        environment = {**os.environ, "CONTAINERS_REGISTRIES_CONF": str(conf)}
        pushed = []
        for tag in (runtime, other):
            name = f"{told.host}/me/cuvec:{tag.rpartition(':')[2]}"
            must("podman", "tag", tag, name)
            push = [sys.executable, "-m", "wheelsmith", "image", "push", name, "--engine", "podman"]
            must(*push, env=environment)
            pushed.append(told.take())
            must("podman", "untag", name, name)  # without the second it would lose all its names
        assert told.tags == ["runtime", "other"]
    assert pushed[1][0] == 3  # two layers and the configuration
    assert pushed[1][1] < pushed[0][1] / 10


@pytest.mark.timeout(5400)
def test_two_builds_give_the_same_layers_and_keep_no_secret(runtime, mirror, netrc, said):
    """All steps run twice, with a login; the time of every file is fixed. Then podman's and buildah's whole storage is
    searched (layers, configurations, histories), their cache mounts, and all that they said."""
    layers = []
    for number in (1, 2):
        tag = f"localhost/wheelsmith-test:again{number}"
        stage = ["--no-cache", "--timestamp", "1577836800", "--target", "runtime", "--tag", tag]
        secret = ["--secret", f"id=netrc,src={netrc}"]
        done = run(*BUILD, *arguments(mirror[0]), *secret, *stage, ROOT)
        assert done.returncode == 0, done.stderr[-6000:]
        said.write_text(said.read_text() + done.stdout + done.stderr)
        layers.append(json.loads(must("podman", "image", "inspect", tag))[0]["RootFS"]["Layers"])
    assert layers[0] == layers[1]
    login = base64.b64encode(f"__token__:{TOKEN}".encode()).decode()
    assert (mirror[1] / "login").read_text() == f"Basic {login}"  # it was used
    caches = [path for path in Path("/var/tmp").glob("buildah-cache*") if os.access(path, os.R_OK)]
    home = Path(os.environ["CONTAINERS_STORAGE_CONF"]).parent
    for word in (TOKEN, login):
        assert found_in(word, home / "storage", home / "run", said, *caches) == []


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_a_build_that_fails_leaves_no_secret(engine, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {SLIM}\nRUN --mount=type=secret,id=n test ! -s /run/secrets/n\n")
    (tmp_path / "n").write_text("of-a-build-that-fails-55c1")
    command = ["image", "build", tmp_path, "--engine", engine, "--tag", "localhost/wheelsmith-test:none"]
    assert wheelsmith(*command, "--secret", f"n={tmp_path}/n").returncode != 0
    storage = Path(os.environ["CONTAINERS_STORAGE_CONF"]).parent / "storage"
    assert found_in("of-a-build-that-fails-55c1", storage / "overlay-containers") == []


@pytest.fixture(scope="module")
def prepared() -> tuple[str, str]:
    """Base images that have all that would come from the distribution: for a machine without any network."""
    tags = []
    for base, packages in ((DEVEL, "git g++ make python3 python3-dev python3-venv"), (SLIM, "python3 python3-venv")):
        tag = base.replace("standin", "prepared")
        text = f"FROM {base}\nRUN apt-get update -qq && apt-get install -qq -y --no-install-recommends {packages}\n"
        must(*BUILD, "--tag", tag, "--file", "-", ROOT / "tests", input=text)
        tags.append(tag)
    return tags[0], tags[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="takes the network away, as only root can")
def test_it_builds_without_any_network_from_a_loopback_index(mirror, prepared, tmp_path):
    """Nothing is cached: neither layers nor, as buildah's cache mounts follow TMPDIR, downloads and compiled units."""
    url, folder = mirror
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    more = {"BASE_IMAGE": prepared[0], "RUNTIME_IMAGE": prepared[1]}
    with_network = [*BUILD, "--no-cache", "--target", "runtime", "--tag", "localhost/wheelsmith-test:known"]
    first = {**os.environ, "TMPDIR": f"{tmp_path}/with"}
    must(*with_network, *arguments(url, **more), ROOT, env=first)  # what the index is asked for is known now
    tag = "localhost/wheelsmith-test:airgap"
    command = ["buildah", "build", "--isolation", "chroot", "--layers", "--no-cache", "--format", "docker"]
    command += ["--pull-never", *arguments("http://127.0.0.1:8765/simple/", **more), "--tag", tag]
    command += ["--target", "runtime", str(ROOT)]
    recorder = ROOT / "tests/support/recorder.py"
    script = f'ip link set lo up; {sys.executable} {recorder} {folder} 8765 & server=$!; sleep 1; "$@"; code=$?'
    must(
        "unshare",
        "--net",
        "sh",
        "-c",
        f"{script}; kill $server; exit $code",
        "sh",
        *command,
        env={**os.environ, "TMPDIR": f"{tmp_path}/without"},
    )
    off = ("--env", "WHEELSMITH_PREFLIGHT=off")
    assert start(tag, "python3", "-c", "import cuvec; print(cuvec.__version__)", options=off).stdout == "6.0.1\n"


def inside(
    folder: Path, engine: str, url: str, content: dict[str, str] | None = None, image: str = DEVEL
) -> list[str | Path]:
    """Words of a small build in a container: a CMake project with three CUDA files, in a folder of its own."""
    from tests.support import toyproject

    folder.mkdir(exist_ok=True)
    recipes = toyproject.make(folder, content or toyproject.files())
    words: list[str | Path] = [
        "build",
        "toycuda",
        "--recipes",
        recipes,
        "--cuda",
        CUDA,
        "--gpu",
        "A40",
        "--container",
        engine,
    ]
    words += ["--container-image", image, "--index-url", url, "--jobs", "1"]
    return [*words, "--store", folder / "store", "--index", folder / "dist"]


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_a_build_in_a_container_stops_on_ctrl_c_and_continues(engine, mirror, tmp_path):
    # With credentials in the index's URL, and a compile cache of the user's own.
    url = mirror[0].replace("http://", f"http://me:{TOKEN}-url@")
    words = [*inside(tmp_path, engine, url), "--cache", tmp_path / "shared"]
    command = [sys.executable, "-m", "wheelsmith", *map(str, words), "--verbose"]
    # A shell starts what runs in its background with SIGINT ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0)
    signal.signal(signal.SIGINT, before)
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "[2/" in line:
            break
    processes = must("ps", "-eo", "args")  # and what the engine would tell of it
    if engine == "podman":
        (name,) = [line for line in must("podman", "ps", "--format", "{{.Names}}").split() if str(process.pid) in line]
        processes += must("podman", "inspect", name)
    own = " ".join(command)  # this one says it itself
    assert TOKEN not in "\n".join(line for line in processes.splitlines() if line != own)
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(90) == 130, "".join(seen[-20:]) + rest[-3000:]
    for listing in (["podman", "ps", "--all", "--format", "{{.Names}}"], ["buildah", "containers"]):
        assert f"wheelsmith-{process.pid}" not in must(*listing)
    assert not list(tmp_path.glob("dist/*.whl"))

    done = run(*command[:-1], "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"--container {engine}: building in {DEVEL} with {engine}" in done.stderr
    told = json.loads(done.stdout)
    assert told["record"]["compile"]["resumed"]
    assert told["record"]["toolchain"]["python"].startswith("3.13.")  # the image's own
    assert told["record"]["toolchain"]["host_compiler"].endswith("14.2.0; nvcc takes 13.3.0")
    assert {row["served_by"] for row in told["record"]["verdict"]["rows"]} == {"sm_86"}
    (entry, *_) = (path for path in (tmp_path / "shared").rglob("*") if path.is_file())
    for path in (told["wheel"], told["log"], entry):  # these are paths of this machine, and the caller's files
        assert Path(path).stat().st_uid == os.getuid()


def test_nvidias_layout_builds_too(mirror, tmp_path):
    done = wheelsmith(*inside(tmp_path, "podman", mirror[0], image=NVIDIA))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "g++ (Debian 13" in done.stdout


def test_headers_that_contradict_the_images_glibc_are_refused_in_seconds(mirror, tmp_path):
    """And what the fitting image has made is not offered in the one that could not have made it."""
    assert wheelsmith(*inside(tmp_path, "podman", mirror[0], image=NVIDIA)).returncode == 0
    for more in ([], ["--host-compiler", "g++-13"]):
        done = wheelsmith(*inside(tmp_path, "podman", mirror[0], image=UNFIT), *more)
        assert done.returncode == 30, done.stderr[-3000:]
        assert "nvcc of CUDA 12.4.131 in /usr/local/cuda-12.4 with /usr/bin/g++" in done.stderr
        assert "on glibc 2.41 does not compile a one-line program" in done.stderr
        assert "cospi" in done.stderr


def test_a_compile_error_inside_is_diagnosed_as_if_it_were_here(mirror, tmp_path):
    from tests.support import toyproject

    content = toyproject.files()
    content["two.cu"] = "__global__ void two() { undefined_thing(); }\n"
    done = wheelsmith(*inside(tmp_path, "podman", mirror[0], content))
    assert done.returncode == 40, done.stderr[-3000:]
    assert 'identifier "undefined_thing" is undefined' in done.stderr
    assert "what to do:" in done.stderr


@pytest.fixture(scope="module")
def index(runtime, mirror, tmp_path_factory) -> Path:
    """The index of the stage `wheels`."""
    folder = tmp_path_factory.mktemp("wheels") / "dist"
    must(*BUILD, *arguments(mirror[0]), "--target", "wheels", "--output", f"type=local,dest={folder}", ROOT)
    return folder


@contextlib.contextmanager
def served(index: Path, upstream: str) -> Iterator[tuple[str, str]]:
    """The index with tokens, behind which only numpy comes from elsewhere; its URL and a token that may read."""
    token = must(
        sys.executable, "-m", "wheelsmith", "index", "token", "create", "t", "--read", "--index", index
    ).split()[-1]
    command = [sys.executable, "-m", "wheelsmith", "index", "serve", "--index", index, "--port", "8766", "--private"]
    command += ["--upstream", upstream, "--allow", "numpy"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        import urllib.request

        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen("http://127.0.0.1:8766/health"):
                break
            assert process.poll() is None
            time.sleep(0.2)
        yield "http://127.0.0.1:8766/simple/", token
    finally:
        process.terminate()
        process.wait(30)


def test_consumers_need_nothing_but_the_index(index, mirror, tmp_path, smi):
    (wheel,) = index.glob("*.whl")
    wanted = "cuvec==" + wheel.name.split("-")[1]  # the local version says for which GPUs
    with served(index, mirror[0]) as (url, token):
        secret = tmp_path / "netrc"
        secret.write_text(f"machine 127.0.0.1 login __token__ password {token}\n")
        common = ["--build-arg", f"RUNTIME_IMAGE={SLIM}", "--secret", f"id=netrc,src={secret}"]
        example = ["--build-arg", f"INDEX_URL={url}", "--build-arg", f"REQUIREMENT={wanted}"]
        sha256 = must("sha256sum", wheel).split()[0]
        consumer = ROOT / "examples/consumer"
        must(
            *BUILD,
            *common,
            *example,
            "--build-arg",
            f"SHA256={sha256}",
            "--tag",
            "localhost/wheelsmith-test:c",
            consumer,
        )
        refused = run(*BUILD, *common, *example, "--build-arg", f"SHA256={'0' * 64}", consumer)
        assert refused.returncode != 0
        assert "DO NOT MATCH THE HASHES" in refused.stdout + refused.stderr

        command = ["image", "render", wanted, "--index-url", url, "--index", index]
        command += [
            "--gpu",
            "RTX 4090,A40",
            "--preflight",
            "--base",
            SLIM,
            "--python",
            "3.13",
            "--output",
            tmp_path / "image",
        ]
        assert wheelsmith(*command).returncode == 0
        build = ["image", "build", tmp_path / "image", "--engine", "podman", "--network", "host"]
        done = wheelsmith(*build, "--tag", "localhost/wheelsmith-test:r", "--secret", f"netrc={secret}")
        assert done.returncode == 0, done.stderr[-4000:]
    ask = ("python3", "-c", "import cuvec; print(cuvec.__version__)")
    assert start("localhost/wheelsmith-test:c", *ask).stdout == "6.0.1\n"
    assert start("localhost/wheelsmith-test:r", *ask).returncode == 54
    assert start("localhost/wheelsmith-test:r", *ask, options=smi("580.65.06")).stdout == "6.0.1\n"
    assert token not in must("podman", "history", "--no-trunc", "--format", "json", "localhost/wheelsmith-test:r")


def test_the_runpod_image_answers_jobs(runtime, mirror, tmp_path):
    from tests.container.test_runpod_handler import VLLM

    tag = "localhost/wheelsmith-test:runpod"
    must(*BUILD, *arguments(mirror[0]), "--target", "runpod", "--tag", tag, ROOT)
    (tmp_path / "vllm").write_text(VLLM.format(python="/usr/bin/python3"))
    (tmp_path / "vllm").chmod(0o755)
    options = ("--volume", f"{tmp_path}/vllm:/usr/local/bin/vllm:ro", "--env", "MODEL=org/model")
    job = json.dumps({"input": {"body": {"messages": ["hello"]}}})
    command = ("python3", "/opt/runpod/handler.py", "--test_input", job)
    done = start(tag, *command, options=(*options, "--env", "WHEELSMITH_PREFLIGHT=warn"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'echo': {'messages': ['hello']}" in done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="starts dockerd, as only root can")
def test_a_real_docker_daemon_builds_and_runs_it(mirror, netrc, tmp_path, monkeypatch, storage):
    if run("dockerd", "--version").returncode != 0:
        pytest.skip("no dockerd: apt-get install docker.io")
    for address in dockerd(tmp_path):
        monkeypatch.setenv("DOCKER_HOST", address)
        monkeypatch.setenv("PATH", f"/usr/bin:{os.environ['PATH']}")  # the client that came with the daemon
        for image in (DEVEL, SLIM):
            with subprocess.Popen(["podman", "save", image], stdout=subprocess.PIPE) as saved:
                must("docker", "load", stdin=saved.stdout)
        build: list[str | Path] = [
            "image",
            "build",
            ROOT,
            "--engine",
            "docker",
            "--network",
            "host",
            "--target",
            "runtime",
            "--tag",
            "t:1",
        ]
        done = wheelsmith(*build, *arguments(mirror[0]), "--secret", f"netrc={netrc}")
        assert done.returncode == 0, done.stderr[-4000:]
        history = must("docker", "history", "--no-trunc", "t:1") + must("docker", "image", "inspect", "t:1")
        assert TOKEN not in done.stdout + done.stderr + history
        assert found_in(TOKEN, tmp_path / "data", tmp_path / "log") == []
        off = ["--env", "WHEELSMITH_PREFLIGHT=off"]
        show = ["python3", "-c", "import cuvec; print(cuvec.__version__)"]
        assert must("docker", "run", "--rm", "--network", "none", *off, "t:1", *show) == "6.0.1\n"
        done = wheelsmith(*inside(tmp_path / "toy", "docker", mirror[0]))
        assert done.returncode == 0, done.stderr[-4000:]
        assert "sm_86" in done.stdout
