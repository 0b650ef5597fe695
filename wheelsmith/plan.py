"""Recipe × Target → Plan: every source, patch, variable and check of a build, decided once, with a digest.

In: a loaded recipe, a version and a `Target`. Out: a frozen `Plan`. Pure: no network, no clock, no environment, no
disk. Fails with `TargetError` when the target contradicts itself, the recipe or the toolkit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from packaging.specifiers import SpecifierSet

from wheelsmith.errors import RecipeError, TargetError
from wheelsmith.gpu import ArchSet, Gpu, family, known_toolkits, toolkit_facts, torch_cuda
from wheelsmith.pins import locked_pins, usable_lock

if TYPE_CHECKING:  # the front door imports this module at start-up, and pydantic takes its time
    from wheelsmith.recipe import LoadedRecipe
    from wheelsmith.recipe.schema import ContractTable, SourceTable, TreeTable

SCHEMA_VERSION = 1

#: Every build sees its files under this path, whatever machine it runs on: that makes wheels bit-identical and lets
#: compile caches hit. The directory is a mount point; nothing is kept in it.
CANONICAL = "/tmp/wheelsmith-build"  # noqa: S108 - a mount point, never a place for data

#: Time stamp of everything in a wheel (reproducible-builds.org, SOURCE_DATE_EPOCH): 2020-01-01T00:00:00Z.
EPOCH = 1577836800


@dataclass(frozen=True, slots=True)
class Target:
    """What to build for. `python` is `major.minor`; `current` means: use the running interpreter's packages."""

    python: str
    archs: ArchSet
    cuda: str
    torch: str | None
    gpus: tuple[Gpu, ...] = ()
    environment: Literal["isolated", "current"] = "isolated"
    platform: str = "linux_x86_64"


@dataclass(frozen=True, slots=True)
class GitSource:
    """A commit, fetched with `--depth 1`; `sparse` lists the directories to check out (empty: all)."""

    url: str
    commit: str
    tag: str | None
    sparse: tuple[str, ...] = ()

    def __str__(self) -> str:
        sparse = f", only {', '.join(self.sparse)}" if self.sparse else ""
        return f"git {self.url} at {self.commit}{f' ({self.tag})' if self.tag else ''}, depth 1{sparse}"


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


@dataclass(frozen=True, slots=True)
class Tree:
    """An external source tree. `path` is where the build finds it."""

    name: str
    source: Source
    path: str


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
        return f"edit {self.file} ({times}): {self.why}"


Patch = DiffPatch | EditPatch


@dataclass(frozen=True, slots=True)
class LibraryPromise:
    """What the libraries matching `path` (fnmatch, inside the wheel) must carry for every requested arch."""

    path: str
    code: Literal["native", "jit", "none"]
    optional: bool


@dataclass(frozen=True, slots=True)
class WheelLimits:
    """What holds for the whole wheel: archs that it must not hold, bytes, libraries that it may need (fnmatch; None:
    any), and the newest manylinux platform that it may need."""

    forbidden: tuple[str, ...] = ()
    max_size: int | None = None
    needed: tuple[str, ...] | None = None
    manylinux: str | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the build takes: GB of memory for one compiler process, GB of disk, CPU minutes (default archs)."""

    memory_gb: float
    disk_gb: float
    cpu_minutes: float


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
    promises: tuple[LibraryPromise, ...]
    exclude: tuple[str, ...]
    imports: tuple[str, ...]
    expect: Expectation
    recipe: str
    warnings: tuple[str, ...]
    strip: bool = False
    limits: WheelLimits = WheelLimits()

    @property
    def wheel_version(self) -> str:
        """The version of the finished wheel, with its local part (PEP 440)."""
        return f"{self.version}+{self.local_version}"

    @property
    def requirement(self) -> str:
        """What a user types to install exactly this wheel's version."""
        return f"{self.name}=={self.wheel_version}"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that decides the result."""
        informative = ("expect", "recipe", "warnings")
        data = {key: value for key, value in self.to_dict().items() if key not in (*informative, "digest")}
        data["target"] = {key: value for key, value in data["target"].items() if key != "gpus"}
        return _digest(data)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `schema_version` changes when a key changes its meaning."""
        data = {key: value for key, value in _plain(self).items() if key != "lock"}
        data["lock_sha256"] = None if self.lock is None else hashlib.sha256(self.lock.encode()).hexdigest()
        data["pins"] = dict(locked_pins(self.lock, self.target.python)) if self.lock else {}
        data["environment"] = dict(self.environment)
        data["config_settings"] = dict(self.config_settings)
        data["target"]["archs"] = self.target.archs.torch
        data["schema_version"] = SCHEMA_VERSION
        return data


