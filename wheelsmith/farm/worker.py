"""What runs on a worker: look at a plan, compile a part of it, build it.

In: a `PlanTask` and a `Way`. Out: plain values. Fails as the same step does on one machine; the error travels as an
`Answer`, so that its cause, remedy and log's end reach whoever waits. Every event of importance goes to a topic of the
scheduler while it happens. This module needs Dask; nothing imports it but a farm.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import get_client, get_worker

from wheelsmith.builder.build import run_build
from wheelsmith.builder.model import BuildResult, Settings
from wheelsmith.builder.shards import Part, Share, Surveyed, compile_part, forget_parts, survey
from wheelsmith.compile.memory import usable_cpus
from wheelsmith.errors import BusyError, InterruptedBuildError, WheelsmithError
from wheelsmith.events import Compiling, Listener, Note, StageStarted, UnitDone
from wheelsmith.events import Event as Told
from wheelsmith.farm.claims import Awaiting, Taking, look_up, take
from wheelsmith.farm.task import PlanTask, Way, unpack
from wheelsmith.planning.model import Plan
from wheelsmith.store import Store, default_root

if TYPE_CHECKING:
    from distributed import Client

NAME = "worker_name"  # in a message on its way: Dask puts an address under "worker"
_OFTEN = 2.0  # seconds between two reports of where a compile is
_AGAIN = 2.0  # seconds between two looks whether another build of the same wheel has ended
_PROBE = "0" * 60 + "farm"
_ENTRY = re.compile(r"[0-9a-f]{32}/[0-9a-f]{3,128}")


@dataclass(frozen=True, slots=True)
class Failure:
    """A `WheelsmithError` as plain values; `again`: another worker, or the same one later, may well do better."""

    code: int
    name: str
    cause: str
    remedy: str
    detail: str
    again: bool = False

    def error(self) -> WheelsmithError:
        """The error."""
        from wheelsmith import errors

        kind = getattr(errors, self.name, WheelsmithError)
        made: WheelsmithError = kind(self.cause, self.remedy, detail=self.detail)
        return made


@dataclass(frozen=True, slots=True)
class Built:
    """A published wheel, and how it came to be."""

    wheel: str
    sha256: str
    size: int
    reused: bool
    seconds: float
    hits: int
    misses: int
    cpu_seconds: float
    bytes_fetched: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a task on a worker."""

    worker: str
    seconds: float
    value: Surveyed | Part | Built | None = None
    failure: Failure | None = None


def look(task: PlanTask, way: Way) -> Answer:
    """All units of a plan, and with what this worker would compile them."""
    return _answer(
        "look",
        task,
        way,
        lambda plan, store, listener: survey(plan, store, way.settings(dict(os.environ)), listener, _place()),
    )


def part(task: PlanTask, way: Way, share: Share, run: str) -> Answer:
    """Compile, into the cache, the units of the book `run` (see `claims`) that nobody else has taken, if this worker
    compiles as the one that will make the wheel."""
    client, who = get_client(), get_worker().address

    def ask(brought: list[str], done: list[str], count: int) -> tuple[list[str], list[str]] | None:
        found: tuple[list[str], list[str]] | None = client.run_on_scheduler(take, run, who, brought, done, count)
        return found

    def make(plan: Plan, store: Store, listener: Listener) -> Part:
        with Taking(ask, share.outputs, way.jobs or usable_cpus()) as claims:
            settings = replace(way.settings(dict(os.environ)), claims=claims)
            return compile_part(plan, store, settings, listener, _place(), share)

    return _answer("part", task, way, make)


def assemble(task: PlanTask, way: Way, run: str | None, outputs: tuple[str, ...] = ()) -> Answer:
    """Build and publish. `run`: the book of the units `outputs`, which others compile; None: nobody does."""
    client = get_client()

    def make(plan: Plan, store: Store, listener: Listener) -> Built:
        settings = way.settings(dict(os.environ))
        with contextlib.ExitStack() as stack:
            if run is not None:
                waiting = stack.enter_context(Awaiting(lambda: client.run_on_scheduler(look_up, run), outputs))
                remote = settings.cache is not None and "://" in settings.cache
                settings = replace(settings, claims=waiting, last=_Others(client, way) if remote else None)
            result = _build(plan, store, settings, listener)
        record = result.record
        use, summary = record["compile"]["cache"], record["compile"]["summary"]
        forget_parts(record["key"], store, _place())
        return Built(
            record["wheel"]["filename"],
            record["wheel"]["sha256"],
            record["wheel"]["size"],
            result.reused,
            result.seconds,
            use["hits"] if use else 0,
            use["misses"] if use else 0,
            summary["cpu_seconds"],
            result.bytes_fetched,
        )

    return _answer("build", task, way, make)


