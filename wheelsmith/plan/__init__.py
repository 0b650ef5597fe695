"""Recipe × Target → `Plan`: everything about a build, decided once, before anything is fetched or run."""

from wheelsmith.plan.making import make_plan
from wheelsmith.plan.model import (
    CANONICAL,
    EPOCH,
    NIGHTLY,
    SCHEMA_VERSION,
    ArchiveSource,
    DiffPatch,
    EditPatch,
    Expectation,
    GitSource,
    LibraryPromise,
    Patch,
    Plan,
    SdistSource,
    Source,
    Target,
    Tree,
    WheelLimits,
)

__all__ = [
    "CANONICAL",
    "EPOCH",
    "NIGHTLY",
    "SCHEMA_VERSION",
    "ArchiveSource",
    "DiffPatch",
    "EditPatch",
    "Expectation",
    "GitSource",
    "LibraryPromise",
    "Patch",
    "Plan",
    "SdistSource",
    "Source",
    "Target",
    "Tree",
    "WheelLimits",
    "make_plan",
]
