"""The command lines of docker, podman and buildah for what we want of them: build, run, pull, push, look.

In: an `Engine` and frozen requests. Out: lists of arguments. Pure. The client keeps its caller's
environment, where it finds images, logins and contexts. No variable for a container is in a command line, where every
process could read it, nor set with the engine, whose `inspect` shows it: `wheelsmith.container.inside` sets them.
Fails with `EngineError` for a path that no engine can mount.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wheelsmith.container.engines import Engine
from wheelsmith.errors import EngineError

#: `default`: the engine's own; `host`: the machine's, where an index listens on loopback; `none`.
Network = Literal["default", "host", "none"]
_SAYS = "{{.Os}}/{{.Architecture}} {{.RootFS.Layers}} {{.Config.Env}}"
_BUILDAH_SAYS = "{{.OCIv1.OS}}/{{.OCIv1.Architecture}} {{.OCIv1.RootFS.DiffIDs}} {{.OCIv1.Config.Env}}"


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
        inherited: variables of the client that RUN sees and no image keeps, such as proxies.
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
    inherited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerRun:
    """One program to run in a container that is removed afterwards.

    Attributes:
        image: what it starts from.
        name: of the container.
        command: program and arguments.
        directory: where it starts.
        mounts: directories and files of the machine, at their own paths; whether they can be written.
        network: which it sees.
        user: `uid:gid` of the caller.
    """

    image: str
    name: str
    command: tuple[str, ...]
    directory: Path
    mounts: tuple[tuple[Path, bool], ...]
    network: Network
    user: str


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
        # podman and buildah pass proxies on by themselves.
        for name in build.inherited:
            command += ["--build-arg", name]
        if build.epoch is not None:
            command += ["--build-arg", f"SOURCE_DATE_EPOCH={build.epoch}"]
    else:
        # Layers make the second build fast; docker's format keeps SHELL and HEALTHCHECK. A build that fails leaves
        # buildah's working container, and in its directory the secrets, without --force-rm.
        command += ["--layers", "--force-rm", "--format", "docker"]
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
    network = [] if run.network == "default" else ["--network", run.network]
    mounts = [word for path, writable in run.mounts for word in _mount(path, writable=writable)]
    # label=disable: SELinux would refuse the mounts, and relabelling a user's folders is not ours to do.
    unlabelled, no_proxies = ["--security-opt", "label=disable"], ["--http-proxy=false"]
    if engine.name == "buildah":
        return (
            ["buildah", "from", "--name", run.name, *unlabelled, *no_proxies, run.image],
            [
                *("buildah", "run", "--user", user, "--workingdir", str(run.directory)),
                *(*network, *mounts, run.name, "--", *run.command),
            ],
            ["buildah", "rm", run.name],
        )
    options = ["--rm", "--name", run.name, *unlabelled, "--user", user, "--workdir", str(run.directory)]
    options += [*(no_proxies if engine.name == "podman" else ()), *network, *mounts]
    return None, [engine.name, "run", *options, run.image, *run.command], [engine.name, "rm", "--force", run.name]


def _mount(path: Path, *, writable: bool) -> list[str]:
    """A path of this machine at the same place: colons end it in one way of writing, commas in the other.

    Raises:
        EngineError: it has both.
    """
    text = str(path)
    if ":" not in text:
        return ["--volume", f"{text}:{text}:{'rw' if writable else 'ro'}"]
    if "," in text or '"' in text:
        raise EngineError(
            f"{text!r} cannot be mounted into a container: it has a colon, and a comma or a quotation mark.",
            "Rename it, or choose another place.",
        )
    return ["--mount", f"type=bind,source={text},target={text}{'' if writable else ',readonly'}"]


def describe_command(engine: Engine, image: str) -> list[str]:
    """Prints `os/architecture [layers] [variables]` if the engine holds the image; else it fails.

    Layers are digests of what they hold, uncompressed: the same from every engine and store, unlike an image's id.
    """
    if engine.name == "buildah":
        return ["buildah", "inspect", "--type", "image", "--format", _BUILDAH_SAYS, image]
    return [engine.name, "image", "inspect", "--format", _SAYS, image]


def storage_command(engine: Engine) -> list[str]:
    """Prints the directory where the engine keeps images and containers."""
    says = {"docker": "{{.DockerRootDir}}", "podman": "{{.Store.GraphRoot}}", "buildah": "{{.store.GraphRoot}}"}
    return [engine.name, "info", "--format", says[engine.name]]


def pull_command(engine: Engine, image: str) -> list[str]:
    """Fetch an image from the registry that its name says."""
    return [engine.name, "pull", image]


def push_command(engine: Engine, tag: str) -> list[str]:
    """Push to the registry that the tag names, with the login that the engine keeps."""
    return [engine.name, "push", tag]
