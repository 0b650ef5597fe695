"""From what a person typed to a `Target`: defaults, the driver's choice, and remedies that this machine can carry out.

In: a requirement and the options of `plan`. Out: a plan. Fails with `TargetError` and `ToolkitError`, whose remedies
name only what was planned and what can be had here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.errors import TargetError, ToolkitError, WheelsmithError

if TYPE_CHECKING:
    from wheelsmith.planning.model import Plan, Target
    from wheelsmith.planning.proposals import Proposal
    from wheelsmith.recipe.loader import LoadedRecipe
    from wheelsmith.recipe.requirement import Wanted

_MOST = 3  # proposals in one remedy


@dataclass(frozen=True, slots=True)
class Asking:
    """A package and what is wanted of it, as far as somebody said it; None: as is best.

    Attributes:
        loaded: the recipe.
        version: one of its releases.
        wanted: the requirement that was typed.
        options: the recipe's options that are not to have their default.
        local: local version.
    """

    loaded: LoadedRecipe
    version: str
    wanted: Wanted
    options: Mapping[str, bool]
    local: str | None = None


def plan_for(asking: Asking, target: Target, *, cuda: str | None, torch: str | None) -> Plan:
    """The plan for a target, whose CUDA and torch count only where they were asked for.

    Raises:
        TargetError: the parts contradict each other; the remedy names others that were planned.
    """
    from wheelsmith.planning.checks import MisfitError
    from wheelsmith.planning.planner import make_plan

    defaults = asking.loaded.recipe.at(asking.version).defaults
    target = replace(
        target, cuda=defaults.cuda if cuda is None else cuda, torch=defaults.torch if torch is None else torch
    )
    try:
        plan = make_plan(asking.loaded, asking.version, target, asking.options, local=asking.local)
    except MisfitError as error:
        free = cuda is None or (torch is None and defaults.torch is not None)
        chosen = _by_driver(asking, target, cuda, torch) if target.driver is not None and free else None
        if chosen is None:
            raise TargetError(error.cause, _remedy(asking, target, error.remedy, torch is None)) from error
        plan = make_plan(asking.loaded, asking.version, chosen, asking.options, local=asking.local)
    if asking.wanted.local and asking.wanted.local != plan.local_version:
        raise TargetError(
            f"{plan.name}=={plan.version}+{asking.wanted.local} was asked for; for this target the wheel is"
            f" {plan.requirement}.",
            f"Ask for {plan.requirement}, or name the wheel so: --local {asking.wanted.local}",
        )
    return plan


def newest_fixed(at: Callable[[str], Plan], newest: str, fitting: Iterable[str]) -> Plan:
    """The plan of the newest release that can be fetched as the recipe stands; of `newest`, where none can.

    Args:
        at: makes the plan of one release.
        newest: the newest that fits what was asked for.
        fitting: all that do.

    Raises:
        WheelsmithError: what `at` raises for `newest`.
    """
    plan = at(newest)
    if plan.is_fixed:
        return plan
    for version in fitting:
        with suppress(WheelsmithError):
            if (older := at(version)).is_fixed:
                why = (
                    f"{plan.name}=={newest} is newer, but some of its sources are not locked: fetching refuses them"
                    f" until `wheelsmith recipes lock {plan.name}=={newest} --write` has asked. Name it to plan it."
                )
                return replace(older, warnings=(*older.warnings, why))
    return plan


def _by_driver(asking: Asking, target: Target, cuda: str | None, torch: str | None) -> Target | None:
    """The target with the newest CUDA, and the torch for it, that its driver runs; what can be had here goes first."""
    from wheelsmith.planning.proposals import proposals

    cudas = [cuda] if cuda is not None else _by_rank(target)
    found = list(proposals(asking.loaded, asking.version, target, cudas, asking.options, torch_is_free=torch is None))
    best = next((one for one in found if one.tested), found[0] if found else None)
    return None if best is None else best.plan.target


def _by_rank(target: Target) -> list[str]:
    """All toolkits: what is at hand first, then what the driver came with or after (it takes PTX of no newer one), then
    the newest."""
    from wheelsmith.gpu.drivers import Driver
    from wheelsmith.gpu.facts import known_toolkits, toolkit_facts

    here, driver = _here(target), None if target.driver is None else Driver.parse(target.driver)

    def rank(known: str) -> tuple[bool, bool]:
        oldest = toolkit_facts(known).driver
        return known not in here, driver is not None and (oldest is None or not driver.at_least(oldest))

    newest_first = known_toolkits()[::-1]
    return sorted(newest_first, key=rank)


def _here(target: Target) -> tuple[str, ...]:
    from wheelsmith.toolchain.cuda import obtainable

    return obtainable(math=target.torch is not None)


def _remedy(asking: Asking, target: Target, reason: str, torch_is_free: bool) -> str:
    """What goes together and can be had here, planned before it is said; else what would do, and whence."""
    from wheelsmith.planning.proposals import proposals
    from wheelsmith.toolchain.cuda import elsewhere

    def plan_with(cudas: Sequence[str], free: bool) -> list[Proposal]:
        return list(proposals(asking.loaded, asking.version, target, cudas, asking.options, torch_is_free=free))

    here = sorted(_here(target), key=lambda cuda: cuda != target.cuda)
    found = plan_with(here, torch_is_free) or plan_with(here, True)
    if found:
        return f"{reason} {_listed(found)}"
    if other := plan_with(_by_rank(target), True):
        return f"{reason} It can be {other[0]}, which takes {elsewhere(other[0].plan.target.cuda)}."
    return f"{reason} No known CUDA toolkit would do."


def _listed(found: Sequence[Proposal]) -> str:
    tested = [one for one in found if one.tested]
    shown = ", or ".join(map(str, (tested or found)[:_MOST]))
    doubt = (
        ""
        if tested
        else f" ({found[0].plan.name}'s own metadata ask for another torch: whether it compiles is not known)"
    )
    return f"What goes together here: {shown}{doubt}."


@contextmanager
def better_remedies(plan: Plan) -> Iterator[None]:
    """Within this, a toolkit that is not here is answered with targets that can be built here, each of them planned."""
    try:
        yield
    except ToolkitError as error:
        from wheelsmith.planning.proposals import proposals
        from wheelsmith.recipe.loader import load_recipe

        recipe = Path(plan.recipe)
        if not recipe.is_file():
            raise
        cudas = [cuda for cuda in _here(plan.target) if cuda != plan.target.cuda]
        found = list(proposals(load_recipe(recipe), plan.version, plan.target, cudas, dict(plan.options)))
        own = error.remedy.removeprefix("Choose: ").rstrip(".")
        first = f"{_listed(found)} " if found else ""
        raise ToolkitError(error.cause, f"{first}For CUDA {plan.target.cuda}: {own}.", detail=error.detail) from error
