"""The recipe file as typed, frozen models: every key that a recipe may have, with its unit and its reason.

In: the tables of a TOML file. Out: a `Recipe`. Unknown keys and bad values are pydantic errors here;
`wheelsmith.recipe.loader` turns them into file, line and nearest key. The same models export the JSON Schema
that editors use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from wheelsmith.contract import Alternative, Choice, Lack, LibraryRule, Limits
from wheelsmith.errors import UnknownGpuError
from wheelsmith.gpu.arch import Arch, ArchSet

_OLDEST_GLIBC = 5  # PEP 600: manylinux_2_5, once called manylinux1


def _specifier(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"not a version specifier (PEP 440): {text!r}") from error
    return text


def _requirement(text: str) -> str:
    try:
        Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"not a requirement (PEP 508): {text!r}") from error
    return text


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion as error:
        raise ValueError(f"not a version (PEP 440): {text!r}") from error


def _archs(text: object) -> ArchSet:
    if isinstance(text, ArchSet):
        return text
    if not isinstance(text, str):
        raise ValueError('write the list as text, as in "8.6;12.0"')
    try:
        return ArchSet.parse(text)
    except UnknownGpuError as error:
        raise ValueError(f"{error.cause} {error.remedy}") from error


def _capabilities(text: object) -> tuple[Arch, ...]:
    archs = _archs(text)
    if archs.ptx:
        raise ValueError(f"+PTX says nothing here: {archs}")
    return archs.native


def _manylinux(text: str) -> str:
    match = re.fullmatch(r"manylinux_2_(\d+)", text, re.ASCII)
    if match is None or int(match[1]) < _OLDEST_GLIBC:
        raise ValueError(f"not a manylinux platform (PEP 600), written as in manylinux_2_31: {text!r}")
    return text


def _relative(text: str) -> str:
    if text.startswith("/") or ".." in text.split("/"):
        raise ValueError(f"must be a path inside the tree, not {text!r}")
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.username and parts.scheme != "ssh":
        raise ValueError("a URL here must not hold credentials; put them into ~/.netrc, or use ssh")
    if text.startswith("/"):  # a path of this machine, as git takes it: everything else wants a URL
        return PurePosixPath(text).as_uri()
    if not parts.scheme and ":" not in text:  # git's short form of ssh, user@host:path, has one
        raise ValueError(f"must be a URL or an absolute path, not {text!r}")
    return text


Url = Annotated[str, AfterValidator(_url)]
Specifier = Annotated[str, AfterValidator(_specifier)]
RequirementText = Annotated[str, AfterValidator(_requirement)]
VersionText = Annotated[str, AfterValidator(_version)]
ArchList = Annotated[
    ArchSet, BeforeValidator(_archs), WithJsonSchema({"type": "string", "description": 'archs, as in "8.6;12.0+PTX"'})
]
Capabilities = Annotated[
    tuple[Arch, ...],
    BeforeValidator(_capabilities),
    WithJsonSchema({"type": "string", "description": 'compute capabilities, as in "8.6;12.0"'}),
]
RelativePath = Annotated[str, AfterValidator(_relative)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, 64 lowercase hex digits")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="full git commit, 40 hex digits")]
CudaVersion = Annotated[str, Field(pattern=r"^\d+\.\d+$", description="CUDA toolkit as major.minor")]
OptionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
Condition = Annotated[
    str, Field(pattern=r"^!?[a-z][a-z0-9-]*$", description="name of an option; `!name`: if it is off")
]
PythonVersion = Annotated[str, Field(pattern=r"^3\.\d+$", description="Python as major.minor")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GitTable(_Table):
    """A git commit, fetched with depth 1."""

    url: Url
    commit: Commit
    tag: str | None = Field(None, description="the tag that the commit had when it was locked; information")
    sparse: tuple[RelativePath, ...] = Field(
        (), strict=False, description="directories and files to check out; empty: all"
    )


class ArchiveTable(_Table):
    """A tar or zip archive at a URL."""

    url: Url
    sha256: Sha256


class SdistTable(_Table):
    """The sdist of the same project and version on the package index."""

    sha256: Sha256


class SourceTable(_Table):
    """Exactly one of `git`, `sdist` and `archive`."""

    git: GitTable | None = None
    sdist: SdistTable | None = None
    archive: ArchiveTable | None = None

    @model_validator(mode="after")
    def _one(self) -> SourceTable:
        if sum(x is not None for x in (self.git, self.sdist, self.archive)) != 1:
            raise ValueError("needs exactly one of git, sdist, archive")
        return self


class TreeTable(_Table):
    """A further source tree that the build needs beside its own."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    versions: Specifier | None = Field(None, description="only for these versions of the package")
    git: GitTable | None = None
    archive: ArchiveTable | None = None
    inside: RelativePath | None = Field(
        None, description="place it at this path of another tree, `NAME/path`: how a submodule arrives"
    )
    env: dict[str, str] = Field({}, description="variables that tell the build where it is; {tree} is its path")
    archs: Capabilities | None = Field(None, description="only if one of these archs is requested")
    when: Condition | None = Field(None, description="only if this option is on; `!name`: off")

    @model_validator(mode="after")
    def _one(self) -> TreeTable:
        if (self.git is None) == (self.archive is None):
            raise ValueError("needs exactly one of git, archive")
        return self


