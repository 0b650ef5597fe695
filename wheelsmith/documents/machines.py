"""Errors, images, this machine and logs as JSON.

In: nothing. Out: shapes (see `wheelsmith.documents.table`). Nothing can fail.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class ErrorFacts(TypedDict):
    """What went wrong, and what to do about it."""

    code: int
    """The exit code; it never changes its meaning."""
    name: str
    """The class of the error in `wheelsmith.errors`."""
    cause: str
    remedy: str
    detail: str
    """Further lines, such as an excerpt of a log; may be empty."""


class ErrorDocument(TypedDict):
    """Any command with --json that fails: on standard output, instead of its own document."""

    schema_version: int
    error: ErrorFacts


class RenderDocument(TypedDict):
    """`wheelsmith image render`."""

    schema_version: int
    dockerfile: str
    requirements: list[str]
    files: list[str]
    """What was written; empty without --output."""


class EngineDocument(TypedDict):
    """`wheelsmith image build` and `push`: how the engine ended; what it says goes to standard error."""

    schema_version: int
    tag: str
    exit_code: int


class LayerFacts(TypedDict):
    """A layer of an image: the bytes that it adds, uncompressed."""

    size: int
    made_by: str


class PackageFacts(TypedDict):
    """A package that an image holds."""

    kind: Literal["python", "system"]
    name: str
    version: str
    size: int


class ImageSizesDocument(TypedDict):
    """`wheelsmith image sizes`."""

    schema_version: int
    image: str
    size: int
    layers: list[LayerFacts]
    packages: list[PackageFacts]


class FilesDocument(TypedDict):
    """`wheelsmith image parts`: the files that were written."""

    schema_version: int
    files: list[str]


class TryDocument(TypedDict):
    """`wheelsmith try`: what was installed into an empty environment and imported; `smoke`: the recipe's test ran."""

    schema_version: int
    requirement: str
    python: str
    installed: list[str]
    imported: list[str]
    smoke: bool


class CheckFacts(TypedDict):
    """One line of `wheelsmith doctor`."""

    name: str
    found: str
    needed: str
    ok: bool | None
    """Whether that is enough; null: information only."""
    stops: bool
    """Whether no build begins then."""
    cause: str
    remedy: str


class DoctorDocument(TypedDict):
    """`wheelsmith doctor`."""

    schema_version: int
    checks: list[CheckFacts]


class BesideFacts(TypedDict):
    """Another failure of the same log."""

    line: int
    message: str
    id: str
    cause: str
    unit: str


class ExplainFacts(TypedDict):
    """The first real failure of a log, and its cause where it is known."""

    outcome: str
    """`known`, `unknown`, or `healthy`: the log tells no failure."""
    id: str
    phase: str
    cause: str
    remedy: str
    links: list[str]
    message: str
    excerpt: str
    line: int
    """In the log, from 1; 0: none was found."""
    unit: str
    command: str
    directory: str
    file: str
    """The source that the error names; `row` and `column` in it, from 1; empty, and 0: none."""
    row: int
    column: int
    beside: list[BesideFacts]
    repeat: str


class ExplainDocument(ExplainFacts):
    """`wheelsmith explain`."""

    schema_version: int


class CompletionDocument(TypedDict):
    """`wheelsmith completion`: what the shell is to run."""

    schema_version: int
    shell: str
    script: str


class GpuRow(TypedDict):
    """A GPU that wheelsmith knows by name."""

    gpu: str
    compute_capability: str
    sm: str
    family: str
    machine: str | None
    """The processor of the machines that have it; null: any."""
    driver: str
    """The oldest driver that knows it."""


class GpusDocument(TypedDict):
    """`wheelsmith gpus`."""

    schema_version: int
    gpus: list[GpuRow]
