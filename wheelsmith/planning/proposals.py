"""CUDA and torch that go together, for a target whose own do not, or whose driver decides.

In: a loaded recipe, a version, a target, the CUDA releases that may be used (the preferred first). Out: proposals, each
of which was planned, so that no remedy leads into the next error. Pure; nothing fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheelsmith.errors import TargetError
from wheelsmith.gpu.facts import known_torches, torch_cuda
from wheelsmith.planning.model import NIGHTLY
from wheelsmith.planning.planner import make_plan

if TYPE_CHECKING:
    from wheelsmith.planning.model import Plan, Target
    from wheelsmith.recipe.loader import LoadedRecipe


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan with another CUDA or torch; `tested`: the recipe's own metadata admit that torch."""

    plan: Plan
    tested: bool

    def __str__(self) -> str:
        torch = f" --torch {self.plan.target.torch}" if self.plan.target.torch else ""
        return f"--cuda {self.plan.target.cuda}{torch}"


def proposals(
    loaded: LoadedRecipe,
    version: str,
    target: Target,
    cudas: Iterable[str],
    options: Mapping[str, bool] | None = None,
    *,
    torch_is_free: bool = True,
) -> Iterator[Proposal]:
    """For each CUDA release the first torch with which a plan can be made.

    Args:
        loaded: the recipe.
        version: one of its releases.
        target: what is wanted beside CUDA and torch.
        cudas: releases, the preferred first.
        options: of the recipe.
        torch_is_free: whether another torch than the target's may be proposed.
    """
    loaded = loaded.at(version)
    required = loaded.recipe.wheel.torch
    for cuda in cudas:
        for torch in _torches(loaded, target, cuda) if torch_is_free else [target.torch]:
            try:
                plan = make_plan(loaded, version, replace(target, cuda=cuda, torch=torch), options)
            except TargetError:
                continue
            admitted = required is None or torch is None or SpecifierSet(required).contains(torch, prereleases=True)
            yield Proposal(plan, admitted)
            break


def _torches(loaded: LoadedRecipe, target: Target, cuda: str) -> list[str | None]:
    """The target's, the recipe's, then those that are built with this CUDA, or with one of its major version; of these
    the nearest to the recipe's first."""
    if target.torch is None:
        return [None]
    found: list[str | None] = [target.torch, loaded.recipe.defaults.torch]
    if target.torch != NIGHTLY:
        known = [torch for torch in known_torches() if _major(torch_cuda(torch)) == _major(cuda)]
        known.sort(key=lambda torch: _distance(torch, loaded.recipe.defaults.torch or torch))
        found += [torch for torch in known if torch_cuda(torch) == cuda] + known
    return list(dict.fromkeys(found))


def _distance(one: str, other: str) -> int:
    """How many releases lie between two."""
    one_major, one_minor, *_ = Version(one).release
    other_major, other_minor, *_ = Version(other).release
    return abs(100 * (one_major - other_major) + one_minor - other_minor)


def _major(cuda: str | None) -> str:
    return (cuda or "").partition(".")[0]
