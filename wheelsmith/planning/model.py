"""What a plan is: frozen values, their JSON form and their digest.

In: nothing. Out: `Plan` and what it consists of. Nothing can fail.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from wheelsmith.contract import LibraryRule, Limits
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.gpu.facts import Gpu, minimum_driver
from wheelsmith.planning.pins import locked_pins

if TYPE_CHECKING:
    from wheelsmith.documents.plans import PlanFacts

SCHEMA_VERSION = 1

#: Every build sees its files under this path, whatever machine it runs on: that makes wheels bit-identical and lets
#: compile caches hit. The directory is a mount point; nothing is kept in it.
CANONICAL = "/tmp/wheelsmith-build"  # noqa: S108 - a mount point, never a place for data

#: Where cargo finds its crates, if the plan has any.
CARGO_HOME = f"{CANONICAL}/cargo"

#: Time stamp of everything in a wheel (reproducible-builds.org, SOURCE_DATE_EPOCH): 2020-01-01T00:00:00Z.
EPOCH = 1577836800


#: In place of a torch version: the newest there is, development versions included, found out at the first build.
NIGHTLY = "nightly"

#: Left out of the JSON form where they are empty, so that a plan that has none keeps its digest.
_LEFT_OUT = frozenset(
    {"lacks", "unjudged", "choice", "present", "rewrites", "driver", "cuda_libraries", "serves_torch", "crates", "gcc"}
)


@dataclass(frozen=True, slots=True)
class Target:
    """What to build for. `python` is `major.minor`; `current` means: use the running interpreter's packages; `torch` is
    an exact version, `NIGHTLY`, or None; `driver` is the oldest that the wheel must run on, if somebody said one."""

    python: str
    archs: ArchSet
    cuda: str
    torch: str | None
    gpus: tuple[Gpu, ...] = ()
    environment: Literal["isolated", "current"] = "isolated"
    platform: str = "linux_x86_64"
    driver: str | None = None


@dataclass(frozen=True, slots=True)
class GitSource:
    """A commit, fetched with `--depth 1`; `sparse` lists the directories and files to check out (empty: all).

    An empty `commit` is one that the recipe does not know yet: it is never fetched.
    """

    url: str
    commit: str
    tag: str | None
    sparse: tuple[str, ...] = ()

    def __str__(self) -> str:
        sparse = f", only {', '.join(self.sparse)}" if self.sparse else ""
        commit = self.commit or "a commit that is not locked"
        return f"git {self.url} at {commit}{f' ({self.tag})' if self.tag else ''}, depth 1{sparse}"


@dataclass(frozen=True, slots=True)
class SdistSource:
    """The sdist of `project` `version` on the package index, with this SHA-256."""

    project: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"sdist {self.project} {self.version}, sha256 {self.sha256}"


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """An archive at a URL, with this SHA-256."""

    url: str
    sha256: str

    def __str__(self) -> str:
        return f"archive {self.url}, sha256 {self.sha256}"


Source = GitSource | SdistSource | ArchiveSource


def is_fixed(source: Source) -> bool:
    """Whether the recipe says which bytes these are: a commit or a SHA-256 that is there, and more than zeros."""
    return bool((source.commit if isinstance(source, GitSource) else source.sha256).strip("0"))


@dataclass(frozen=True, slots=True)
class Tree:
    """An external source tree. `path` is where the build finds it."""

    name: str
    source: Source
    path: str


@dataclass(frozen=True, slots=True)
class CrateLock:
    """A Cargo.lock of the package's source, whose crates the build compiles. `rust` is the oldest Rust release that
    does; empty: not said. The source's digest holds the lock, and that holds every crate's."""

    lock: str
    rust: str = ""

    def __str__(self) -> str:
        return f"crates of {self.lock}{f', Rust {self.rust} or newer' if self.rust else ''}"


@dataclass(frozen=True, slots=True)
class DiffPatch:
    """A unified diff, applied with zero fuzz to the tree at `path`."""

    path: str
    name: str
    text: str
    why: str

    def __str__(self) -> str:
        return f"diff {self.name}: {self.why}"


@dataclass(frozen=True, slots=True)
class EditPatch:
    """A text edit in `file` of the tree at `path`: `find` must match exactly `count` times."""

    path: str
    file: str
    find: str
    replace: str
    count: int
    why: str

    def __str__(self) -> str:
        times = "once" if self.count == 1 else f"{self.count} times"
        tree = "" if self.path == f"{CANONICAL}/src" else f"{self.path.removeprefix(f'{CANONICAL}/')}/"
        return f"edit {tree}{self.file} ({times}): {self.why}"


@dataclass(frozen=True, slots=True)
class ArchPatch:
    """An edit of every arch list that `file` of the tree at `path` gives the CMake variable `variable`.

    Attributes:
        also: compute capabilities, as in `12.0f`, whose families the list is to reach.
        known: those that the toolkit compiles for: the members of the families.
        ptx: whether the list keeps its `+PTX`.
        exact: whether each of `also` must stand in the list itself.
    """

    path: str
    file: str
    variable: str
    also: tuple[str, ...]
    known: tuple[str, ...]
    ptx: bool
    exact: bool
    why: str

    def __str__(self) -> str:
        tree = "" if self.path == f"{CANONICAL}/src" else f"{self.path.removeprefix(f'{CANONICAL}/')}/"
        says = "; ".join(
            filter(None, (f"also {', '.join(self.also)}" if self.also else "", "" if self.ptx else "no PTX"))
        )
        return f"arch list {self.variable} in {tree}{self.file} ({says}): {self.why}"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A requirement of the finished wheel, by name, extras and marker, and what takes its place (empty: nothing)."""

    requirement: str
    becomes: str
    why: str


