"""What a new version of a project changes for its recipe: trees, requirements, Python, torch; and what work that makes.

In: a recipe, its pins, the new version's source, its `Lock` and how the patches fared. Out: a `Bump` with a verdict and
an exit code. Nothing is written. Fails with `SourceError` if pyproject.toml cannot be read. Requirements are those of
`build-system.requires` (PEP 518) and `project.requires-python` (PEP 621).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from wheelsmith.errors import DIFFERS, PatchError, SourceError
from wheelsmith.maintenance.lock import Lock, applies

if TYPE_CHECKING:
    from wheelsmith.documents.recipes import BumpDocument, NeedFacts, PatchFacts
    from wheelsmith.recipe.schema import Recipe

SCHEMA_VERSION = 1

_PYTHONS = tuple(f"3.{minor}" for minor in range(8, 30))


class PatchOutcome(Protocol):
    """How a patch fares against the new version."""

    @property
    def wanted(self) -> bool: ...  # noqa: D102
    @property
    def matches(self) -> bool | None: ...  # noqa: D102
    def to_dict(self) -> PatchFacts: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Need:
    """A requirement of the project against the recipe's: `same`, `fits` (what the recipe has will do), or `differs`."""

    name: str
    project: str
    recipe: str
    state: Literal["same", "fits", "differs"]


@dataclass(frozen=True, slots=True)
class Bump:
    """A rehearsed version.

    Attributes:
        name: the package.
        version: the new version.
        source: where the source that was read came from.
        lock: its trees.
        patches: its patches.
        needs: what it needs for its build, and its Python versions.
        notes: what else must be done.
        pinned: whether the recipe has this release already.
    """

    name: str
    version: str
    source: str
    lock: Lock
    patches: tuple[PatchOutcome, ...]
    needs: tuple[Need, ...]
    notes: tuple[str, ...]
    pinned: bool

    @property
    def broken(self) -> tuple[PatchOutcome, ...]:
        """Patches that are meant for this version and do not match it."""
        return tuple(patch for patch in self.patches if patch.wanted and patch.matches is False)

    @property
    def exit_code(self) -> int:
        """0: at most the release must be added; 22: a patch does not match; 3: something else changes or is untried."""
        if self.broken:
            return PatchError.exit_code
        differs = bool(self.lock.changes) or any(need.state == "differs" for need in self.needs)
        return DIFFERS if differs or self.notes or self._untried else 0

    @property
    def _untried(self) -> int:
        return sum(patch.wanted and patch.matches is None for patch in self.patches)

    @property
    def verdict(self) -> str:
        """One sentence."""
        todo = []
        if self.broken:
            todo.append(f"remake {_count(len(self.broken), 'patch', 'patches')}")
        if self.lock.changes:
            todo.append(f"change {_count(len(self.lock.changes), 'pin', 'pins')}")
        differing = sum(need.state == "differs" for need in self.needs)
        if differing:
            todo.append(f"change {_count(differing, 'requirement', 'requirements')}")
        if self._untried:
            todo.append(f"try {_count(self._untried, 'patch', 'patches')} where the tree can be fetched")
        if self.notes:
            todo.append("see the notes")
        if not todo:
            return f"{self.name} {self.version} needs nothing{'' if self.pinned else ' but its release in the recipe'}."
        return f"{self.name} {self.version} needs work: {', '.join(todo)}."

    def to_dict(self) -> BumpDocument:
        """JSON-ready form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "version": self.version,
            "source": self.source,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "lock": self.lock.to_dict(),
            "patches": [patch.to_dict() for patch in self.patches],
            "needs": [cast("NeedFacts", asdict(need)) for need in self.needs],
            "notes": list(self.notes),
        }


def wanted_patches(recipe: Recipe, version: str) -> dict[int, bool]:
    """For the position of each patch, whether the recipe means it for this version."""
    return {index: applies(patch.versions, version) for index, patch in enumerate(recipe.patch)}


def bump(
    recipe: Recipe,
    project: Path,
    *,
    source: str,
    lock: Lock,
    patches: Sequence[PatchOutcome],
    pins: Mapping[str, str],
) -> Bump:
    """Put together what a new version changes.

    Args:
        recipe: the recipe.
        project: the directory of the new version's source.
        source: what that source is called.
        lock: its trees against the recipe's.
        patches: how the patches fared.
        pins: what the recipe's lock of build requirements pins, by normalized name; empty: it has none.

    Raises:
        SourceError: pyproject.toml is not TOML, or names something that is no requirement.
    """
    version, notes = lock.version, []
    if not SpecifierSet(recipe.versions).contains(version, prereleases=True):
        notes.append(f"The recipe is meant for versions {recipe.versions}: widen `versions`.")
    needs = tuple(_needs(recipe, project / "pyproject.toml", pins))
    return Bump(recipe.name, version, source, lock, tuple(patches), needs, tuple(notes), version in recipe.releases)


def _needs(recipe: Recipe, path: Path, pins: Mapping[str, str]) -> Iterator[Need]:
    if not path.is_file():
        return
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        wanted = [Requirement(text) for text in data.get("build-system", {}).get("requires", [])]
        python = SpecifierSet(data.get("project", {}).get("requires-python", ""))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, InvalidRequirement, InvalidSpecifier) as error:
        raise SourceError(f"pyproject.toml cannot be read: {error}.", "Check that the source is whole.") from error
    ours = {canonicalize_name(item.name): item for item in map(Requirement, recipe.build.requires)}
    for requirement in wanted:
        yield _need(requirement, ours.get(canonicalize_name(requirement.name)), recipe.defaults.torch, pins)
    if "requires-python" in data.get("project", {}):
        known = SpecifierSet(recipe.python)
        same = all(python.contains(version) == known.contains(version) for version in _PYTHONS)
        yield Need("Python", str(python), recipe.python, "same" if same else "differs")


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


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
