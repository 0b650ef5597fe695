"""What recipes hold and need as JSON.

In: nothing. Out: shapes (see `wheelsmith.documents.table`). Nothing can fail.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class RecipeOptionFacts(TypedDict):
    """An option of a recipe, for --option."""

    default: bool
    why: str


class RecipeDefaults(TypedDict):
    """What is built when nothing else is said."""

    archs: str
    cuda: str
    python: str | None
    torch: str | None


class RecipeRow(TypedDict):
    """A recipe that was found."""

    name: str
    releases: list[str]
    defaults: RecipeDefaults
    options: dict[str, RecipeOptionFacts]
    file: str


class RecipesDocument(TypedDict):
    """`wheelsmith recipes list`."""

    schema_version: int
    recipes: list[RecipeRow]


class LockedTreeFacts(TypedDict):
    """A tree that the build would fetch, and how the recipe has it."""

    name: str
    state: str
    url: str
    commit: str | None
    tag: str | None
    was: str | None
    inside: str
    env: dict[str, str]
    sparse: list[str]
    where: str
    note: str


class LockDocument(TypedDict):
    """`wheelsmith recipes lock`."""

    schema_version: int
    name: str
    version: str
    trees: list[LockedTreeFacts]
    warnings: list[str]


class PatchFacts(TypedDict):
    """How a patch fares against a new version; `matches` null: not tried."""

    what: str
    tree: str | None
    why: str
    wanted: bool
    matches: bool | None
    problem: str
    skipped: bool
    """Its versions leave this one out, and its target is still there."""
    note: str


class NeedFacts(TypedDict):
    """A build requirement of the project against the recipe's."""

    name: str
    project: str
    recipe: str
    state: Literal["same", "fits", "differs"]


class ChangeFacts(TypedDict):
    """Something that changes; `decided` false: the proposal leaves it open, and marks it."""

    kind: str
    text: str
    decided: bool


class StepFacts(TypedDict):
    """One version."""

    version: str
    source: str
    verdict: str
    exit_code: int
    lock: LockDocument
    patches: list[PatchFacts]
    needs: list[NeedFacts]
    branches: list[str]
    """The CUDA releases at which the project's CMake files decide something."""
    findings: list[ChangeFacts]
    seconds: float


class BumpDocument(TypedDict):
    """`wheelsmith recipes bump`."""

    schema_version: int
    name: str
    exit_code: int
    steps: list[StepFacts]
    diff: str
    """The recipe that is proposed, as a unified diff."""


class RecipeStatusFacts(TypedDict):
    """A recipe against its upstream."""

    name: str
    pinned: str
    newest: str | None
    """Null: not known; `problem` says why."""
    behind: list[str]
    """Versions of upstream that are newer than what is pinned, the oldest first."""
    rehearsed: str | None
    """The last version that was rehearsed with this store."""
    rehearsed_at: str | None
    rehearsal: str
    blocks: list[str]
    problem: str


class RecipesStatusDocument(TypedDict):
    """`wheelsmith recipes status`."""

    schema_version: int
    at: str
    """When upstream was asked (ISO 8601, UTC)."""
    recipes: list[RecipeStatusFacts]


class MirroredFacts(TypedDict):
    """A source in the mirror."""

    source: str
    place: str
    bytes: int


class MirrorDocument(TypedDict):
    """`wheelsmith recipes mirror`."""

    schema_version: int
    sources: list[MirroredFacts]


class MarkFacts(TypedDict):
    """A place in a draft that somebody must look at."""

    line: int
    text: str


class DraftDocument(TypedDict):
    """`wheelsmith recipes new`."""

    schema_version: int
    name: str
    version: str
    file: str | None
    text: str
    undecided: list[MarkFacts]
    notes: list[str]


class CatalogueDocument(TypedDict):
    """`wheelsmith recipes catalogue`."""

    schema_version: int
    markdown: str


class GpuRunFacts(TypedDict):
    """A wheel on one GPU."""

    gpu: str
    driver: str
    when: str
    result: str


class SupportRow(TypedDict):
    """One wheel for one compute capability that it was built for."""

    arch: str
    gpus: list[str]
    """The GPUs of the tables that have it."""
    package: str
    version: str
    wheel: str
    """Its name; empty: not recorded."""
    sha256: str
    cuda: str
    torch: str
    """Empty: it has none."""
    python: str
    """The one that it was built with."""
    python_tag: str
    """What Pythons take it, as its name says; empty: not recorded."""
    options: dict[str, bool]
    """Of the recipe."""
    oldest_driver: str
    """With which the judge says that it runs; empty: none is known, or it was not recorded."""
    built: str
    """Day (UTC)."""
    where: str
    proved: str
    """What the judge found in the wheel."""
    runs: list[GpuRunFacts]


class SupportDocument(TypedDict):
    """`wheelsmith recipes support`."""

    schema_version: int
    rows: list[SupportRow]


class FindingFacts(TypedDict):
    """Something in a recipe to look at."""

    line: int
    kind: Literal["wrong", "undecided", "advice"]
    text: str


class CheckDocument(TypedDict):
    """`wheelsmith recipes check`."""

    schema_version: int
    name: str
    file: str
    sound: bool
    findings: list[FindingFacts]
