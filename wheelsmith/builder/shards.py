"""A part of a build: some of its units, compiled into the shared cache for the machine that will make the wheel.

In: a plan and the outputs of units. Out: `Surveyed`, every unit that the build has and its cost; `Part`, what
was compiled. Fails as a build does. Each machine keeps one work directory for this, beside the one of a build.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wheelsmith.builder.build import equip, prepare, provide_sources
from wheelsmith.builder.model import Settings
from wheelsmith.compile.cost_model import load_model
from wheelsmith.compile.memory import GB
from wheelsmith.compile.run import compile_units
from wheelsmith.compile.selection import Selection
from wheelsmith.compile.timeline import Attempt
from wheelsmith.errors import BusyError, ToolkitError
from wheelsmith.events import Listener
from wheelsmith.fsutil import remove_tree
from wheelsmith.planning.model import Plan
from wheelsmith.recipe.loader import shipped_directory
from wheelsmith.store import Store
from wheelsmith.toolchain.ccache.entries import scope_of

PARTS = ".parts"


@dataclass(frozen=True, slots=True)
class UnitCost:
    """A unit by its output, and what it is expected to take: CPU-seconds, and bytes at its peak."""

    output: str
    name: str
    cpu_seconds: float
    peak: int


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a machine says of a plan. `key`: what the bytes of the wheel depend on here, compilers and packages
    included; `scope`: of the cache; `place`: where builds see themselves, which objects depend on."""

    key: str
    scope: str
    place: str
    units: tuple[UnitCost, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """All units that the farm shares out, by output, for a machine whose key is this one. Which of them it compiles is
    said by the settings' claims."""

    key: str
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Units that were compiled or found in the cache: names, CPU-seconds, and how many were found."""

    units: tuple[str, ...]
    cpu_seconds: float
    hits: int


def survey(plan: Plan, store: Store, settings: Settings, listener: Listener, worker: str) -> Surveyed:
    """Run a build that compiles nothing, so that all its units are known and its generated sources are there.

    Raises:
        WheelsmithError: as a build, up to its first compiler.
    """
    selection = Selection()
    key, place, _ = _compile(plan, store, settings, listener, (worker, selection))
    shipped = shipped_directory() / "models" / f"{plan.name}.json"
    model = load_model(int(plan.expect.memory_gb * GB), store.place("models", f"{plan.name}.json"), shipped)
    costs = [(unit, model.estimate(unit)) for unit in selection.met.values()]
    units = tuple(UnitCost(unit.output, unit.name, cost.cpu_seconds, cost.peak) for unit, cost in costs)
    return Surveyed(key, scope_of(plan).digest, place, units)


def compile_part(plan: Plan, store: Store, settings: Settings, listener: Listener, worker: str, share: Share) -> Part:
    """Compile units into the cache.

    Raises:
        ToolkitError: this machine compiles with other tools than the one that makes the wheel.
        WheelsmithError: as a build.
    """
    _, _, attempts = _compile(plan, store, settings, listener, (worker, Selection(share.outputs)), share.key)
    done = [attempt for attempt in attempts if attempt.status == 0]
    return Part(
        tuple(attempt.name for attempt in done),
        sum(attempt.cpu_seconds for attempt in attempts),
        sum(attempt.cache == "hit" for attempt in done),
    )


def forget_parts(key: str, store: Store, worker: str) -> None:
    """Remove the work directory that `survey` and `compile_part` have used, unless somebody works there."""
    name = _name(key, worker)
    try:
        with store.lock(f"build-{name}"):
            remove_tree(store.place("work", name))
    except BusyError:
        return


def _compile(
    plan: Plan,
    store: Store,
    settings: Settings,
    listener: Listener,
    whose: tuple[str, Selection],
    key: str | None = None,
) -> tuple[str, str, tuple[Attempt, ...]]:
    worker, selection = whose
    tools = prepare(plan, store, settings, listener)
    if key is not None and tools.key != key:
        raise ToolkitError(
            f"{worker} would compile {plan.name} with other tools than the machine that makes the wheel.",
            "Give all workers the same compiler, CUDA toolkit, Python and C library, as one image has them.",
        )
    name = _name(tools.key, worker)
    with store.lock(f"build-{name}", wait=True):
        if not selection.outputs:  # to a build tool that goes on, the empty objects of an earlier run are made
            remove_tree(store.place("work", name))
        provide_sources(plan, store, settings, listener)
        supplies, effort = equip(plan, tools, store, settings, listener, names_once=True)
        effort = replace(effort, selection=selection)
        attempts = compile_units(plan, name, store, supplies=supplies, effort=effort, listener=listener)
    where = "canonical" if tools.isolation.canonical else str(store.root)
    return tools.key, where, attempts


def _name(key: str, worker: str) -> str:
    return f"{key}{PARTS}-{worker}"
