"""Which container engine works here: docker, podman or buildah.

In: a choice (`auto` or a name) and something that runs commands. Out: an `Engine`, with why the others were passed
over. Fails with `EngineNotFoundError`. An engine counts only if it answers: a docker client without a daemon is none.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from wheelsmith.container.process import ask
from wheelsmith.errors import EngineNotFoundError

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


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers.

    Attributes:
        name: its program.
        version: of its server, if it has one.
        rootless: root inside a container is the caller outside.
    """

    name: EngineName
    version: str
    rootless: bool

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


def look_for(name: EngineName, run: Ask = ask) -> Looked:
    """Ask one engine whether it works."""
    answer = run(_QUESTIONS[name])
    found = _VERSION.search(answer.out)
    if answer.code != 0 or found is None:
        return Looked(name, None, _phrase(answer.err or answer.out) or f"no answer (exit code {answer.code})")
    rootless = {
        "docker": "name=rootless" in answer.out,
        "podman": "rootless=true" in answer.out,
        "buildah": os.geteuid() != 0,
    }[name]
    return Looked(name, Engine(name, found[0], rootless))


def find_engine(choice: str = "auto", run: Ask = ask) -> tuple[Engine, tuple[Looked, ...]]:
    """The engine of that name, or for `auto` the first that works; and all that were asked.

    Raises:
        EngineNotFoundError: there is none.
    """
    names = ENGINES if choice == "auto" else tuple(name for name in ENGINES if name == choice)
    looked: list[Looked] = []
    for name in names:
        looked.append(look_for(name, run))
        if (engine := looked[-1].engine) is not None:
            return engine, tuple(looked)
    if choice == "auto":
        raise EngineNotFoundError(
            "No container engine works on this machine.",
            f"Install and start one of {', '.join(ENGINES)}; podman and buildah need no daemon.",
            detail="\n".join(map(str, looked)),
        )
    raise EngineNotFoundError(
        f"The container engine {choice} does not work on this machine.",
        f"Start it, or choose another: {', '.join(name for name in ENGINES if name != choice)}.",
        detail="\n".join(map(str, looked)),
    )


def _phrase(text: str) -> str:
    """The last line that says something, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
