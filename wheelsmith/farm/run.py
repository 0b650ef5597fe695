"""Build cells on a cluster: who does what next, and what came of it.

In: planned cells, a client, how to build. Out: `FarmCell`s, in the cells' order, and what each worker did. A cell that
fails fails alone. Dask decides which worker does what, by resources and priorities (longest first); a task whose worker
is lost is done again by another one, and what was compiled until then is in the cache. A scheduler that is lost ends
the run: open cells are "interrupted", and the next run finds what was compiled.

A cell that is long for its share of the farm is split. Every fitting worker looks at its plan; those that would compile
with the same tools each start the build once, and take unit by unit from the scheduler's book (`claims.py`), the
longest first, so that a slow one takes few and one that comes later takes some. At the same time one of them begins the
build itself, whose compilers wait for what the others have done.
"""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wheelsmith.builder.matrix import PlannedCell
from wheelsmith.builder.shards import Part, Share, Surveyed
from wheelsmith.errors import FarmError, WheelsmithError
from wheelsmith.events import CellDone, CellStarted, Listener, Note
from wheelsmith.farm import claims
from wheelsmith.farm import worker as work
from wheelsmith.farm.cells import FarmCell
from wheelsmith.farm.cluster import workers_of
from wheelsmith.farm.resources import lacking, needed
from wheelsmith.farm.task import PlanTask, Way, pack
from wheelsmith.planning.model import Plan

if TYPE_CHECKING:
    from distributed import Client, Future

    from wheelsmith.documents.farms import WorkerFacts
    from wheelsmith.documents.matrices import CellState

_WATCH = 2.0  # seconds between two looks at who is there
_PATIENCE = 30.0  # seconds that a scheduler may not answer
_TRIES = 3  # of a build whose workers are lost
#: Below this many CPU-seconds one worker builds a plan alone: every other one would configure it first.
WORTH_SPLITTING = 40.0


@dataclass(slots=True)
class _Job:
    """A cell that is being built."""

    cell: FarmCell
    plan: Plan
    task: PlanTask
    release: str
    begun: float = 0.0
    looks: dict[Future, str] = field(default_factory=dict)  # to the worker's address
    answers: dict[str, Surveyed] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()  # of the units that are shared out
    at_work: dict[Future, str] = field(default_factory=dict)  # parts, to the worker's address
    rounds: int = 0
    key: str | None = None
    tries: int = 0
    building: Future | None = None
    released: bool = False

    def good(self, there: Mapping[str, object]) -> list[str]:
        """The workers that are there and would compile the same."""
        return [address for address, found in self.answers.items() if found.key == self.key and address in there]


@dataclass(frozen=True, slots=True)
class Conduct:
    """What the caller decides: which cells are split, which workers share a cache, and who hears of it all.

    `events` gets every message of the workers, as it is.
    """

    split: str = "auto"
    sharing: tuple[str, ...] = ()
    listener: Listener = lambda event: None
    events: Callable[[Mapping[str, object]], None] = lambda message: None


