"""What a plan is as JSON.

In: nothing. Out: shapes (see `wheelsmith.documents.table`). Nothing can fail.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class GitSourceFacts(TypedDict):
    """A commit of a git repository."""

    kind: Literal["GitSource"]
    url: str
    commit: str
    tag: str | None
    sparse: list[str]


class SdistSourceFacts(TypedDict):
    """An sdist of the package index."""

    kind: Literal["SdistSource"]
    project: str
    version: str
    sha256: str


class ArchiveSourceFacts(TypedDict):
    """An archive at a URL."""

    kind: Literal["ArchiveSource"]
    url: str
    sha256: str


SourceFacts = GitSourceFacts | SdistSourceFacts | ArchiveSourceFacts


class TreeFacts(TypedDict):
    """An external source tree, and where the build finds it."""

    name: str
    source: SourceFacts
    path: str


class CrateLockFacts(TypedDict):
    """A Cargo.lock whose crates the build compiles, and the oldest Rust release that does (empty: not said)."""

    lock: str
    rust: str


class DiffPatchFacts(TypedDict):
    """A unified diff."""

    kind: Literal["DiffPatch"]
    path: str
    name: str
    text: str
    why: str


class EditPatchFacts(TypedDict):
    """A text edit: `find` matches exactly `count` times."""

    kind: Literal["EditPatch"]
    path: str
    file: str
    find: str
    replace: str
    count: int
    why: str


class ArchPatchFacts(TypedDict):
    """An edit of the arch lists of a CMake variable."""

    kind: Literal["ArchPatch"]
    path: str
    file: str
    variable: str
    also: list[str]
    known: list[str]
    ptx: bool
    exact: bool
    why: str


class RewriteFacts(TypedDict):
    """A requirement of the finished wheel, and what takes its place (empty: nothing)."""

    requirement: str
    becomes: str
    why: str


class GpuFacts(TypedDict):
    """A GPU of the target."""

    name: str
    arch: str
    family: str
    machine: str | None
    aliases: list[str]


class TargetFacts(TypedDict):
    """What to build for."""

    python: str
    archs: str
    cuda: str
    torch: str | None
    gpus: list[GpuFacts]
    environment: Literal["isolated", "current"]
    platform: str
    driver: NotRequired[str]
    """The oldest driver that the wheel must run on; left out where nobody said one."""


class LackFacts(TypedDict):
    """Kernels that a library may lack for some of the archs."""

    kernels: list[str]
    why: str
    archs: list[str] | None


class PromiseFacts(TypedDict):
    """What libraries of the wheel must hold."""

    path: str
    code: Literal["native", "jit", "none"]
    optional: bool
    archs: list[str] | None
    lacks: NotRequired[list[LackFacts]]
    """Left out where it is empty."""


class AlternativeFacts(TypedDict):
    """One library that may be chosen when a program runs."""

    path: str
    archs: str | None


class ChoiceFacts(TypedDict):
    """Libraries of which the package takes one when it runs."""

    package: str
    by: Literal["gpu", "torch-cuda"]
    why: str
    library: list[AlternativeFacts]
    unused: list[str]


class LimitFacts(TypedDict):
    """What holds for the whole wheel."""

    forbidden: list[str]
    max_size: int | None
    needed: list[str] | None
    manylinux: str | None
    unjudged: NotRequired[list[str]]
    """Left out where it is empty."""
    choice: NotRequired[list[ChoiceFacts]]
    """Left out where it is empty."""
    present: NotRequired[list[str]]
    """Left out where it is empty."""


class ExpectationFacts(TypedDict):
    """What the build takes."""

    memory_gb: float
    disk_gb: float
    cpu_minutes: float
    gcc: NotRequired[str]
    """The oldest GCC that will do; left out where nobody says."""


class PlanFacts(TypedDict):
    """A plan, as records and provenance hold it."""

    schema_version: int
    name: str
    version: str
    local_version: str
    target: TargetFacts
    source: SourceFacts
    trees: list[TreeFacts]
    patches: list[DiffPatchFacts | EditPatchFacts | ArchPatchFacts]
    requires: list[str]
    lock_sha256: str | None
    pins: dict[str, str]
    config_settings: dict[str, str]
    environment: dict[str, str]
    promises: list[PromiseFacts]
    exclude: list[str]
    imports: list[str]
    expect: ExpectationFacts
    recipe: str
    warnings: list[str]
    strip: bool
    limits: LimitFacts
    options: dict[str, bool]
    rewrites: NotRequired[list[RewriteFacts]]
    """Left out where it is empty."""
    cuda_libraries: NotRequired[bool]
    """Its sources include cuBLAS, cuRAND or their like; left out where they do not."""
    crates: NotRequired[list[CrateLockFacts]]
    """Left out where it is empty."""
    serves_torch: NotRequired[str]
    """The torch versions that the wheel shall require as far as that is proved; left out where it is empty."""


class PlanDocument(PlanFacts):
    """`wheelsmith plan`: everything that a build would do."""

    digest: str
    wheel_version: str
