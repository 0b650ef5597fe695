"""The commands that a page offers for copying.

In: what a wheel requires, its tags, and the names that this index owns. Out: shell commands: first what the wheel needs
from elsewhere, by the usual way, then the wheel, from this index and from nowhere else. Nothing is printed that cannot
apply to the wheel's Python and platform, and no URL but http and https: a wheel's author chose it, and people run it.
Nothing can fail: what cannot be read is left out.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.tags import Tag

_PYTHONS = ("2.7", *(f"3.{minor}" for minor in range(6, 21)))
_SYSTEMS = {
    "linux": ("linux", "Linux", "posix"),
    "win": ("win32", "Windows", "nt"),
    "macosx": ("darwin", "Darwin", "posix"),
}
_MACHINES = {"x86_64": "x86_64", "amd64": "AMD64", "aarch64": "aarch64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class Commands:
    """What to run, in order, and the requirements that are not in it because nobody should run them unseen."""

    lines: tuple[str, ...]
    withheld: tuple[str, ...] = ()


@lru_cache(maxsize=4096)  # a page asks for one wheel at every GPU
def commands_for(
    filename: str, requires: tuple[str, ...], requires_python: str | None, owned: frozenset[str], index: str
) -> Commands:
    """Return the commands that install a wheel from the index at `index`.

    Args:
        filename: of the wheel.
        requires: its requirements, as METADATA spells them.
        requires_python: what it says of Python (PEP 440).
        owned: projects of this index: what is required of them comes from it by itself.
        index: URL of `simple/`, or a word that stands for it.
    """
    name, version, _, tags = parse_wheel_filename(filename)
    others: list[str] = []
    withheld: list[str] = []
    environments = list(_environments(tags, requires_python))
    for text in requires:
        try:
            requirement = Requirement(text)
            applies = _applies(requirement, environments)
        except ValueError:  # InvalidRequirement, and what comparing may raise
            continue
        if canonicalize_name(requirement.name) in owned or not any(applies):
            continue
        if requirement.url is not None and urlsplit(requirement.url).scheme.lower() not in {"http", "https"}:
            withheld.append(text)
            continue
        if all(applies):
            requirement.marker = None
        others.append(str(requirement))
    needs = ("pip install " + " ".join(map(shlex.quote, others)),) if others else ()
    own = f"pip install --index-url {shlex.quote(index)} {shlex.quote(f'{name}=={version}')}"
    return Commands((*needs, own), tuple(withheld))


def _applies(requirement: Requirement, environments: list[dict[str, str]]) -> list[bool]:
    if requirement.marker is None:
        return [True]
    return [requirement.marker.evaluate(environment) for environment in environments] or [True]


def _environments(tags: Iterable[Tag], requires_python: str | None) -> Iterator[dict[str, str]]:
    """What markers see where the wheel can be installed."""
    try:
        allowed = SpecifierSet(requires_python or "")
    except InvalidSpecifier:
        allowed = SpecifierSet()
    usual = {key: str(value) for key, value in default_environment().items()}
    seen = set()
    for tag in tags:
        for python, (system, machine) in product(_pythons(tag), _platforms(tag.platform)):
            if (python, system, machine) in seen or not allowed.contains(f"{python}.99", prereleases=True):
                continue
            seen.add((python, system, machine))
            sys_platform, platform_system, os_name = _SYSTEMS[system]
            yield {
                **usual,
                "extra": "",
                "python_version": python,
                "python_full_version": f"{python}.99",
                "implementation_version": f"{python}.99",
                "sys_platform": sys_platform,
                "platform_system": platform_system,
                "os_name": os_name,
                **({"platform_machine": machine} if machine else {}),
            }


def _pythons(tag: Tag) -> tuple[str, ...]:
    digits = tag.interpreter[2:]
    if len(digits) < 2:
        return tuple(python for python in _PYTHONS if python.startswith(digits)) or _PYTHONS
    exact = f"{digits[0]}.{digits[1:]}"
    if tag.abi == "abi3" or tag.interpreter.startswith("py"):
        major, minor = exact.split(".")
        return tuple(
            python for python in _PYTHONS if python.startswith(f"{major}.") and int(python[2:]) >= int(minor)
        ) or (exact,)
    return (exact,)


def _platforms(platform: str) -> list[tuple[str, str]]:
    """Systems and processors (empty: any) that a platform tag names."""
    system = next((name for name in _SYSTEMS if name in platform), None)
    machine = next((spelled for ending, spelled in _MACHINES.items() if platform.endswith(ending)), "")
    return [(name, "") for name in _SYSTEMS] if system is None else [(system, machine)]