class FarmRun:
    """One run; `cells` and `workers` are its results."""

    def __init__(self, client: Client, planned: Sequence[PlannedCell], way: Way, conduct: Conduct) -> None:
        self._client, self._way, self._conduct = client, way, conduct
        self._messages: queue.SimpleQueue[Mapping[str, object]] = queue.SimpleQueue()
        self._run = uuid.uuid4().hex[:12]
        self._there = workers_of(client)
        self._silent = 0.0
        self._empty: set[str] = set()  # workers that offered nothing at the last look
        self._told: set[str] = set()
        self._names: dict[str, str] = {}  # of workers, by address
        self._tasks: Counter[str] = Counter()
        self._cpu: dict[str, float] = defaultdict(float)
        self.cells = [FarmCell(one) for one in planned]
        self._jobs: list[_Job] = []
        for number, cell in enumerate(self.cells):
            one = cell.planned
            if one.error is not None or one.plan is None:
                cell.state, cell.error = "refused", one.error
            elif one.published is not None:
                cell.state = "published"
            else:
                job = _Job(cell, one.plan, pack(self._run, one.id, one.plan), f"wheelsmith-{self._run}-{number}")
                self._jobs.append(job)

    @property
    def workers(self) -> list[WorkerFacts]:
        """What each worker did."""
        return [
            {"name": name, "tasks": count, "cpu_seconds": round(self._cpu[name], 2)}
            for name, count in sorted(self._tasks.items())
        ]

    def run(self) -> None:
        """Until every cell has ended."""
        self._client.subscribe_topic(work.topic(self._run), lambda message: self._messages.put(message[1]))
        order = sorted(self._jobs, key=lambda job: -job.plan.expect.cpu_minutes)
        for number, job in enumerate(order, start=1):
            job.begun = time.monotonic()
            self._conduct.listener(CellStarted(job.cell.planned.id, number, len(order)))
            self._begin(job)
        watched = time.monotonic()
        try:
            while any(job.cell.state == "not begun" for job in self._jobs):
                self._tell()
                try:
                    if not self._step():
                        time.sleep(0.1)
                    if time.monotonic() - watched > _WATCH:
                        watched = time.monotonic()
                        self._watch()
                except (OSError, RuntimeError, CancelledError):  # of a connection that is gone
                    if self._client.status == "running":
                        raise
                    self._gone()
        except KeyboardInterrupt:
            self._end_all("interrupted", None)
            raise
        finally:
            self._tell()

    def _begin(self, job: _Job) -> None:
        fit = [address for address, has in self._there.items() if not lacking(job.plan, has)]
        sharing = [address for address in fit if address in self._conduct.sharing]
        if self._is_split(job, len(sharing)):
            for address in sharing:
                self._look(job, address)
        else:
            self._build(job, False)

    def _is_split(self, job: _Job, workers: int) -> bool:
        if workers < 2 or self._conduct.split == "never":
            return False
        if self._conduct.split == "always":
            return True
        mine = 60 * job.plan.expect.cpu_minutes
        total = 60 * sum(other.plan.expect.cpu_minutes for other in self._jobs)
        return mine >= WORTH_SPLITTING and mine > total / (2 * workers)

    def _look(self, job: _Job, address: str) -> None:
        where = {"workers": [address], "allow_other_workers": False}
        job.looks[self._submit(job, work.look, job.task, self._way, resources=needed(job.plan), **where)] = address

    def _build(self, job: _Job, beside: bool) -> None:
        """Begin the build that makes the wheel. `beside`: parts of it are compiled at the same time."""
        job.tries += 1
        good = job.good(self._there)
        resources = {"assembly": 1.0} if beside else needed(job.plan)
        book = job.release if job.outputs else None
        job.building = self._submit(
            job, work.assemble, job.task, self._way, book, job.outputs, resources=resources, workers=good or None
        )

    def _submit(self, job: _Job, function: Callable[..., work.Answer], *arguments: object, **more: object) -> Future:
        key = f"{function.__name__}-{job.cell.planned.id}-{self._run}-{uuid.uuid4().hex[:8]}"
        priority = int(60 * job.plan.expect.cpu_minutes)
        return self._client.submit(function, *arguments, key=key, pure=False, priority=priority, **more)

    def _step(self) -> bool:
        """Take what has ended; whether anything had."""
        moved = False
        for job in self._jobs:
            if job.cell.state != "not begun":
                continue
            for future in [future for future in job.looks if future.done()]:
                self._looked(job, future, job.looks.pop(future))
                moved = True
            for future in [future for future in job.at_work if future.done()]:
                self._parted(job, future, job.at_work.pop(future))
                moved = True
            if job.building is not None and job.building.done():
                future, job.building = job.building, None
                self._made(job, future)
                moved = True
        return moved

    def _answer(self, job: _Job, future: Future) -> work.Answer | None:
        """What came of a task; None: its workers were lost."""
        if future.status == "cancelled":
            if self._client.status != "running":
                self._gone()
            return None
        if future.status == "error":
            error = future.exception()
            self._conduct.listener(Note("farm", f"{job.cell.planned.id}: {type(error).__name__} {error}"[:300], True))
            return None
        answer: work.Answer = future.result()
        job.cell.workers.add(answer.worker)
        self._tasks[answer.worker] += 1
        return answer

    def _looked(self, job: _Job, future: Future, address: str) -> None:
        answer = self._answer(job, future)
        if answer is not None and answer.failure is not None:
            self._conduct.listener(Note("farm", f"{answer.worker} takes no part: {answer.failure.cause}", True))
        if answer is not None and isinstance(answer.value, Surveyed):
            job.answers[address], self._names[address] = answer.value, answer.worker
            if job.key is not None and answer.value.key != job.key:
                self._misfit(address)
            elif job.key is not None and not job.released and job.outputs:
                self._part(job, address)  # it came later
        if not job.looks and job.key is None:
            self._share_out(job)

    def _misfit(self, address: str) -> None:
        text = f"{self._names[address]} takes no part: it compiles with other tools than the others"
        self._conduct.listener(Note("farm", text, warning=True))

    def _share_out(self, job: _Job) -> None:
        """Everybody has looked: the tools that most have make the wheel."""
        keys = Counter(found.key for found in job.answers.values())
        if not keys:
            self._build(job, False)
            return
        ((job.key, _),) = keys.most_common(1)
        for address, found in job.answers.items():
            if found.key != job.key:
                self._misfit(address)
        good = job.good(self._there)
        first = next(found for found in job.answers.values() if found.key == job.key)
        job.cell.units = len(first.units)
        if len(good) < 2 or not first.units:
            self._build(job, False)
            return
        job.outputs = tuple(unit.output for unit in first.units)
        seconds = {unit.output: unit.cpu_seconds for unit in first.units}
        self._client.run_on_scheduler(claims.open_book, job.release, seconds)
        if any(self._there[address].get("assembly") for address in good):
            self._build(job, True)
        self._round(job)

    def _round(self, job: _Job) -> None:
        job.rounds += 1
        for address in job.good(self._there):
            self._part(job, address)

    def _part(self, job: _Job, address: str) -> None:
        share = Share(str(job.key), job.outputs)
        where = {"workers": [address], "allow_other_workers": False, "resources": needed(job.plan)}
        job.at_work[self._submit(job, work.part, job.task, self._way, share, job.release, **where)] = address
        job.cell.parts += 1

    def _parted(self, job: _Job, future: Future, address: str) -> None:
        answer = self._answer(job, future)
        if job.cell.state != "not begun":  # the scheduler is gone, and would be waited for
            return
        if answer is None or answer.failure is not None:
            job.cell.lost += 1
        elif isinstance(answer.value, Part):
            self._cpu[answer.worker] += answer.value.cpu_seconds
        # It does not compile: the build itself will say so, with the diagnosis. Nothing more is worth starting.
        hopeless = answer is not None and answer.failure is not None and answer.failure.name == "CompileError"
        found = self._client.run_on_scheduler(claims.look_up, job.release, hopeless, address)
        if job.at_work or job.released:
            return
        done, closed = found or ((), True)
        if not closed and len(done) < len(job.outputs) and job.rounds < _TRIES and job.good(self._there):
            self._round(job)  # who was lost has left some, and the others had ended
            return
        job.released = True
        self._client.run_on_scheduler(claims.look_up, job.release, True)
        if job.building is None:
            self._build(job, False)

    def _made(self, job: _Job, future: Future) -> None:
        answer, cell = self._answer(job, future), job.cell
        if answer is None or (answer.failure is not None and answer.failure.again):
            if job.tries < _TRIES and cell.state == "not begun":
                self._build(job, bool(job.at_work))
                return
            error: WheelsmithError = FarmError(
                f"The workers that built {cell.planned.id} were lost {_TRIES} times.",
                "Look at their logs: a worker that the system kills has often too little memory.",
            )
            self._finish(job, "failed", error)
        elif answer.failure is not None:
            self._finish(job, "failed", answer.failure.error())
        elif isinstance(answer.value, work.Built):
            cell.built = answer.value
            self._cpu[answer.worker] += 0.0 if answer.value.reused else answer.value.cpu_seconds
            self._finish(job, "stored" if answer.value.reused else "built", None)

    def _finish(self, job: _Job, state: CellState, error: WheelsmithError | None, *, cancel: bool = True) -> None:
        cell = job.cell
        if cell.state != "not begun":  # the scheduler was gone, and what it had is cancelled now
            return
        cell.state, cell.error, cell.seconds = state, error, time.monotonic() - job.begun
        with contextlib.suppress(Exception):  # nobody waits for them any more
            for future in (*job.looks, *job.at_work) if cancel else ():
                future.cancel()
            if cancel and job.outputs:
                self._client.run_on_scheduler(claims.forget, job.release)
        words = error.cause if error else cell.built.wheel if cell.built else ""
        self._conduct.listener(CellDone(cell.planned.id, state, words, cell.seconds))

    def _watch(self) -> None:
        """Who came, and who went."""
        try:
            now = workers_of(self._client)
            self._silent = 0.0
        except Exception:  # Dask has many for a scheduler that does not answer
            self._silent += _WATCH
            if self._client.status == "closed" or self._silent > _PATIENCE:
                self._gone()
            return
        for address in self._there.keys() - now.keys():
            self._conduct.listener(Note("farm", f"worker {address} is gone", warning=True))
        new = [address for address, has in now.items() if address not in self._there and "build" in has]
        self._greet(new, now)
        self._there = {a: has for a, has in now.items() if "build" in has}
        for job in self._jobs:
            if job.cell.state != "not begun":
                continue
            for future, address in (*job.looks.items(), *job.at_work.items()):
                if address not in now:
                    future.cancel()
            if job.outputs and not job.released:
                for address in new:
                    if not lacking(job.plan, now[address]):
                        self._look(job, address)
            if job.key is not None and job.building is not None and not job.good(now):  # none is left to make it
                job.building.cancel()

    def _greet(self, new: Collection[str], now: Mapping[str, Mapping[str, float]]) -> None:
        for address in new:
            self._conduct.listener(Note("farm", f"worker {address} has come"))
        empty = {address for address, has in now.items() if "build" not in has}
        for address in (empty & self._empty) - self._told:  # seen before, so it has had time to say what it has
            text = f"worker {address} takes no part so far: it has another wheelsmith or none, or is slow"
            self._conduct.listener(Note("farm", text, warning=True))
        self._told |= empty & self._empty
        self._empty = empty

    def _gone(self) -> None:
        error = FarmError(
            "The scheduler is gone.",
            "Start it again, and give the same command: what was compiled is in the cache, and is not compiled again.",
        )
        self._end_all("interrupted", error)

    def _end_all(self, state: CellState, error: WheelsmithError | None) -> None:
        for job in self._jobs:
            if job.cell.state == "not begun":
                self._finish(job, state, error, cancel=False)

    def _tell(self) -> None:
        while not self._messages.empty():
            message = dict(self._messages.get())
            message["worker"] = message.pop(work.NAME, message.get("worker"))
            self._conduct.events(message)