def _build(plan: Plan, store: Store, settings: Settings, listener: Listener) -> BuildResult:
    """Build; or wait for who builds the same here, which holds a lock that goes with it, and take that wheel."""
    told = False
    while True:
        try:
            return run_build(plan, store, settings, listener)
        except BusyError as error:
            if not told:
                listener(Note("farm", f"waiting: {error.cause}", warning=True))
            told = True
            time.sleep(_AGAIN)


def topic(run: str) -> str:
    """Where the events of a run's tasks go: one scheduler may serve several at a time."""
    return f"wheelsmith-{run}"


def shared(way: Way, word: str, write: bool) -> str | None:
    """Whether workers see one cache: the first writes a word there, the others read it. None: it is there."""
    from wheelsmith.toolchain.ccache.cache import check_setting, entries_here
    from wheelsmith.toolchain.ccache.entries import Directory, Scope, Sealed, load_key
    from wheelsmith.toolchain.ccache.remote import connect

    where = way.settings(dict(os.environ)).cache
    try:
        check_setting(where)
        remote = where is not None and "://" in where
        entries = connect(str(where)) if remote else Directory(entries_here(_store(way).root, where))
        sealed = Sealed(entries, Scope("farm", "f" * 32), load_key())
        if write:
            sealed.put(_PROBE, word.encode())
        return None if sealed.get(_PROBE) == word.encode() else "it does not have what another worker put there"
    except WheelsmithError as error:
        return error.cause
    except Exception as error:
        return f"{type(error).__name__} {error}"


def kept(way: Way, name: str) -> bytes | None:
    """An entry as this worker keeps it by itself, sealed, whatever has become of the shared cache."""
    from wheelsmith.toolchain.ccache.cache import entries_here
    from wheelsmith.toolchain.ccache.entries import Directory

    if not _ENTRY.fullmatch(name):
        return None
    return Directory(entries_here(_store(way).root, way.settings(dict(os.environ)).cache)).get(name)


def sees_index(way: Way, token: str) -> bool:
    """Whether the index, a directory, is the coordinator's."""
    return Path(way.index, token).is_file()


def _answer(
    what: str, task: PlanTask, way: Way, make: Callable[[Plan, Store, Listener], Surveyed | Part | Built]
) -> Answer:
    worker, started = get_worker(), time.monotonic()
    listener = _Teller(task, what)
    name = str(worker.name)
    try:
        store = _store(way)
        value = make(unpack(task, store), store, listener)
    except WheelsmithError as error:
        facts = error.to_dict()
        again = isinstance(error, InterruptedBuildError)
        failure = Failure(facts["code"], facts["name"], facts["cause"], facts["remedy"], facts["detail"], again)
        return Answer(name, time.monotonic() - started, None, failure)
    return Answer(name, time.monotonic() - started, value)


def _store(way: Way) -> Store:
    return Store(Path(way.store) if way.store else default_root())


def _place() -> str:
    """A name for this worker's own work directories: stores may be shared by workers of one host."""
    return "".join(c if c.isalnum() else "-" for c in str(get_worker().name))[-40:]


@dataclass(frozen=True, slots=True)
class _Others:
    """Entries that other workers keep by themselves: a shared cache may be gone, or have dropped them."""

    client: Client
    way: Way

    def get(self, name: str) -> bytes | None:
        """The entry, of whoever has it."""
        try:
            found = self.client.run(kept, self.way, name, on_error="ignore")
        except Exception as error:  # Dask has many for a farm that goes down
            raise OSError(f"{type(error).__name__} {error}"[:200]) from error
        return next((data for data in found.values() if data is not None), None)

    def put(self, name: str, data: bytes) -> None:
        """Nothing: everybody keeps what he has compiled."""


class _Teller:
    """A listener that tells the coordinator."""

    def __init__(self, task: PlanTask, what: str) -> None:
        self._task, self._what, self._worker, self._last = task, what, get_worker(), 0.0

    def __call__(self, event: Told, /) -> None:
        match event:
            case UnitDone() | StageStarted():
                self._tell(type(event).__name__, asdict(event))
            case Note() if event.warning:
                self._tell("Note", asdict(event))
            case Compiling() if time.monotonic() - self._last > _OFTEN:
                self._last = time.monotonic()
                self._tell("Compiling", asdict(event))

    def _tell(self, kind: str, facts: dict[str, object]) -> None:
        try:
            self._worker.log_event(
                topic(self._task.run),
                {"event": kind, "cell": self._task.cell, "task": self._what, NAME: str(self._worker.name), **facts},
            )
        except Exception:  # a farm that is going down; the work is worth more than the word about it
            return
