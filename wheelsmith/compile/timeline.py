"""The record of a compile: every unit with its times, memory and end, and how much could run at each moment.

In: what the scheduler saw. Out: `logs/<key>.timeline.json` in the store, rewritten now and then, so that an interrupted
build leaves one too; a build that continues adds a run to it. Fails with `OSError` only.

Times are seconds since the run began; `started` is that moment as Unix time. Sizes are bytes.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from packaging.utils import canonicalize_name

from wheelsmith.compile.memory import GB
from wheelsmith.errors import UsageError
from wheelsmith.store import write_atomic

if TYPE_CHECKING:
    from wheelsmith.documents.builds import (
        CompileSummary,
        HostFacts,
        RunFacts,
        RunHead,
        SampleFacts,
        TimelineDocument,
        UnitFacts,
    )

SCHEMA_VERSION = 1
SUFFIX = ".timeline.json"
_MOST_SAMPLES = 2048


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of one unit. `death`: the sign that it died of memory; `status`: exit status, negative for a signal."""

    name: str
    kind: str
    archs: tuple[str, ...]
    threads: int
    asked: float
    start: float
    end: float
    peak: int
    expected_peak: int
    cpu_seconds: float
    expected_cpu_seconds: float
    status: int
    cache: str
    attempt: int
    death: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment: bytes that compilers use, bytes free for more, compilers running and waiting, and slots."""

    at: float
    used: int
    free: int
    running: int
    waiting: int
    slots: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What `build.json` keeps of a compile.

    Attributes:
        units: compilers that ended well.
        cpu_seconds: of all compilers, also of those that failed.
        seconds: from the first start of one to the last end.
        busy: share of the allowed processors' time in it that compilers worked.
        peak: bytes that the compilers used together at the most, as sampled.
        deaths: compilers that died of memory.
        hits: units that came from the compile cache.
    """

    units: int
    cpu_seconds: float
    seconds: float
    busy: float
    peak: int
    deaths: int
    hits: int

    def __str__(self) -> str:
        text = f"{self.units} units, {self.cpu_seconds:.1f} CPU-seconds, processors {self.busy:.0%} busy"
        text += f", {self.peak / GB:.2f} GB at the most"
        if self.deaths:
            text += f"; {self.deaths} died of memory"
        return text + (f"; {self.hits} from the compile cache" if self.hits else "")

    def to_dict(self) -> CompileSummary:
        """JSON-ready form."""
        rounded = {"cpu_seconds": round(self.cpu_seconds, 2), "seconds": round(self.seconds, 2)}
        return cast("CompileSummary", asdict(self) | rounded | {"busy": round(self.busy, 4)})


class Timeline:
    """Collects one run; `head` describes it (what, when, where), `earlier` are the runs that it continues."""

    def __init__(self, head: RunHead, cpus: int, earlier: list[RunFacts]) -> None:
        self._head, self._cpus, self._earlier = head, cpus, earlier
        self._attempts: list[Attempt] = []
        self._samples: list[Sample] = []
        self._interval = 0.5

    def add(self, attempt: Attempt) -> None:
        """A unit ended."""
        self._attempts.append(attempt)

    def watch(self, sample: Sample) -> None:
        """A moment; of a long build fewer are kept, and of those left out the highest use of memory."""
        if self._samples and sample.at - self._samples[-1].at < self._interval:
            if sample.used > self._samples[-1].used:
                self._samples[-1] = Sample(self._samples[-1].at, *_rest(sample))
            return
        self._samples.append(sample)
        if len(self._samples) > _MOST_SAMPLES:
            pairs = zip(self._samples[::2], self._samples[1::2], strict=False)
            self._samples = [Sample(a.at, *_rest(max(a, b, key=lambda s: s.used))) for a, b in pairs]
            self._interval *= 2

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every run of a unit, in the order of their ends."""
        return tuple(self._attempts)

    @property
    def cpu_seconds(self) -> Iterator[float]:
        """Of every unit that ended well."""
        return (attempt.cpu_seconds for attempt in self._attempts if attempt.status == 0)

    @property
    def units_ever(self) -> int:
        """How many compilers ended well, in this run and in those that it continues."""
        return self.summary().units + sum(run["summary"]["units"] for run in self._earlier)

    @property
    def dead(self) -> tuple[Attempt, ...]:
        """The last attempts of the units that died of memory and were not made later."""
        last = {attempt.name: attempt for attempt in self._attempts}
        return tuple(attempt for attempt in last.values() if attempt.death)

    def summary(self) -> Summary:
        """The run in figures."""
        start = min((a.start for a in self._attempts), default=0.0)
        seconds = max((a.end for a in self._attempts), default=0.0) - start
        cpu = sum(a.cpu_seconds for a in self._attempts)
        return Summary(
            units=sum(a.status == 0 for a in self._attempts),
            cpu_seconds=cpu,
            seconds=seconds,
            busy=cpu / (seconds * self._cpus) if seconds else 0.0,
            peak=max((s.used for s in self._samples), default=0),
            deaths=sum(bool(a.death) for a in self._attempts),
            hits=sum(a.cache == "hit" for a in self._attempts),
        )

    def to_dict(self) -> TimelineDocument:
        """JSON-ready form: the runs, oldest first."""
        run: RunFacts = {
            **self._head,
            "host": _host(self._cpus),
            "summary": self.summary().to_dict(),
            "units": [cast("UnitFacts", _plain(attempt)) for attempt in self._attempts],
            "samples": [cast("SampleFacts", _plain(sample)) for sample in self._samples],
        }
        return {"schema_version": SCHEMA_VERSION, "runs": [*self._earlier, run]}

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_atomic(path, json.dumps(self.to_dict(), separators=(",", ":")).encode())


def earlier_runs(path: Path) -> list[RunFacts]:
    """The runs of a record; none if there is no such file or it cannot be read."""
    try:
        return read_record(path)["runs"]
    except UsageError:
        return []


def read_record(path: Path) -> TimelineDocument:
    """The record in a file.

    Raises:
        UsageError: it is none, or of another version of wheelsmith.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a timeline: {error}.", "Name a log or a timeline.") from error
    if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION or not isinstance(data["runs"], list):
        raise UsageError(f"{path} is no timeline of this version of wheelsmith.", "Build again to get one.")
    return cast("TimelineDocument", data)


def find_record(what: str, logs: Path) -> Path:
    """The timeline that belongs to a log, to a timeline's own path, or to a requirement (the newest one in `logs`).

    Raises:
        UsageError: there is none.
    """
    path = Path(what)
    if path.is_file():
        return path if path.suffix == ".json" else path.with_suffix(SUFFIX)
    name, _, version = what.partition("==")
    version, _, _ = version.partition("+")
    records = sorted(logs.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime, reverse=True)
    for record in records:
        for run in earlier_runs(record)[-1:]:
            if run["name"] == canonicalize_name(name.strip()) and version.strip() in ("", run["version"]):
                return record
    raise UsageError(f"There is no timeline of {what} in {logs}.", "Build it, or name the store with --store.")


def _rest(sample: Sample) -> tuple[int, int, int, int, int]:
    return sample.used, sample.free, sample.running, sample.waiting, sample.slots


def _plain(value: Attempt | Sample) -> dict[str, object]:
    return {key: round(item, 3) if isinstance(item, float) else item for key, item in asdict(value).items()}


def _host(cpus: int) -> HostFacts:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpus": cpus, "memory": memory, "kernel": platform.release(), "machine": platform.machine()}
