"""Which engine is chosen, and the command lines that it gets; nothing is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import wheelsmith
from wheelsmith.container.baseimages import devel_image
from wheelsmith.container.building import InsideBuild, build_inside
from wheelsmith.container.command import ContainerRun, ImageBuild, build_command, run_commands
from wheelsmith.container.engines import Engine, check_cache_mounts, find_engine
from wheelsmith.container.process import Answer
from wheelsmith.container.settings import Carried
from wheelsmith.errors import EngineError, EngineNotFoundError, ToolkitError, UsageError
from wheelsmith.gpu.facts import known_toolkits

DOCKER = Engine("docker", "28.2.2", rootless=False)
PODMAN = Engine("podman", "4.3.1", rootless=True)
BUILDAH = Engine("buildah", "1.28.2", rootless=False)

ABSENT = Answer(127, "", "not installed")
NO_DAEMON = Answer(1, " []", "Client:\n\nCannot connect to the Docker daemon at unix:///var/run/docker.sock.")


BUILDX = Answer(0, "github.com/docker/buildx 0.13.1", "")
LOCAL = Answer(0, "unix:///var/run/docker.sock", "")


def answers(buildx: Answer = BUILDX, client: str = "28.2.2", context: Answer = LOCAL, **by_program: Answer):
    """What the engines of a machine say; of docker, too, what its client says of itself."""
    docker = {"buildx": buildx, "--version": Answer(0, f"Docker version {client}, build 1", ""), "context": context}
    return lambda command: (
        docker.get(command[1], by_program[command[0]]) if command[0] == "docker" else (by_program[command[0]])
    )


@pytest.mark.parametrize(
    ("choice", "machine", "expected", "looked"),
    [
        ("auto", {"docker": Answer(0, "28.2.2 [name=seccomp]", "")}, DOCKER, ["docker 28.2.2"]),
        (
            "auto",
            {"docker": NO_DAEMON, "podman": Answer(0, "4.3.1 rootless=true", "")},
            PODMAN,
            [
                "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
                "podman 4.3.1 (rootless)",
            ],
        ),
        ("docker", {"docker": Answer(0, "26.1.0 [name=rootless]", "")}, Engine("docker", "26.1.0", True), None),
        ("podman", {"podman": Answer(0, "5.4.0 rootless=false", "")}, Engine("podman", "5.4.0", False), None),
    ],
)
def test_the_first_engine_that_answers_is_taken_and_the_others_are_explained(choice, machine, expected, looked):
    engine, seen = find_engine(choice, answers(**machine))
    assert engine == expected
    assert looked is None or [str(item) for item in seen] == looked


def test_without_an_engine_the_error_says_why_for_each():
    with pytest.raises(EngineNotFoundError) as caught:
        find_engine("auto", answers(docker=NO_DAEMON, podman=ABSENT, buildah=ABSENT))
    assert caught.value.exit_code == 34
    assert caught.value.detail.splitlines() == [
        "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
        "podman: not installed",
        "buildah: not installed",
    ]
    with pytest.raises(EngineNotFoundError, match=r"podman does not work on this machine: not installed\."):
        find_engine("podman", answers(podman=ABSENT))


OLD_CLIENT = Answer(1, "", 'template: :1:2: executing "" at <.ServerVersion>: reflect: indirection through nil pointer')
REFUSED = Answer(1, "", "permission denied while trying to connect to the Docker daemon socket at unix:///s: Get x")


@pytest.mark.parametrize(
    ("says", "remedy"),
    [
        (
            Answer(1, "", "Cannot connect to the Docker daemon at unix:///s. Is it running?"),
            "Start it (`systemctl start",
        ),
        (REFUSED, "Join the group docker (`sudo usermod -aG docker $USER`"),
    ],
)
def test_a_docker_that_does_not_answer_says_why_and_what_to_do(says, remedy):
    def run(command):
        return says if command[:2] == ("docker", "version") else OLD_CLIENT

    with pytest.raises(EngineNotFoundError) as caught:
        find_engine("docker", run)
    assert says.err.rstrip(".") in caught.value.cause
    assert caught.value.remedy.startswith(remedy)


def test_a_home_that_podman_cannot_write_is_said():
    says = Answer(125, "", "Error: creating runtime static files directory: mkdir /ro/.local: read-only file system")
    with pytest.raises(EngineNotFoundError) as caught:
        find_engine("podman", answers(podman=says))
    assert caught.value.remedy.startswith("Set HOME to a directory that it may write to")


def test_a_daemon_with_a_network_of_its_own_is_refused_what_listens_on_loopback():
    engine = Engine("docker", "20.10.24", rootless=True, apart=True)
    carried = Carried({}, urls=("http://me:secret@127.0.0.1:8080/simple/",))
    with pytest.raises(EngineError, match=r"not to be reached \(127\.0\.0\.1:8080\)"):
        build_inside(engine, InsideBuild("i:1", "", (), (Path("/nowhere"),), carried=carried))


NO_BUILDX = Answer(1, "", "docker: unknown command: docker buildx")


def test_a_docker_that_cannot_build_is_passed_over():
    machine: dict[str, Any] = {"docker": Answer(0, "26.1.5 []", ""), "podman": Answer(0, "5.4.0 rootless=false", "")}
    engine, looked = find_engine("auto", answers(NO_BUILDX, "26.1.5+dfsg1", **machine))
    assert str(looked[0]).startswith("docker: its client has no buildx: install docker-buildx")
    assert engine.name == "podman"
    # To push and to look it serves; and up to 22 BuildKit is part of docker itself.
    assert find_engine("docker", answers(NO_BUILDX, "26.1.5", **machine), building=False)[0].name == "docker"
    assert find_engine("docker", answers(NO_BUILDX, "20.10.24+dfsg1", **machine))[0].version == "26.1.5"


def test_a_daemon_on_another_machine_is_told_apart(monkeypatch):
    machine: dict[str, Any] = {"docker": Answer(0, "28.2.2 []", "")}
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    away = Answer(0, "ssh://me@builder.example", "")
    assert find_engine("docker", answers(**machine))[0].elsewhere == ""
    assert find_engine("docker", answers(context=away, **machine))[0].elsewhere == "ssh://me@builder.example"
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    assert find_engine("docker", answers(context=away, **machine))[0].elsewhere == ""
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.7:2376")
    engine = find_engine("docker", answers(**machine))[0]
    with pytest.raises(EngineError, match=r"docker 28\.2\.2 runs on another machine \(tcp://10\.0\.0\.7:2376\)"):
        build_inside(engine, InsideBuild("i:1", "", (), (Path("/nowhere"),)))


RUN = ContainerRun(
    image="localhost/b:1",
    name="w-7",
    command=("wheelsmith", "build", "toy"),
    directory=Path("/home/me"),
    mounts=((Path("/home/me/.netrc"), False), (Path("/home/me/dist"), True)),
    network="host",
    user="1000:1001",
)


def test_docker_runs_as_the_caller():
    create, start, remove = run_commands(DOCKER, RUN)
    assert create is None
    assert start == [
        *("docker", "run", "--rm", "--name", "w-7", "--security-opt", "label=disable", "--user", "1000:1001"),
        *("--workdir", "/home/me", "--network", "host"),
        *("--volume", "/home/me/.netrc:/home/me/.netrc:ro", "--volume", "/home/me/dist:/home/me/dist:rw"),
        *("localhost/b:1", "wheelsmith", "build", "toy"),
    ]
    assert remove == ["docker", "rm", "--force", "w-7"]


def test_rootless_podman_runs_as_root_inside_which_is_the_caller_outside():
    _, start, _ = run_commands(PODMAN, RUN)
    assert start[start.index("--user") + 1] == "0:0"
    assert "--http-proxy=false" in start  # else `podman inspect` shows the proxy's password


def test_buildah_needs_three_commands():
    create, start, remove = run_commands(BUILDAH, RUN)
    unlabelled = ["--security-opt", "label=disable", "--http-proxy=false"]
    assert create == ["buildah", "from", "--name", "w-7", *unlabelled, "localhost/b:1"]
    assert start == [
        *("buildah", "run", "--user", "1000:1001", "--workingdir", "/home/me", "--network", "host"),
        *("--volume", "/home/me/.netrc:/home/me/.netrc:ro", "--volume", "/home/me/dist:/home/me/dist:rw"),
        *("w-7", "--", "wheelsmith", "build", "toy"),
    ]
    assert remove == ["buildah", "rm", "w-7"]


@pytest.mark.parametrize("engine", [DOCKER, PODMAN, BUILDAH])
def test_paths_with_spaces_colons_and_commas_are_mounted_and_both_together_refused(engine):
    mounts = ((Path("/a b,c"), True), (Path("/a:b"), False), (Path("/a:c"), True))
    start = run_commands(engine, replace(RUN, mounts=mounts))[1]
    assert start[start.index("--volume") + 1] == "/a b,c:/a b,c:rw"
    at = [index for index, word in enumerate(start) if word == "--mount"]
    assert start[at[0] + 1] == "type=bind,source=/a:b,target=/a:b,readonly"
    assert start[at[1] + 1] == "type=bind,source=/a:c,target=/a:c"
    with pytest.raises(EngineError, match=r"'/a:b,c' cannot be mounted into a container"):
        run_commands(engine, replace(RUN, mounts=((Path("/a:b,c"), True),)))


def test_building_an_image_reproducibly_differs_by_engine():
    build = ImageBuild(
        Path("ctx/Dockerfile"),
        Path("ctx"),
        "me/x:1",
        target="runtime",
        arguments={"B": "2", "A": "1"},
        secrets={"netrc": Path("/n")},
        epoch=1577836800,
        inherited=("HTTPS_PROXY",),
    )
    common = ["build", "--file", "ctx/Dockerfile", "--tag", "me/x:1", "--target", "runtime"]
    common += ["--build-arg", "A=1", "--build-arg", "B=2", "--secret", "id=netrc,src=/n"]
    docker = ["--build-arg", "HTTPS_PROXY", "--build-arg", "SOURCE_DATE_EPOCH=1577836800", "ctx"]
    assert build_command(DOCKER, build) == ["docker", *common, *docker]
    layered = ["--layers", "--force-rm", "--format", "docker", "--timestamp", "1577836800", "ctx"]
    assert build_command(PODMAN, build) == ["podman", *common, *layered]
    assert build_command(BUILDAH, build) == ["buildah", *common, *layered]


def test_devel_images_are_pinned_by_tag():
    assert devel_image("12.8") == "docker.io/nvidia/cuda:12.8.1-devel-ubuntu24.04"
    for cuda in known_toolkits():
        if tuple(map(int, cuda.split("."))) >= (12, 6):
            assert devel_image(cuda).startswith(f"docker.io/nvidia/cuda:{cuda}.")
    with pytest.raises(EngineError, match=r"CUDA 12\.4"):
        devel_image("12.4")


@pytest.fixture
def bare_machine(monkeypatch, tmp_path):
    """No toolkit, no engine: an empty PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setattr("wheelsmith.toolchain.cuda.USUAL_PLACES", ())


