"""What a project needs for its build, against what its recipe has: build requirements, torch, Python.

In: a recipe as it is for the version, what the project's files say, and the pins of the recipe's lock. Out: `Need`s.
Pure; nothing can fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from wheelsmith.maintenance.declared import Project
    from wheelsmith.recipe.schema import Recipe

_PYTHONS = tuple(f"3.{minor}" for minor in range(8, 30))


@dataclass(frozen=True, slots=True)
class Need:
    """A requirement of the project against the recipe's: `same`, `fits` (what the recipe has will do), or `differs`."""

    name: str
    project: str
    recipe: str
    state: Literal["same", "fits", "differs"]


def needs(recipe: Recipe, project: Project, pins: Mapping[str, str]) -> Iterator[Need]:
    """Each requirement of the project.

    Args:
        recipe: as it is for the version (`Recipe.at`).
        project: what its files say.
        pins: what the recipe's lock of build requirements pins, by normalized name; empty: it has none.
    """
    ours = {canonicalize_name(item.name): item for item in map(Requirement, recipe.build.requires)}
    for requirement in project.requires:
        yield _need(requirement, ours.get(canonicalize_name(requirement.name)), recipe.defaults.torch, pins)
    if project.python is not None:
        known = SpecifierSet(recipe.python)
        same = all(project.python.contains(version) == known.contains(version) for version in _PYTHONS)
        yield Need("Python", str(project.python), recipe.python, "same" if same else "differs")


def _need(wanted: Requirement, ours: Requirement | None, torch: str | None, pins: Mapping[str, str]) -> Need:
    name = canonicalize_name(wanted.name)
    if name == "torch" and ours is None:
        if torch is None:
            return Need(name, str(wanted), "none", "differs")
        fits = wanted.specifier.contains(Version(torch), prereleases=True)
        return Need(name, str(wanted), f"torch {torch}", "fits" if fits else "differs")
    if ours is None:
        return Need(name, str(wanted), "none", "differs")
    if ours.specifier == wanted.specifier and ours.extras == wanted.extras:
        return Need(name, str(wanted), str(ours), "same")
    pin = pins.get(name)
    if pin is not None and wanted.specifier.contains(Version(pin), prereleases=True):
        return Need(name, str(wanted), f"{ours}, locked at {pin}", "fits")
    return Need(name, str(wanted), f"{ours}, locked at {pin}" if pin else str(ours), "differs")
