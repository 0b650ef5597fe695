"""What builds came to as JSON.

In: nothing. Out: shapes (see `wheelsmith.documents.table`). Nothing can fail.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from wheelsmith.documents.plans import PlanFacts
from wheelsmith.documents.wheels import InspectDocument, VerdictFacts


class ServedFacts(TypedDict):
    """A source, and the place that served it (null: upstream)."""

    what: str
    digest: str
    served_by: str | None


class WheelFile(TypedDict):
    """The sealed wheel."""

    filename: str
    sha256: str
    size: int


class ToolchainFacts(TypedDict):
    """What compiled."""

    python: str
    packages: dict[str, str]
    cuda: str
    cuda_origin: str
    packages_served_by: NotRequired[str]
    """The index that the packages were installed from."""
    host_compiler: str
    libc: str
    rust: NotRequired[str]
    """Left out where no crates were compiled."""
    strip: NotRequired[str]


class IsolationFacts(TypedDict):
    """What the build was kept apart from."""

    level: Literal["confined", "none"]
    """`confined`: a root directory, processes, a network and a terminal of its own, and no rights."""
    reason: str | None
    """Why there was no confinement, in the kernel's words."""
    canonical_path: str | None
    network: bool
    """Whether the build could reach a network."""
    user: Literal["its own", "the caller's"]
    system_calls_filtered: bool
    files_restricted: bool
    """Whether files outside of the build's own could not be opened: by confinement, else by Landlock."""


class CompileSummary(TypedDict):
    """A compile in figures."""

    units: int
    cpu_seconds: float
    seconds: float
    busy: float
    peak: int
    deaths: int
    hits: int


class CacheFacts(TypedDict):
    """What the compile cache did, and for whom: only builds with the same `scope` (a recipe) take each other's objects.

    `sealed_with_key`: entries were taken only if somebody who has the operator's key wrote them.
    """

    hits: int
    misses: int
    uncacheable: int
    device_hits: int
    device_misses: int
    scope: NotRequired[str]
    readonly: NotRequired[bool]
    sealed_with_key: NotRequired[bool]


class CompileFacts(TypedDict):
    """How the backend ran."""

    seconds: float
    jobs: int
    resumed: bool
    summary: CompileSummary
    cache: CacheFacts | None


class StripFacts(TypedDict):
    """Bytes of libraries before and after they were stripped."""

    bytes_before: int
    bytes_after: int


class TorchRangeFacts(TypedDict):
    """The torch versions that the wheel requires, and which of them were compared symbol by symbol."""

    requires: str
    proved: list[str]
    why: str


class ProofFacts(TypedDict):
    """What was checked in the finished wheel, and what was done to it for that."""

    report: InspectDocument
    verdict: VerdictFacts
    drivers: NotRequired[dict[str, str | None]]
    """The oldest driver of the tables with which the judge says that it runs, by arch; null: with none."""
    imports: NotRequired[dict[str, str]]
    """What came of importing each module without a GPU: `imported`, or why that was not checked."""
    stripped: NotRequired[StripFacts]
    torch: NotRequired[TorchRangeFacts]


class BuildRecord(ProofFacts):
    """What the store keeps of a build."""

    schema_version: int
    key: str
    plan_digest: str
    plan: PlanFacts
    sources: list[ServedFacts]
    wheel: WheelFile
    toolchain: ToolchainFacts
    isolation: IsolationFacts
    compile: CompileFacts
    provenance: str


class BuildDocument(TypedDict):
    """`wheelsmith build`: the wheel, and the proof of what it holds."""

    schema_version: int
    requirement: str
    wheel: str
    sha256: str
    published: bool
    """Whether it is in the index; `--no-publish` leaves it in the store."""
    log: str | None
    page: str | None
    """The build's report."""
    bytes_fetched: int
    reused: bool
    seconds: float
    record: BuildRecord


class FetchDocument(TypedDict):
    """`wheelsmith fetch`."""

    schema_version: int
    requirement: str
    bytes_fetched: int


class DifferentSection(TypedDict):
    """A section of a library that differs; null: absent."""

    name: str
    before: int | None
    after: int | None


class DifferenceFacts(TypedDict):
    """A member of the wheel that differs."""

    member: str
    kind: Literal["content", "only before", "only after", "archive"]
    sections: list[DifferentSection]


class ToolChange(TypedDict):
    """A tool that is another one now."""

    name: str
    then: str
    now: str


class RebuildDocument(TypedDict):
    """`wheelsmith rebuild`."""

    schema_version: int
    wheel: str
    identical: bool
    sha256: str
    again: str | None
    sha256_again: str
    differences: list[DifferenceFacts]
    tools: list[ToolChange]
    seconds: float
    packing: Literal["blocks", "one stream"]
    """How members were deflated in the bytes that were compared; `one stream`: as older versions of wheelsmith did."""


class HostFacts(TypedDict):
    """The machine that compiled, without its name."""

    cpus: int
    memory: int
    kernel: str
    machine: str


class UnitFacts(TypedDict):
    """One run of one translation unit; times are seconds since the run began."""

    name: str
    kind: str
    archs: list[str]
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


class SampleFacts(TypedDict):
    """A moment of a run."""

    at: float
    used: int
    free: int
    running: int
    waiting: int
    slots: int


class RunHead(TypedDict):
    """What a run is of; `started` is seconds since 1970."""

    name: str
    version: str
    key: str
    started: float
    jobs: int
    memory: int | None


class RunFacts(RunHead):
    """One run of a build."""

    host: HostFacts
    summary: CompileSummary
    units: list[UnitFacts]
    samples: list[SampleFacts]


class TimelineDocument(TypedDict):
    """`wheelsmith timeline`: the runs of a build, oldest first."""

    schema_version: int
    runs: list[RunFacts]


class TraceDocument(TypedDict):
    """`wheelsmith timeline --trace`: Chrome's Trace Event Format, whose events are that format's."""

    displayTimeUnit: Literal["ms"]
    traceEvents: list[dict[str, object]]
    otherData: dict[str, object]