class PatchTable(_Table):
    """An exact change: a unified diff (`diff`), or a text edit (`file`, `find`, `replace`, `count`)."""

    why: str = Field(description="one sentence for the person who meets this patch in two years")
    versions: Specifier | None = Field(None, description="only for these versions of the package")
    tree: str | None = Field(None, description="name of the external tree to patch; default: the package itself")
    when: Condition | None = Field(None, description="only if this option is on; `!name`: off")
    diff: RelativePath | None = Field(None, description="unified diff, a path relative to the recipe file")
    file: RelativePath | None = None
    find: str | None = Field(None, min_length=1)
    replace: str | None = None
    count: int = Field(1, ge=1, description="how many matches `find` must have, no more and no fewer")

    @model_validator(mode="after")
    def _one_style(self) -> PatchTable:
        edit = (self.file, self.find, self.replace)
        if self.diff is not None and any(x is not None for x in edit):
            raise ValueError("has both diff and file/find/replace; it takes one of them")
        if self.diff is None and any(x is None for x in edit):
            raise ValueError("needs either diff, or all of file, find and replace")
        return self


class DefaultsTable(_Table):
    """What is built when the command line does not say otherwise."""

    archs: ArchList = Field(description='GPU architectures, as in "8.6;12.0" or "9.0+PTX"')
    cuda: CudaVersion
    python: PythonVersion | None = Field(None, description="absent: the running interpreter's version")
    torch: VersionText | None = Field(None, description="exact torch; absent: the package does not use torch")


class BuildTable(_Table):
    """How the PEP 517 backend is run."""

    requires: tuple[RequirementText, ...] = Field(strict=False, description="build requirements, without torch")
    lock: RelativePath | None = Field(None, description="pip requirements file with hashes, relative to the recipe")
    config_settings: dict[str, str] = Field({}, description="PEP 517 config settings; templates are filled in")
    env: dict[str, str] = Field({}, description="environment variables; templates are filled in")
    ptx: bool = Field(True, description="whether the build passes a requested +PTX on to nvcc")
    compress: Literal["none", "speed", "balance", "size"] | None = Field(
        None,
        description="how nvcc (from CUDA 12.8 on) compresses GPU code; absent: as the project and nvcc choose."
        " With CUDA 12, balance and size need a driver of CUDA 12.4 (550.54.14) or newer",
    )


class ExpectTable(_Table):
    """What the build takes, so that a machine too small is refused in seconds instead of hours."""

    memory_gb: float = Field(gt=0, strict=False, description="peak resident memory of one compiler process, GB")
    disk_gb: float = Field(gt=0, strict=False, description="disk for sources, environment and objects, GB")
    cpu_minutes: float = Field(gt=0, strict=False, description="CPU time for the default archs, minutes")


class WheelTable(_Table):
    """What the finished wheel must look like."""

    local_version: str = Field("cu{cuda_digits}", description="PEP 440 local version")
    exclude: tuple[str, ...] = Field(
        (), strict=False, description="libraries that auditwheel must not graft (torch's, the driver's)"
    )
    imports: tuple[str, ...] = Field((), strict=False, description="modules that import without a GPU")
    torch: Specifier | None = Field(None, description="what its own metadata require of torch (PEP 440)")
    strip: bool = Field(False, description="remove debug information and symbols that nothing links to")


class AlternativeTable(_Table):
    """One library that may be chosen when a program runs."""

    path: str = Field(description="its path inside the wheel (fnmatch); {cuda} stands for a CUDA release, such as 128")
    archs: Capabilities | None = Field(None, description="the GPUs on which it is taken; absent: those that are left")


class ChoiceTable(_Table):
    """Libraries of which the package takes one when it runs: what is not taken on an arch owes it nothing."""

    by: Literal["gpu", "torch-cuda"] = Field(
        description="gpu: the first whose archs name the GPU; torch-cuda: the nearest release to torch's CUDA"
    )
    why: str = Field(description="where the package's own code says so")
    library: tuple[AlternativeTable, ...] = Field(strict=False, min_length=1)
    unused: tuple[str, ...] = Field((), strict=False, description="libraries (fnmatch) never taken with an NVIDIA GPU")

    @property
    def alternatives(self) -> Iterator[Alternative]:
        """The same as the judge has them."""
        for item in self.library:
            yield Alternative(item.path, ";".join(map(str, item.archs)) if item.archs else None)


