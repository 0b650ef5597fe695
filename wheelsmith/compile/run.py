"""Compile a plan: lay the sources out, run the backend in its build root, and hand back the wheel that it made.

In: a plan, the store, an environment and a toolkit. Out: `Compiled`. Fails with `CompileError` (with the first real
error of the log), `EnvironmentBuildError` (the project requires what the plan does not have), `DiskFullError`, or
`InterruptedBuildError`. What was compiled stays: the next run of the same plan continues there.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wheelsmith.children import hide_from_children
from wheelsmith.compile.chain import Chain, OpenChain
from wheelsmith.compile.compiler_wrappers import CompilerWrappers, lay_wrappers
from wheelsmith.compile.configured import refuse_second_toolkit
from wheelsmith.compile.cost_model import load_model
from wheelsmith.compile.deaths import with_deaths
from wheelsmith.compile.limits import most_waiting
from wheelsmith.compile.memory import GB, available_memory, oom_kills, usable_cpus
from wheelsmith.compile.passers import with_passer
from wheelsmith.compile.process import Governed, remove_outputs, remove_unfinished, run_process
from wheelsmith.compile.result import RESULT_FILE, Outcome, read_outcome, take_wheel
from wheelsmith.compile.sandbox import Isolation, Room
from wheelsmith.compile.scheduler import Capacity, Scheduler
from wheelsmith.compile.selection import Claims, Selection, lay_empty
from wheelsmith.compile.timeline import SUFFIX, Attempt, Summary, Timeline, earlier_runs
from wheelsmith.diagnostics.diagnose import diagnose_stream, repeat_script
from wheelsmith.errors import CompileError, DiskFullError, EnvironmentBuildError
from wheelsmith.events import Listener, Note
from wheelsmith.fsutil import remove_tree, write_fresh
from wheelsmith.planning.model import CANONICAL, Plan
from wheelsmith.report.failure import failure_page
from wheelsmith.store import Store, write_atomic
from wheelsmith.toolchain.cuda import CudaToolkit
from wheelsmith.toolchain.environment import BuildEnvironment
from wheelsmith.toolchain.host import HostCompiler
from wheelsmith.toolchain.rust import Rust

if TYPE_CHECKING:
    from wheelsmith.documents.builds import RunHead

#: After the name of a work directory: what is left of a run that failed before anything was compiled.
FAILED = ".failed"
#: What of a build's directory is made anew for every run.
_EACH_TIME = ("tmp", "out", "launch", "cache")
PAGE = ".html"  # beside the log of a build that failed
_RESERVE = 256 * 10**6  # bytes that stay free for everybody else
_LAUNCHER = 5 * 10**6  # bytes that a waiting wrapper takes, with the shell that started it (measured: 4 MB)
_CROWD = 0.02  # share of the memory that waiting wrappers may take


@dataclass(frozen=True, slots=True)
class Compiled:
    """The backend's wheel, the log, and how long the backend ran (seconds of wall time).

    `jobs` is how many compilers might run at once, `timeline` the record of all of them (JSON), `summary` its figures.
    """

    wheel: Path
    log: Path
    seconds: float
    jobs: int
    resumed: bool
    timeline: Path
    summary: Summary


@dataclass(frozen=True, slots=True)
class Supplies:
    """What a build compiles with.

    Attributes:
        environment: where the build's packages are.
        toolkit: the CUDA toolkit.
        isolation: what the build is kept apart from.
        lay_out: called with a directory, once, to place the sources there, when there is nothing to resume.
        compiler: the host compiler.
        rust: the Rust toolchain, for a plan with crates.
    """

    environment: BuildEnvironment
    toolkit: CudaToolkit
    isolation: Isolation
    lay_out: Callable[[Path], None]
    compiler: HostCompiler
    rust: Rust | None = None


@dataclass(frozen=True, slots=True)
class Effort:
    """What a build may use, and what is known about it; none of it changes what comes out.

    Attributes:
        jobs: compilers at once; None: one per usable processor. Memory may allow fewer.
        memory: bytes that the compilers may use together; None: what there is.
        open_chain: makes a compile cache ready for this build.
        known_costs: what the package's units took elsewhere, for a store that knows nothing yet (see `CostModel`).
        until: the moment (time.monotonic()) after which nothing new starts; None: there is none.
        selection: which units are compiled (see `compile_units`); None: all.
        claims: which of them may start now, as other machines compile some; None: all.
    """

    jobs: int | None = None
    memory: int | None = None
    open_chain: OpenChain | None = None
    known_costs: Path | None = None
    until: float | None = None
    selection: Selection | None = None
    claims: Claims | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    """Where one build happens: its room, its timeline, what an earlier run of it left, and how often the kernel had
    killed for memory before."""

    key: str
    store: Store
    room: Room
    record: Path
    resumed: bool
    kills: int


def compile_wheel(
    plan: Plan, key: str, store: Store, *, supplies: Supplies, effort: Effort, listener: Listener
) -> Compiled:
    """Run the backend, and take its wheel.

    Args:
        plan: what to build.
        key: name of the work directory, the log and the timeline.
        store: where they are.
        supplies: what it compiles with.
        effort: what it may use.
        listener: told of everything.

    Raises:
        CompileError, EnvironmentBuildError, DiskFullError, InterruptedBuildError: see above.
    """
    ran = _run(plan, key, store, supplies, effort, listener)
    room = ran.work.room
    outcome = _outcome(plan, ran)
    if outcome.failed:
        raise _failure(plan, outcome.failed, ran)
    refuse_second_toolkit(room.root / "src", (room.seen(f"{CANONICAL}/cuda"), str(room.toolkit)))
    wheel = take_wheel(room.root / "out", outcome.wheel, room.root / "taken")
    timeline, jobs = ran.governed.timeline, effort.jobs or usable_cpus()
    log = store.place("logs", f"{key}.log")
    return Compiled(wheel, log, ran.seconds, jobs, ran.work.resumed, ran.work.record, timeline.summary())


def compile_units(
    plan: Plan, key: str, store: Store, *, supplies: Supplies, effort: Effort, listener: Listener
) -> tuple[Attempt, ...]:
    """Run the backend for the units of `effort.selection` only, whose objects are then in the compile cache.

    The work directory `key` must be used for nothing else: it is full of empty objects. Arguments as `compile_wheel`.

    Returns:
        How the units ended that were compiled.

    Raises:
        CompileError, EnvironmentBuildError, DiskFullError, InterruptedBuildError: a unit does not compile, or the build
            did not come to any. That it fails for want of what the other units would have made is expected.
    """
    ran = _run(plan, key, store, supplies, effort, listener)
    outcome = _outcome(plan, ran)
    attempts = ran.governed.timeline.attempts
    ended = {attempt.name: attempt.status for attempt in attempts}
    met = effort.selection is None or effort.selection.met
    if outcome.failed and (any(ended.values()) or not met):
        raise _failure(plan, outcome.failed, ran)
    return attempts


@dataclass(frozen=True, slots=True)
class _Ran:
    """A backend that has ended: with which status, after how many seconds, and how one of its units is repeated."""

    work: _Work
    governed: Governed
    status: int
    seconds: float
    enter: Callable[[list[str]], list[str]]
    environment: Mapping[str, str]


def _outcome(plan: Plan, ran: _Ran) -> Outcome:
    outcome = read_outcome(ran.work.room.root / "out", ran.status)
    if outcome.unmet:
        raise EnvironmentBuildError(
            f"The build of {plan.name} {plan.version} requires what its environment lacks: {', '.join(outcome.unmet)}.",
            "Add it to `requires` in the recipe (or, with --env current, install it).",
        )
    return outcome


def _run(plan: Plan, key: str, store: Store, supplies: Supplies, effort: Effort, listener: Listener) -> _Ran:
    """Run the backend to its end."""

    def make(directory: Path) -> None:
        supplies.lay_out(directory)
        for name in ("home", "env", "cuda", *_EACH_TIME):
            (directory / name).mkdir()

    root, resumed = store.make_directory("work", key, make)
    environment, toolkit, isolation = supplies.environment, supplies.toolkit, supplies.isolation
    room = Room(root, environment.prefix, toolkit.root, isolation, environment.interpreter.base_prefix)
    if resumed:
        removed = remove_unfinished(root, room.here)
        half = f"; {removed} half-written files removed" if removed else ""
        listener(Note("compile", f"continuing in {root}{half}"))
        for name in _EACH_TIME:  # an interrupted run may have left half a file; and a stranger wrote there, maybe links
            remove_tree(root / name)
            (root / name).mkdir()
    if effort.selection is not None:
        remove_outputs(root, room.here, effort.selection.outputs)  # an empty one must not count as made
    jobs = effort.jobs or usable_cpus()
    log = store.place("logs", f"{key}.log")
    log.with_suffix(PAGE).unlink(missing_ok=True)  # of an earlier run
    record = store.place("logs", f"{key}{SUFFIX}")
    request = _request(plan, room, environment, supplies.compiler)
    rust = supplies.rust
    if rust is not None:
        request["environment"]["PATH"] = f"{rust.root}/bin:{request['environment']['PATH']}"
    path = request["environment"]["PATH"]
    driver = Path(__file__).with_name("driver.py")
    program = [os.path.realpath(sys.executable), "-IS", str(driver), f"{room.place}/request.json"]
    program += [f"{room.place}/out/{RESULT_FILE}", *room.libraries]
    with effort.open_chain(root, room.place) if effort.open_chain else nullcontext() as chain:
        wrappers = _lay_entrance(plan, room, path, jobs, chain)
        # How many compilers run is decided when they start: the build tool only brings enough of them to choose from.
        width = _width(jobs)
        request["environment"] |= {"MAX_JOBS": str(width), "CMAKE_BUILD_PARALLEL_LEVEL": str(width)}
        request["environment"] |= {"PATH": f"{wrappers.path}:{path}"}
        request["environment"] = dict(wrappers.variables) | request["environment"]
        write_fresh(root / "request.json", json.dumps(request))
        if effort.selection is not None:
            lay_empty(root / "launch", supplies.compiler.path)
        work = _Work(key, store, room, record, resumed, oom_kills())
        capacity = Capacity(
            jobs, effort.memory, min(_RESERVE, available_memory() // 20), width, chosen=effort.claims is not None
        )
        governed = _schedule(plan, work, capacity, effort, chain is not None, listener)
        binds = [*wrappers.binds, *(chain.binds if chain else ())]
        paths = [
            (driver, False),
            *supplies.compiler.installation,
            *(rust.installation if rust else ()),
            *(chain.paths if chain else ()),
        ]
        enter = partial(room.command, binds=binds, paths=paths)
        if not isolation.confined:
            hide_from_children()
        room.hand_over(*(path for path, writable in paths if writable))
        command = enter(program, leashed=True)
        listener(Note("compile", f"up to {jobs} jobs, as memory allows; isolation: {isolation}; log: {log}"))
        started = time.monotonic()
        status = run_process(command, log, governed, listener)
        seconds = time.monotonic() - started
    return _Ran(work, governed, status, seconds, enter, request["environment"])


def _request(plan: Plan, room: Room, environment: BuildEnvironment, compiler: HostCompiler) -> dict[str, Any]:
    variables = {key: room.seen(value) for key, value in plan.environment}
    variables |= compiler.variables(variables)
    python = room.seen(f"{CANONICAL}/env/bin/python")
    if not (environment.prefix / "pyvenv.cfg").is_file():  # --env current outside a virtual environment
        python = str(environment.interpreter.executable)
        variables["PATH"] = variables["PATH"].replace(f"{CANONICAL}/env/bin", str(Path(python).parent))
    return {
        "source": room.seen(f"{CANONICAL}/src"),
        "out": room.seen(f"{CANONICAL}/out"),
        "python": python,
        "environment": variables,
        "config_settings": {key: room.seen(value) for key, value in plan.config_settings},
        "check": plan.target.environment == "isolated",
        "decided": ["torch"] if plan.target.torch else [],
    }


def _lay_entrance(plan: Plan, room: Room, path: str, jobs: int, chain: Chain | None) -> CompilerWrappers:
    available = available_memory()
    return lay_wrappers(
        room,
        [(room.here(entry), entry) for entry in path.split(":")],
        fallback_jobs=max(1, min(jobs, available // int(plan.expect.memory_gb * GB))),
        chain=chain,
    )


def _width(jobs: int) -> int:
    """How many compilers the build tool shall start: the longest go first among those that wait."""
    most = most_waiting()
    room = int(available_memory() * _CROWD) // _LAUNCHER
    return max(jobs + 1, min(32 * jobs, room if most is None else min(room, most)))


def _schedule(
    plan: Plan, work: _Work, capacity: Capacity, effort: Effort, cached: bool, listener: Listener
) -> Governed:
    costs = work.store.place("models", f"{plan.name}.json")
    whole = 60 * plan.expect.cpu_minutes
    model = load_model(int(plan.expect.memory_gb * GB), costs, effort.known_costs, whole)
    head: RunHead = {
        "name": plan.name,
        "version": plan.version,
        "key": work.key,
        "started": datetime.now(UTC).timestamp(),
        "jobs": capacity.jobs,
        "memory": capacity.budget,
    }
    timeline = Timeline(head, usable_cpus(), earlier_runs(work.record) if work.resumed else [])
    scheduler = Scheduler(model, capacity, timeline=timeline, listener=listener, oom_kills=work.kills)

    def save() -> None:
        model.save(costs)
        timeline.save(work.record)

    room = work.room
    launch, until = room.root / "launch", effort.until
    place, selection = room.place, effort.selection
    return Governed(launch, place, scheduler, timeline, cached, save, until, room.here, selection, effort.claims)


def _failure(plan: Plan, message: str, ran: _Ran) -> CompileError | DiskFullError:
    """Why it failed."""
    work, governed = ran.work, ran.governed
    root, log = work.room.root, work.store.place("logs", f"{work.key}.log")
    with log.open("rb") as file:
        found = diagnose_stream(file.read)
    found = with_passer(with_deaths(found, governed.timeline.dead, oom_kills() - work.kills), plan)
    page, repeat = log.with_suffix(PAGE), ""
    kept = f"The whole log is {log}, a page about it {page}; what was compiled is kept in {root}, and the same command"
    kept += " continues there."
    if found.command:
        script = root / "repeat.sh"
        write_fresh(script, repeat_script(found, ran.enter, ran.environment))
        repeat = f"sh {shlex.quote(str(script))}"
        kept += f" To repeat just that unit: {repeat}"
    elif (
        not governed.timeline.units_ever
    ):  # what configuring has found out may have been wrong: no later run shall find it
        aside = root.with_name(f"{root.name}{FAILED}")
        remove_tree(aside)
        root.rename(aside)
        kept = f"The whole log is {log}, a page about it {page}; what configuring left is in {aside}, and the same"
        kept += " command begins anew."
    title = f"{plan.name} {plan.version} does not compile"
    with suppress(OSError):  # the disk may be what failed
        write_atomic(page, failure_page(found, title, log=str(log), repeat=repeat).encode())
    detail = "\n".join((found.excerpt, *found.links))
    if found.id == "disk-full":
        return DiskFullError(f"{found.cause}.", f"{found.remedy}. {kept}", detail=detail)
    known = found.cause or (f"{found.unit} cannot be made" if found.unit else message.rstrip("."))
    cause = f"{plan.name} {plan.version} does not compile: {known}."
    return CompileError(cause, f"{found.remedy}. {kept}" if found.remedy else kept, detail=detail)
