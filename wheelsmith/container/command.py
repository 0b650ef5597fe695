"""The command lines of docker, podman and buildah for the four things we want of them: build, run, push, look.

In: an `Engine` and frozen requests. Out: lists of arguments. Pure; nothing fails. The client keeps its caller's
environment, where it finds images, logins and contexts: variables for the container are values in its command line.
Only those that may hold credentials are not, as every process could read them there: docker and podman take them from
the environment (`--env NAME`); buildah up to 1.28 knows `--env NAME=VALUE` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wheelsmith.container.engines import Engine

#: `default`: the engine's own; `host`: the machine's, where an index listens on loopback; `none`.
Network = Literal["default", "host", "none"]


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """One image to build.

    Attributes:
        dockerfile: its recipe.
        context: directory that COPY copies from.
        tag: name of the result; empty: none.
        target: stage; empty: the last one.
        arguments: build arguments. Not for secrets: an image's history shows them.
        secrets: id and file of each secret.
        network: for RUN.
        epoch: seconds since 1970 for all files and for the image (SOURCE_DATE_EPOCH); None: as they are.
        output: directory that the files of the image are written to; None: an image is kept.
    """

    dockerfile: Path
    context: Path
    tag: str = ""
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    network: Network = "default"
    epoch: int | None = None
    output: Path | None = None


@dataclass(frozen=True, slots=True)
class ContainerRun:
    """One program to run in a container that is removed afterwards.

    Attributes:
        image: what it starts from.
        name: of the container.
        command: program and arguments.
        directory: where it starts.
        mounts: directories and files of the machine, at their own paths; whether they can be written.
        variables: names and values.
        private: the same, of those that may hold credentials; they must be in the client's environment.
        network: which it sees.
        user: `uid:gid` of the caller.
    """

    image: str
    name: str
    command: tuple[str, ...]
    directory: Path
    mounts: tuple[tuple[Path, bool], ...]
    variables: Mapping[str, str]
    network: Network
    user: str
    private: Mapping[str, str] = field(default_factory=dict)


def build_command(engine: Engine, build: ImageBuild) -> list[str]:
    """`docker build`, `podman build` or `buildah build`."""
    command = [engine.name, "build", "--file", str(build.dockerfile)]
    if build.tag:
        command += ["--tag", build.tag]
    if build.target:
        command += ["--target", build.target]
    if build.network != "default":
        command += ["--network", build.network]
    for name, value in sorted(build.arguments.items()):
        command += ["--build-arg", f"{name}={value}"]
    for name, path in sorted(build.secrets.items()):
        command += ["--secret", f"id={name},src={path}"]
    if build.output is not None:
        command += ["--output", f"type=local,dest={build.output}"]
    if engine.name == "docker":
        if build.epoch is not None:
            command += ["--build-arg", f"SOURCE_DATE_EPOCH={build.epoch}"]
    else:
        # Layers make the second build fast; docker's format keeps SHELL and HEALTHCHECK.
        command += ["--layers", "--format", "docker"]
        if build.epoch is not None:
            command += ["--timestamp", str(build.epoch)]
    return [*command, str(build.context)]


def build_variables(engine: Engine) -> dict[str, str]:
    """Environment of the client: docker before version 23 needs to be asked for BuildKit."""
    return {"DOCKER_BUILDKIT": "1"} if engine.name == "docker" else {}


def run_commands(engine: Engine, run: ContainerRun) -> tuple[list[str] | None, list[str], list[str]]:
    """What makes the container (None: the second does), what runs the program, and what removes what is left.

    Files that the program writes belong to the caller: as the caller's own user, or, in a rootless engine, as root
    inside, which is the caller outside.
    """
    user = "0:0" if engine.rootless else run.user
    if engine.name == "buildah":
        options = ["--user", user, "--workingdir", str(run.directory)]
        options += [] if run.network == "default" else ["--network", run.network]
        for path, writable in run.mounts:
            options += ["--volume", f"{path}:{path}:{'rw' if writable else 'ro'}"]
        for name, value in sorted({**run.variables, **run.private}.items()):
            options += ["--env", f"{name}={value}"]
        return (
            ["buildah", "from", "--name", run.name, run.image],
            ["buildah", "run", *options, run.name, "--", *run.command],
            ["buildah", "rm", run.name],
        )
    # label=disable: SELinux would refuse the mounts, and relabelling a user's folders is not ours to do.
    options = ["--rm", "--name", run.name, "--security-opt", "label=disable"]
    options += ["--user", user, "--workdir", str(run.directory)]
    options += [] if run.network == "default" else ["--network", run.network]
    for path, writable in run.mounts:
        options += ["--volume", f"{path}:{path}:{'rw' if writable else 'ro'}"]
    for name, value in sorted(run.variables.items()):
        options += ["--env", f"{name}={value}"]
    for name in sorted(run.private):
        options += ["--env", name]
    return None, [engine.name, "run", *options, run.image, *run.command], [engine.name, "rm", "--force", run.name]


def exists_command(engine: Engine, image: str) -> list[str]:
    """Exit code 0 if the engine holds the image."""
    kind = ["inspect", "--type", "image"] if engine.name == "buildah" else ["image", "inspect"]
    return [engine.name, *kind, image]


def push_command(engine: Engine, tag: str) -> list[str]:
    """Push to the registry that the tag names, with the login that the engine keeps."""
    return [engine.name, "push", tag]