Patch = DiffPatch | EditPatch | ArchPatch


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the build takes: GB of memory for one compiler process, GB of disk, CPU minutes (default archs; 0: nobody
    has built it yet, and the others are what is usual), and the oldest GCC that will do (empty: not said)."""

    memory_gb: float
    disk_gb: float
    cpu_minutes: float
    gcc: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a build, fixed. `expect`, `recipe` and `warnings` inform; the rest makes the digest."""

    name: str
    version: str
    local_version: str
    target: Target
    source: Source
    trees: tuple[Tree, ...]
    patches: tuple[Patch, ...]
    requires: tuple[str, ...]
    lock: str | None
    config_settings: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    promises: tuple[LibraryRule, ...]
    exclude: tuple[str, ...]
    imports: tuple[str, ...]
    expect: Expectation
    recipe: str
    warnings: tuple[str, ...]
    strip: bool = False
    limits: Limits = dataclasses.field(default_factory=Limits)
    options: tuple[tuple[str, bool], ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    cuda_libraries: bool = False
    crates: tuple[CrateLock, ...] = ()
    serves_torch: str = ""  # the torch versions (PEP 440) that the wheel shall require as far as that is proved

    @property
    def is_fixed(self) -> bool:
        """Whether everything that it fetches is named to the byte; what is not is refused when it is fetched."""
        return all(map(is_fixed, (self.source, *(tree.source for tree in self.trees))))

    @property
    def needs_cuda_libraries(self) -> bool:
        """Whether the toolkit must have the headers of cuBLAS, cuRAND and their like: torch's own include them."""
        return self.cuda_libraries or self.target.torch is not None

    @property
    def wheel_version(self) -> str:
        """The version of the finished wheel, with its local part (PEP 440)."""
        return f"{self.version}+{self.local_version}"

    @property
    def requirement(self) -> str:
        """What a user types to install exactly this wheel's version."""
        return f"{self.name}=={self.wheel_version}"

    @property
    def minimum_driver(self) -> str | None:
        """The oldest driver that runs what its CUDA release compiles; None: not known."""
        return minimum_driver(self.target.cuda)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that decides the result."""
        informative = ("expect", "recipe", "warnings")
        facts = self.to_dict()
        target = {key: value for key, value in facts["target"].items() if key not in {"gpus", "driver"}}
        return _digest({k: v for k, v in facts.items() if k not in informative} | {"target": target})

    def to_dict(self) -> PlanFacts:
        """JSON-ready form; `schema_version` changes when a key changes its meaning."""
        data = {key: value for key, value in _plain(self).items() if key != "lock"}
        data["lock_sha256"] = None if self.lock is None else hashlib.sha256(self.lock.encode()).hexdigest()
        data["pins"] = dict(locked_pins(self.lock, self.target.python)) if self.lock else {}
        data["environment"] = dict(self.environment)
        data["config_settings"] = dict(self.config_settings)
        data["options"] = dict(self.options)
        data["target"]["archs"] = self.target.archs.torch
        data["schema_version"] = SCHEMA_VERSION
        return cast("PlanFacts", data)


def _plain(value: Any) -> Any:
    if isinstance(value, ArchSet):
        return value.torch
    if isinstance(value, Arch):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = {"kind": type(value).__name__} if isinstance(value, (Source, Patch)) else {}
        plain = kind | {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {name: item for name, item in plain.items() if item or name not in _LEFT_OUT}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _digest(data: Mapping[str, object]) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