class ContractTable(_Table):
    """What holds for the whole wheel, beside the arch contract of its libraries. Absent keys allow anything."""

    forbidden: Capabilities | None = Field(None, description="archs for which the wheel must hold no code at all")
    max_size_mb: float | None = Field(None, gt=0, strict=False, description="size of the wheel, MB (1,000,000 bytes)")
    needed: tuple[str, ...] | None = Field(
        None, strict=False, description="libraries that the wheel's own may need (fnmatch); what it brings is allowed"
    )
    manylinux: Annotated[str, AfterValidator(_manylinux)] | None = Field(
        None, description="the newest platform that its symbol versions may need"
    )
    unjudged: tuple[str, ...] = Field(
        (), strict=False, description="files (fnmatch) that may hold GPU code that cannot be judged"
    )
    choice: tuple[ChoiceTable, ...] = Field((), strict=False)

    def limits(self, package: str) -> Limits:
        """The same as the plan and the judge have it."""
        return Limits(
            forbidden=self.forbidden or (),
            max_size=None if self.max_size_mb is None else int(self.max_size_mb * 1_000_000),
            needed=self.needed,
            manylinux=self.manylinux,
            unjudged=self.unjudged,
            choice=self.choices(package),
        )

    def choices(self, package: str) -> tuple[Choice, ...]:
        """What the package chooses among when it runs."""
        return tuple(Choice(package, item.by, item.why, tuple(item.alternatives), item.unused) for item in self.choice)


class LackTable(_Table):
    """Kernels that a library may lack for some of the requested archs."""

    kernels: tuple[str, ...] = Field(
        strict=False, min_length=1, description="their names without template arguments (fnmatch), as in cutlass::*"
    )
    why: str = Field(min_length=1, description="why the package does not call them there")
    archs: Capabilities | None = Field(None, description="for these archs only")


class LibraryTable(_Table):
    """The arch contract of the libraries whose path inside the wheel matches `path` (fnmatch)."""

    path: str
    code: Literal["native", "jit", "none"] = Field(
        "native",
        description="native: SASS for every requested arch; jit: PTX is enough; none: no device code",
    )
    optional: bool = False
    archs: Capabilities | None = Field(
        None, description="it serves only these; without any of them among the requested ones it may be absent"
    )
    lacks: tuple[LackTable, ...] = Field((), strict=False)
    when: Condition | None = Field(None, description="only if this option is on; `!name`: off")

    def rule(self, requested: ArchSet) -> LibraryRule:
        """The same as the plan and the judge have it, for the archs that are requested."""
        lacks = tuple(Lack(item.kernels, item.why, _among(item.archs, requested)) for item in self.lacks)
        served = _among(self.archs, requested)
        return LibraryRule(self.path, self.code, self.optional or served == (), served, lacks)


def _among(archs: tuple[Arch, ...] | None, requested: ArchSet) -> tuple[Arch, ...] | None:
    """Those of the requested archs whose compute capability is in the list; None: it names none, so it means all."""
    if archs is None:
        return None
    bases = {arch.base for arch in archs}
    return tuple(arch for arch in requested.native if arch.base in bases)


class OptionTable(_Table):
    """A choice between two ways to build, for the command line's `--option NAME=on|off`."""

    default: bool
    why: str = Field(description="one sentence: what it does when on")


class ReleaseTable(_Table):
    """One version of the package, pinned."""

    source: SourceTable


class Recipe(_Table):
    """A recipe file (`recipes/NAME.toml`)."""

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="normalized name (PEP 503)")]
    summary: str
    versions: Specifier = Field(description="versions that this recipe is meant for")
    python: Specifier = Field(">=3.9", description="Python versions that the package supports")
    defaults: DefaultsTable
    build: BuildTable
    expect: ExpectTable
    wheel: WheelTable = WheelTable()
    contract: ContractTable = ContractTable()
    library: tuple[LibraryTable, ...] = Field((), strict=False)
    tree: tuple[TreeTable, ...] = Field((), strict=False)
    patch: tuple[PatchTable, ...] = Field((), strict=False)
    options: dict[OptionName, OptionTable] = {}
    releases: dict[VersionText, ReleaseTable] = Field(min_length=1)

    @model_validator(mode="after")
    def _known_options(self) -> Recipe:
        conditions = [t.when for t in self.tree] + [p.when for p in self.patch] + [item.when for item in self.library]
        for when in conditions:
            if when is not None and when.removeprefix("!") not in self.options:
                raise ValueError(f"when = {when!r} names no entry of [options]")
        return self


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a recipe file, for editors."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "wheelsmith recipe"
    return schema
