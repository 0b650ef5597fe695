"""Which container engine works here: docker, podman or buildah.

In: a choice (`auto` or a name) and something that runs commands. Out: an `Engine`, with why the others were passed
over. Fails with `EngineNotFoundError`. An engine counts only if it answers: a docker client without a daemon is none,
and one without BuildKit builds nothing here. The daemon is the client's choice: DOCKER_HOST, a context, CONTAINER_HOST.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit

from wheelsmith.container.process import NOT_FOUND, ask
from wheelsmith.errors import EngineError, EngineNotFoundError

if TYPE_CHECKING:
    from wheelsmith.container.process import Ask

EngineName = Literal["docker", "podman", "buildah"]
#: In the order in which `auto` looks.
ENGINES: tuple[EngineName, ...] = get_args(EngineName)

_QUESTIONS: dict[EngineName, tuple[str, ...]] = {
    "docker": ("docker", "info", "--format", "{{.ServerVersion}} {{.SecurityOptions}}"),
    "podman": ("podman", "info", "--format", "{{.Version.Version}} rootless={{.Host.Security.Rootless}}"),
    "buildah": ("buildah", "--version"),
}
_VERSION = re.compile(r"\d+(?:\.\d+)+\S*")
#: Since this version of docker's client BuildKit is a plug-in of it (Docker Engine release notes, 23.0).
_BUILDX_APART = 23
#: What to do about what an engine says when it does not work; the first that fits.
_REMEDIES = (
    ("permission denied .*[Dd]ocker", "Join the group docker (`sudo usermod -aG docker $USER`, then log in anew)"),
    ("Cannot connect to the Docker", "Start it (`systemctl start docker`), or name its address (docker context use)"),
    ("mkdir .*(?:denied|read-only)|read-only file system", "Set HOME to a directory that it may write to"),
)
_CACHE_APART = {"podman": (4, 4), "buildah": (1, 29)}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers.

    Attributes:
        name: its program.
        version: of its server, if it has one.
        rootless: root inside a container is the caller outside.
        elsewhere: address of its server, if that is on another machine: nothing of this one can be mounted there.
        apart: what it calls the host's network is not this process's, as of most rootless Docker daemons.
    """

    name: EngineName
    version: str
    rootless: bool
    elsewhere: str = ""
    apart: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.version}{' (rootless)' if self.rootless else ''}"


@dataclass(frozen=True, slots=True)
class Looked:
    """What became of looking for one engine: itself, or one phrase why not."""

    name: EngineName
    engine: Engine | None
    why_not: str = ""

    def __str__(self) -> str:
        return str(self.engine) if self.engine else f"{self.name}: {self.why_not}"


def look_for(name: EngineName, run: Ask = ask, *, building: bool = True) -> Looked:
    """Ask one engine whether it works; `building`: whether it can build images, too."""
    answer = run(_QUESTIONS[name])
    found = _VERSION.search(answer.out)
    if answer.code != 0 or found is None:
        if name == "docker" and answer.code != NOT_FOUND:  # clients up to 20.10 say of themselves that they failed
            answer = run(("docker", "version", "--format", "{{.Server.Version}}"))
        return Looked(name, None, _phrase(answer.err or answer.out) or f"no answer (exit code {answer.code})")
    if name == "docker" and building and (why := _no_buildkit(run)):
        return Looked(name, None, why)
    rootless = {
        "docker": "name=rootless" in answer.out,
        "podman": "rootless=true" in answer.out,
        "buildah": os.geteuid() != 0,
    }[name]
    address = _address(name, run)
    parts = urlsplit(address)
    elsewhere = address if parts.hostname and parts.hostname not in _LOOPBACK else ""
    apart = name == "docker" and parts.scheme == "unix" and _is_apart(parts.path)
    return Looked(name, Engine(name, found[0], rootless, elsewhere, apart))


def _no_buildkit(run: Ask) -> str:
    """Why docker cannot build what needs BuildKit (mounts of secrets and caches); empty: it can."""
    if run(("docker", "buildx", "version")).code == 0:
        return ""
    client = _VERSION.search(run(("docker", "--version")).out)
    if client is not None and int(client[0].partition(".")[0]) < _BUILDX_APART:
        return ""
    return (
        "its client has no buildx: install docker-buildx (Debian, Ubuntu) or docker-buildx-plugin (Docker's packages)"
    )


def _address(name: EngineName, run: Ask) -> str:
    """Of its server; empty: it has none, or does not tell."""
    address = ""
    if name == "docker":
        address = run(("docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")).out
        address = os.environ.get("DOCKER_HOST") or address
    elif name == "podman":
        address = os.environ.get("CONTAINER_HOST", "")
    return address.strip()


def _is_apart(path: str) -> bool:
    """Whether who listens on that socket has another network than we; False, where the kernel does not tell."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(path)
            server, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return Path(f"/proc/{server}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    except OSError:
        return False


def find_engine(choice: str = "auto", run: Ask = ask, *, building: bool = True) -> tuple[Engine, tuple[Looked, ...]]:
    """The engine of that name, or for `auto` the first that works; and all that were asked.

    `building`: whether it must be able to build images (pushing and looking need less).

    Raises:
        EngineNotFoundError: there is none.
    """
    names = ENGINES if choice == "auto" else tuple(name for name in ENGINES if name == choice)
    looked: list[Looked] = []
    for name in names:
        looked.append(look_for(name, run, building=building))
        if (engine := looked[-1].engine) is not None:
            return engine, tuple(looked)
    if choice == "auto":
        raise EngineNotFoundError(
            "No container engine works on this machine.",
            f"Install and start one of {', '.join(ENGINES)}; podman and buildah need no daemon.",
            detail="\n".join(map(str, looked)),
        )
    raise EngineNotFoundError(
        f"The container engine {choice} does not work on this machine: {looked[0].why_not.rstrip('.')}.",
        f"{_remedy(looked[0].why_not)}, or choose another: {', '.join(name for name in ENGINES if name != choice)}.",
    )


def check_cache_mounts(engine: Engine, dockerfile: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a build whose cache mounts another user has made, who could put anything into them.

    Up to buildah 1.28 and podman 4.3 all users of a machine share one directory of that name in TMPDIR, whose first one
    owns it (since then, a user's id is in the name).

    Args:
        engine: who is to build.
        dockerfile: what; one that cannot be read is the engine's to refuse.
        environment: of the engine.

    Raises:
        EngineError: see above.
    """
    shared = Path(environment.get("TMPDIR") or "/var/tmp", "buildah-cache")  # noqa: S108 - where buildah looks
    if engine.name == "docker" or _two(engine.version) >= _CACHE_APART[engine.name]:
        return
    with suppress(OSError):
        if shared.stat().st_uid != os.geteuid() and b"type=cache" in dockerfile.read_bytes():
            raise EngineError(
                f"{engine} keeps caches of builds in {shared}, which another user of this machine owns.",
                "Give it a place of your own: TMPDIR=DIR in front of the command, with a directory of yours.",
            )


def _two(version: str) -> tuple[int, int]:
    major, minor, *_ = map(int, re.findall(r"\d+", version))
    return major, minor


def _remedy(why_not: str) -> str:
    return next((text for pattern, text in _REMEDIES if re.search(pattern, why_not)), "Put that right")


def _phrase(text: str) -> str:
    """The last line that says something, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