def test_auto_stays_here_where_the_toolkit_can_be_had(bare_machine):
    made = wheelsmith.plan("cuvec==6.0.1", cuda="13.0")
    place = wheelsmith.choose_place(made)
    assert (place.engine, place.why) == (None, "CUDA 13.0 can be assembled from NVIDIA's wheels")


def test_auto_without_toolkit_and_engine_is_the_toolkits_error_with_all_choices(bare_machine):
    with pytest.raises(ToolkitError) as caught:
        wheelsmith.choose_place(wheelsmith.plan("cuvec==6.0.1", cuda="12.8"))
    assert "CUDA 12.8 is not installed" in caught.value.cause
    assert "--cuda 13.0, or --cuda 13.1" in caught.value.remedy
    assert caught.value.remedy.endswith("or docker, podman or buildah, in which it builds by itself.")
    assert "podman: not installed" in caught.value.detail


def test_auto_goes_into_the_devel_image_and_says_why(bare_machine, tmp_path):
    podman = tmp_path / "podman"
    podman.write_text('#!/bin/sh\necho "5.4.0 rootless=true"\n')
    podman.chmod(0o755)
    place = wheelsmith.choose_place(wheelsmith.plan("cuvec==6.0.1", cuda="12.8"))
    assert str(place.engine) == "podman 5.4.0 (rootless)"
    assert place.image == "docker.io/nvidia/cuda:12.8.1-devel-ubuntu24.04"
    assert place.why.startswith("CUDA 12.8 is not installed")


