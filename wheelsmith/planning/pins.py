"""Which versions a lock pins, and whether it serves a set of requirements.

In: the text of a lock (pip's requirements format, with hashes) and a Python version. Out: names and versions. Pure; it
cannot fail on a lock that uv or pip-tools wrote.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


def locked_pins(lock: str, python: str) -> Iterator[tuple[str, str]]:
    """Name and version of each requirement of a lock (pip's requirements format) that this Python needs."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for line in lock.splitlines():
        text = line.split("#")[0].partition(" --hash")[0].rstrip("\\ \t")
        if not text or text[0].isspace() or text.startswith("-"):
            continue
        parsed = Requirement(text)
        if parsed.marker is None or Marker(str(parsed.marker)).evaluate(environment):
            yield canonicalize_name(parsed.name), str(parsed.specifier).removeprefix("==")


def usable_lock(lock: str | None, requires: tuple[str, ...], python: str) -> tuple[str | None, str | None]:
    """The recipe's lock if it satisfies every requirement for this target; else None and why."""
    if lock is None:
        return (
            None,
            "the recipe ships no lock: build requirements are resolved, and locked, at the first build.",
        )
    pins = dict(locked_pins(lock, python))
    for text in requires:
        requirement = Requirement(text)
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None or not requirement.specifier.contains(Version(pin), prereleases=True):
            return None, (
                f"the recipe's lock does not hold {text} for Python {python}: build requirements are resolved, and"
                " locked, at the first build."
            )
    return lock, None
