"""Which of our files an environment gets, so that no name of ours is ever looked up on another index.

In: the index, what was installed from it, and the facts of the environment. Out: lines for pip's
`--constraint`: every project of the index, nailed to one file by URL and SHA-256 (pip asks no index about a
name that a constraint gives a URL for). Fails with `InstallError` when the index owns a dependency but has no
file of it that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from wheelsmith.compat.picker import Candidate, WheelTarget, pick
from wheelsmith.errors import InstallError
from wheelsmith.index.metadata import requirements_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wheelsmith.index.entry import Entry
    from wheelsmith.index.layout import Layout


@dataclass(frozen=True, slots=True)
class Distribution:
    """An installed distribution: its version and its Requires-Dist lines."""

    version: str
    requires: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """What decides which wheels an environment takes.

    Attributes:
        markers: PEP 508 marker values.
        tags: wheel tags that it accepts, best first.
        installed: what is installed, by normalized name.
    """

    markers: Mapping[str, str]
    tags: tuple[str, ...]
    installed: Mapping[str, Distribution]


def needed(
    requirements: Iterable[Requirement], extras: Iterable[str], environment: Environment
) -> tuple[Requirement, ...]:
    """Return the requirements whose marker holds here for one of the extras; the markers are taken off."""
    choices = [{**environment.markers, "extra": extra} for extra in ("", *extras)]
    return tuple(
        _without_marker(requirement)
        for requirement in requirements
        if requirement.marker is None or any(requirement.marker.evaluate(choice) for choice in choices)
    )


def constraints(
    layout: Layout, project: str, dependencies: Iterable[Requirement], environment: Environment
) -> tuple[str, ...]:
    """Return one constraint per project of the index.

    Dependencies are followed through our own METADATA, so that they get the version they ask for. Projects
    that nothing of ours asks for are nailed to their newest file: a package from elsewhere may ask for them.

    Args:
        layout: the index.
        project: the installed project, nailed to its installed version.
        dependencies: what it needs in this environment.
        environment: the environment, with `project` installed.

    Raises:
        InstallError: the index owns a dependency, but no file of it fits.
    """
    chosen: dict[str, Entry] = {}
    queue = list(dependencies)
    while queue:
        requirement = queue.pop(0)
        name = canonicalize_name(requirement.name)
        if name == project or name in chosen or not (entries := layout.entries(name)):
            continue
        entry = _best(entries, requirement.specifier, environment)
        if entry is None:
            raise InstallError(
                f"The index owns {name}, but none of its {len(entries)} files fits '{requirement}' on "
                f"Python {environment.markers['python_full_version']}.",
                f"Build and publish a {name} that fits; it is never taken from another index.",
            )
        chosen[name] = entry
        metadata = layout.metadata(entry.filename).read_bytes()
        queue += needed(requirements_of(metadata, entry.filename), requirement.extras, environment)
    for name in map(canonicalize_name, layout.recorded_projects()):
        if name not in chosen and name != project and (entries := layout.entries(name)):
            chosen[name] = _best(entries, SpecifierSet(), environment) or entries[-1]
    urls = (
        f"{name} @ {layout.wheel(entry.filename).as_uri()}#sha256={entry.sha256}"
        for name, entry in sorted(chosen.items())
    )
    return (f"{project}=={environment.installed[project].version}", *urls)


def _best(entries: Iterable[Entry], specifier: SpecifierSet, environment: Environment) -> Entry | None:
    """The file that pip would take."""
    candidates = (
        Candidate(entry.filename, entry.requires_python, entry.yanked is not None, origin=entry) for entry in entries
    )
    found = pick(candidates, WheelTarget(environment.tags, environment.markers["python_full_version"], specifier))
    return None if found is None else cast("Entry", found.candidate.origin)


def _without_marker(requirement: Requirement) -> Requirement:
    bare = Requirement(str(requirement))
    bare.marker = None
    return bare