def _plain(value: Any) -> Any:
    if isinstance(value, ArchSet):
        return value.torch
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = {"kind": type(value).__name__} if isinstance(value, (Source, Patch)) else {}
        return kind | {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _digest(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def make_plan(loaded: LoadedRecipe, version: str, target: Target) -> Plan:
    """Decide everything about building `version` of a recipe for `target`.

    Raises:
        TargetError: the Python, CUDA, torch and archs do not fit together or the recipe.
        RecipeError: a template names a value that does not exist.
    """
    recipe = loaded.recipe
    warnings = tuple(_check_target(loaded, target))
    release = recipe.releases[version]
    values = _template_values(version, target)
    trees = tuple(_trees(tuple(t for t in recipe.tree if _applies(t.versions, version))))
    paths = {tree.name: tree.path for tree in trees}

    environment = dict(_base_environment(recipe.name, version, target))
    for table in recipe.tree:
        if table.name in paths:
            environment |= {k: _fill(v, values | {"tree": paths[table.name]}) for k, v in table.env.items()}
    environment |= {key: _fill(text, values) for key, text in recipe.build.env.items()}
    if recipe.build.compress is not None:
        flag, warning = _compression(recipe.build.compress, target.cuda)
        environment["NVCC_APPEND_FLAGS"] += flag
        warnings += warning

    requires = recipe.build.requires + ((f"torch=={target.torch}",) if target.torch else ())
    lock, lock_warning = None, None
    if target.environment == "isolated":
        lock, lock_warning = usable_lock(loaded.lock, requires, target.python)

    return Plan(
        name=recipe.name,
        version=version,
        local_version=_fill(recipe.wheel.local_version, values),
        target=target,
        source=_source(release.source, recipe.name, version),
        trees=trees,
        patches=tuple(_patches(loaded, version, paths)),
        requires=requires,
        lock=lock,
        config_settings=tuple(sorted((key, _fill(text, values)) for key, text in recipe.build.config_settings.items())),
        environment=tuple(sorted(environment.items())),
        promises=tuple(LibraryPromise(t.path, t.code, t.optional) for t in recipe.library),
        exclude=recipe.wheel.exclude,
        imports=recipe.wheel.imports,
        strip=recipe.wheel.strip,
        limits=_limits(recipe.contract),
        expect=Expectation(recipe.expect.memory_gb, recipe.expect.disk_gb, recipe.expect.cpu_minutes),
        recipe=loaded.origin,
        warnings=warnings + ((lock_warning,) if lock_warning else ()),
    )


def _check_target(loaded: LoadedRecipe, target: Target) -> Iterator[str]:
    """Raise on contradictions; yield what is only doubtful."""
    recipe = loaded.recipe
    if not SpecifierSet(recipe.python).contains(target.python):
        raise TargetError(
            f"{recipe.name} supports Python {recipe.python}, not {target.python}.",
            f"Choose another with --python{f' {recipe.defaults.python}' if recipe.defaults.python else ''}.",
        )
    if target.torch is None and recipe.defaults.torch is not None:
        raise TargetError(f"{recipe.name} is built against torch.", f"Use --torch {recipe.defaults.torch}.")
    if target.torch is not None and recipe.defaults.torch is None:
        raise TargetError(f"{recipe.name} does not use torch.", "Leave --torch away.")

    able = toolkit_facts(target.cuda).archs
    for arch in target.archs.native:
        if arch.base not in able:
            first = next((v for v in known_toolkits() if arch.base in toolkit_facts(v).archs), None)
            newer = f"CUDA {first} is the first known to." if first else "No known toolkit can."
            raise TargetError(
                f"nvcc of CUDA {target.cuda} cannot compile for {arch.sm} ({family(arch)}).",
                f"{newer} It compiles for {', '.join(map(str, able))}.",
            )
    built_with = torch_cuda(target.torch) if target.torch else None
    if built_with is not None and built_with.split(".")[0] != target.cuda.split(".")[0]:
        raise TargetError(
            f"torch {target.torch} is built with CUDA {built_with}; extensions for it cannot use CUDA {target.cuda}.",
            f"Use --cuda {built_with}, or a torch built with CUDA {target.cuda.split('.')[0]}.",
        )
    if built_with is not None and built_with != target.cuda:
        yield f"torch {target.torch} is built with CUDA {built_with}, the extension with CUDA {target.cuda}."
    if target.torch is not None and target.torch != recipe.defaults.torch:
        yield f"the recipe is tested with torch {recipe.defaults.torch}, not {target.torch}."


def _compression(mode: str, cuda: str) -> tuple[str, tuple[str, ...]]:
    """nvcc's flag and a warning. Appended flags win over the project's own; nvcc then prints a warning.

    Source: NVIDIA, "CUDA Compiler Driver NVCC", --compress-mode, of 12.8 (the first to have it) and 13.0.
    """
    major, minor = map(int, cuda.split("."))
    if (major, minor) < (12, 8):
        return "", (f"nvcc of CUDA {cuda} has no --compress-mode: the recipe's compress = {mode!r} has no effect.",)
    flag = f" --compress-mode={mode}"
    if major == 12 and mode in {"balance", "size"}:
        return flag, (f"GPU code compressed for {mode} needs driver 550.54.14 (CUDA 12.4) or newer.",)
    return flag, ()


def _template_values(version: str, target: Target) -> dict[str, str]:
    return {
        "version": version,
        "cuda_version": target.cuda,
        "cuda_digits": target.cuda.replace(".", ""),
        "cuda_home": f"{CANONICAL}/cuda",
        "torch_version": target.torch or "",
        "archs_torch": target.archs.torch,
        "archs_cmake": target.archs.cmake,
        "archs_gencode": target.archs.gencode,
        "source": f"{CANONICAL}/src",
    }


def _fill(template: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise RecipeError(
                f"The template {template!r} names an unknown value {match[0]}.",
                f"Known are {', '.join(sorted(values))}.",
            )
        return values[match[1]]

    return re.sub(r"\{(\w+)\}", value, template)


def _base_environment(name: str, version: str, target: Target) -> Iterator[tuple[str, str]]:
    """What every build gets. Nothing of the caller's environment is added to it."""
    cuda, env = f"{CANONICAL}/cuda", f"{CANONICAL}/env"
    # One toolkit for everybody who looks: CMake's CUDA language listens to CUDACXX and PATH, its FindCUDAToolkit to
    # CUDAToolkit_ROOT, torch's FindCUDA to CUDA_PATH, setuptools builds to CUDA_HOME.
    yield from {
        "CUDA_HOME": cuda,
        "CUDA_PATH": cuda,
        "CUDAToolkit_ROOT": cuda,
        "CUDACXX": f"{cuda}/bin/nvcc",
    }.items()
    yield "PATH", f"{env}/bin:{cuda}/bin:/usr/local/bin:/usr/bin:/bin"
    yield "TORCH_CUDA_ARCH_LIST", target.archs.torch
    yield "CUDAARCHS", target.archs.cmake
    # nvcc names its temporary files after its process id and writes the names into the objects, unless:
    yield "NVCC_APPEND_FLAGS", "-objtemp"
    yield "SOURCE_DATE_EPOCH", str(EPOCH)
    yield "PYTHONHASHSEED", "0"
    yield "PYTHONNOUSERSITE", "1"
    yield "HOME", f"{CANONICAL}/home"
    yield "TMPDIR", f"{CANONICAL}/tmp"  # noqa: S108 - private to the build
    yield "LANG", "C.UTF-8"
    yield "LC_ALL", "C.UTF-8"
    yield "TZ", "UTC"
    # A patched or shallow tree has no usable git description; the version is known anyway (setuptools-scm, hatch-vcs).
    yield f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{name.upper().replace('-', '_')}", version


def _limits(table: ContractTable) -> WheelLimits:
    forbidden = ArchSet.parse(table.forbidden).native if table.forbidden else ()
    size = None if table.max_size_mb is None else int(table.max_size_mb * 1_000_000)
    return WheelLimits(tuple(map(str, forbidden)), size, table.needed, table.manylinux)


def _applies(specifier: str | None, version: str) -> bool:
    return specifier is None or SpecifierSet(specifier).contains(version, prereleases=True)


def _source(table: SourceTable, name: str, version: str) -> Source:
    if table.sdist is not None:
        return SdistSource(name, version, table.sdist.sha256)
    return _git_or_archive(table)


def _git_or_archive(table: SourceTable | TreeTable) -> GitSource | ArchiveSource:
    if table.git is not None:
        return GitSource(table.git.url, table.git.commit, table.git.tag, table.git.sparse)
    assert table.archive is not None, "the schema demands one of the two"  # noqa: S101
    return ArchiveSource(table.archive.url, table.archive.sha256)


def _trees(tables: tuple[TreeTable, ...]) -> Iterator[Tree]:
    """Outer trees before the ones placed inside them, whatever the order in the recipe."""
    names = {table.name for table in tables}
    for table in sorted(tables, key=lambda t: t.inside is not None):
        if table.inside is None:
            path = f"{CANONICAL}/trees/{table.name}"
        else:
            outer, _, rest = table.inside.partition("/")
            if not rest or (outer not in names and outer != "source"):
                raise RecipeError(
                    f"The tree {table.name!r} is to be placed inside {table.inside!r}, which names no tree.",
                    "Write inside as TREE/path, or source/path for the package itself.",
                )
            base = f"{CANONICAL}/src" if outer == "source" else f"{CANONICAL}/trees/{outer}"
            path = f"{base}/{rest}"
        yield Tree(table.name, _git_or_archive(table), path)


def _patches(loaded: LoadedRecipe, version: str, paths: Mapping[str, str]) -> Iterator[Patch]:
    for table in loaded.recipe.patch:
        if not _applies(table.versions, version) or (table.tree is not None and table.tree not in paths):
            continue
        path = f"{CANONICAL}/src" if table.tree is None else paths[table.tree]
        if table.diff is not None:
            yield DiffPatch(path, table.diff, loaded.diffs[table.diff], table.why)
        else:
            yield EditPatch(path, table.file or "", table.find or "", table.replace or "", table.count, table.why)