def test_the_packages_of_this_interpreter_are_in_no_container():
    with pytest.raises(UsageError, match="--env current"):
        wheelsmith.choose_place(wheelsmith.plan("cuvec==6.0.1", environment="current"), container="docker")


def test_cache_mounts_that_another_user_has_made_are_refused(tmp_path, monkeypatch):
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM x\nRUN --mount=type=cache,target=/c true\n")
    check_cache_mounts(PODMAN, dockerfile, {"TMPDIR": str(tmp_path)})  # nobody's yet
    (tmp_path / "buildah-cache").mkdir()
    check_cache_mounts(PODMAN, dockerfile, {"TMPDIR": str(tmp_path)})  # ours
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(EngineError, match=r"podman 4\.3\.1 \(rootless\) keeps caches .* another user") as caught:
        check_cache_mounts(PODMAN, dockerfile, {"TMPDIR": str(tmp_path)})
    assert "TMPDIR=DIR" in caught.value.remedy
    check_cache_mounts(replace(PODMAN, version="4.4.0"), dockerfile, {"TMPDIR": str(tmp_path)})
    check_cache_mounts(DOCKER, dockerfile, {"TMPDIR": str(tmp_path)})
    dockerfile.write_text("FROM x\n")
    check_cache_mounts(PODMAN, dockerfile, {"TMPDIR": str(tmp_path)})
