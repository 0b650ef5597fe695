"""What wheels hold, and whether they run, as JSON.

In: nothing. Out: shapes (see `wheelsmith.documents.table`). Nothing can fail.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from wheelsmith.documents.plans import ChoiceFacts


class CodeFacts(TypedDict):
    """GPU code of one arch (and, for PTX, of one version of its language) in a library."""

    arch: str
    isa: NotRequired[str | None]
    count: int
    """Entries, as `cuobjdump --list-elf --list-ptx` counts them."""
    empty: int
    """Those of them that hold no kernel."""
    size: int
    packed: int
    """Bytes in the wheel, deflated."""


class WheelCodeFacts(CodeFacts):
    """GPU code of one kind and arch in all libraries together."""

    kind: Literal["sass", "ptx", "ltoir"]


class MislabelledFacts(TypedDict):
    """Code whose own arch is not the one of the label around it."""

    label: str
    arch: str


class UnjudgedFacts(TypedDict):
    """A file that may hold GPU code and cannot be judged."""

    path: str
    reason: str


class LibraryFacts(TypedDict):
    """One library of a wheel."""

    path: str
    size: int
    packed: int | None
    kind: str
    format: str
    toolkit: str | None
    """The CUDA release whose compiler wrote its code, where that is known."""
    cudart_major: int | None
    mislabelled: list[MislabelledFacts]
    unread: NotRequired[int]
    """Pieces of GPU code that cannot be read, where there are any: their arch is what the fatbin says."""
    sass: list[CodeFacts]
    ptx: list[CodeFacts]
    ltoir: list[CodeFacts]
    units: int
    """Translation units that hold GPU code with kernels."""
    compression: dict[str, int]
    needed: list[str]
    rpath: list[str]
    glibc: str | None
    glibcxx: str | None
    python_abi: str
    torch_abi: str
    torch_symbols: list[str]


class InspectDocument(TypedDict):
    """`wheelsmith inspect`: what a wheel, a folder or a library holds."""

    schema_version: int
    kind: Literal["wheel", "folder", "library"]
    filename: str
    sha256: str | None
    size: int
    name: str | None
    version: str | None
    tags: list[str]
    platform: str | None
    platform_because: list[str]
    requires_dist: list[str]
    code: list[WheelCodeFacts]
    libraries: list[LibraryFacts]
    unjudged: list[UnjudgedFacts]
    choices: list[ChoiceFacts]
    """What it chooses among when it runs, as it says itself, else as wheelsmith's table of packages does."""


class VerdictRow(TypedDict):
    """How one library serves one arch."""

    library: str
    arch: str
    outcome: str
    served_by: str
    only_ptx: int
    units: int
    lacking: int
    """Units that hold kernels for another requested arch and not for this one."""
    allowed: int
    """Those of them that the contract allows."""


class VerdictFacts(TypedDict):
    """What the contract's check said: sound when `violations` is empty."""

    schema_version: int
    archs: str
    headline: str
    """One sentence of what was found."""
    rows: list[VerdictRow]
    violations: list[str]


class VerifyDocument(TypedDict):
    """`wheelsmith verify`: what was checked, and found right."""

    schema_version: int
    wheel: str
    sha256: str
    members: int
    components: int
    requirement: str
    plan_digest: str
    finished: str
    signed_by: str | None


class MachineGpu(TypedDict):
    """A GPU of the machine."""

    name: str
    arch: str


class MachineFacts(TypedDict):
    """Where the wheel is to run. What is null was not judged."""

    gpus: list[MachineGpu]
    driver: str | None
    driver_cuda: str | None
    torch: str | None
    glibc: str | None
    glibcxx: str | None
    cxxabi: str | None


class ReasonFacts(TypedDict):
    """One finding."""

    rule: str
    says: str
    remedy: str


class UnitCounts(TypedDict):
    """Translation units with kernels, by what becomes of them on this GPU."""

    native: int
    jit: int
    refused: int
    absent: int


class LibraryFitFacts(TypedDict):
    """The answer for one library on one GPU."""

    library: str
    gpu: str
    answer: str
    units: UnitCounts
    reasons: list[ReasonFacts]


class FitsDocument(TypedDict):
    """`wheelsmith fits`: whether a wheel will run on a machine."""

    schema_version: int
    wheel: str
    machine: MachineFacts
    verdict: Literal["fits", "does not fit", "not judged"]
    fits: bool
    answers: dict[str, str]
    """The worst answer by GPU."""
    note: str
    libraries: list[LibraryFitFacts]
    dependencies: list[FitsDocument]
    missing: list[str]
    """Requirements that were to be followed and were not found."""


class AdviceDocument(TypedDict):
    """`wheelsmith advise`: whether a package needs a source build."""

    schema_version: int
    package: str
    wheel: str | None
    answer: Literal["install", "build", "not judged"]
    build_needed: bool
    why: str
    command: str | None
    rules: list[str]
    """For each GPU: how this wheel runs there, and since which driver."""
    fits: FitsDocument | None
