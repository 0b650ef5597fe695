"""The recipe file as typed, frozen models: every key that a recipe may have, with its unit and its reason.

In: the tables of a TOML file. Out: a `Recipe`. `wheelsmith.tomlfile` turns unknown keys and bad values into file, line
and nearest key. The same tables export the JSON Schema that editors use.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from msgspec import Meta, field
from msgspec.structs import force_setattr, replace

from wheelsmith import schema
from wheelsmith.gpu.arch import ArchSet
from wheelsmith.recipe.changes import ArchListTable, CaveatTable, CratesTable, RangeTable, RewriteTable
from wheelsmith.recipe.contracts import ContractTable, LibraryTable
from wheelsmith.recipe.texts import (
    Amount,
    ArchList,
    Capabilities,
    Commit,
    Condition,
    CudaVersion,
    GccVersion,
    OptionName,
    PythonVersion,
    RelativePath,
    RequirementText,
    Sha256,
    Specifier,
    Url,
    VersionText,
    applies,
)
from wheelsmith.schema import Table, matching


class GitTable(Table, frozen=True, kw_only=True):
    """A git commit, fetched with depth 1."""

    url: Url
    commit: Annotated[
        Commit | None,
        Meta(
            description="absent: nobody has asked yet; a plan says so, fetching refuses, and"
            " `wheelsmith recipes lock --write` fills it in"
        ),
    ] = None
    tag: Annotated[str | None, Meta(description="the tag that the commit had when it was locked; information")] = None
    sparse: Annotated[tuple[RelativePath, ...], Meta(description="directories and files to check out; empty: all")] = ()


class ArchiveTable(Table, frozen=True, kw_only=True):
    """A tar or zip archive at a URL."""

    url: Url
    sha256: Sha256


class SdistTable(Table, frozen=True, kw_only=True):
    """The sdist of the same project and version on the package index."""

    sha256: Sha256


class DirectoryTable(Table, frozen=True, kw_only=True):
    """A directory of this machine, as it is when the plan is made: for a package that is being written."""

    path: Annotated[str, Meta(min_length=1, description="absolute, or relative to the recipe file")]


class SourceTable(Table, frozen=True, kw_only=True):
    """Exactly one of `git`, `sdist`, `archive` and `directory`."""

    git: GitTable | None = None
    sdist: SdistTable | None = None
    archive: ArchiveTable | None = None
    directory: DirectoryTable | None = None

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.git, self.sdist, self.archive, self.directory)) != 1:
            raise ValueError("needs exactly one of git, sdist, archive, directory")


class TreeTable(Table, frozen=True, kw_only=True):
    """A further source tree that the build needs beside its own."""

    name: Annotated[str, matching("[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, . _ -")]
    versions: Annotated[Specifier | None, Meta(description="only for these versions of the package")] = None
    git: GitTable | None = None
    archive: ArchiveTable | None = None
    inside: Annotated[
        RelativePath | None,
        Meta(description="place it at this path of another tree, `NAME/path`: how a submodule arrives"),
    ] = None
    env: Annotated[
        dict[str, str], Meta(description="variables that tell the build where it is; {tree} is its path")
    ] = field(default_factory=dict)
    archs: Annotated[Capabilities | None, Meta(description="only if one of these archs is requested")] = None
    cuda: Annotated[Specifier | None, Meta(description="only with these CUDA toolkits")] = None
    when: Annotated[Condition | None, Meta(description="only if this option is on; `!name`: off")] = None

    def __post_init__(self) -> None:
        if (self.git is None) == (self.archive is None):
            raise ValueError("needs exactly one of git, archive")


class PatchTable(Table, frozen=True, kw_only=True):
    """An exact change: a unified diff (`diff`), or a text edit (`file`, `find`, `replace`, `count`)."""

    why: Annotated[str, Meta(description="one sentence for the person who meets this patch in two years")]
    versions: Annotated[Specifier | None, Meta(description="only for these versions of the package")] = None
    tree: Annotated[str | None, Meta(description="name of the external tree to patch; default: the package itself")] = (
        None
    )
    when: Annotated[Condition | None, Meta(description="only if this option is on; `!name`: off")] = None
    diff: Annotated[RelativePath | None, Meta(description="unified diff, a path relative to the recipe file")] = None
    file: RelativePath | None = None
    find: Annotated[str, Meta(min_length=1)] | None = None
    replace: str | None = None
    count: Annotated[int, Meta(ge=1, description="how many matches `find` must have, no more and no fewer")] = 1

    def __post_init__(self) -> None:
        edit = (self.file, self.find, self.replace)
        if self.diff is not None and any(x is not None for x in edit):
            raise ValueError("has both diff and file/find/replace; it takes one of them")
        if self.diff is None and any(x is None for x in edit):
            raise ValueError("needs either diff, or all of file, find and replace")


class DefaultsTable(Table, frozen=True, kw_only=True):
    """What is built when the command line does not say otherwise."""

    arch_list: Annotated[ArchList, Meta(description='GPU architectures, as in "8.6;12.0" or "9.0+PTX"')] = field(
        name="archs"
    )
    cuda: CudaVersion
    python: Annotated[PythonVersion | None, Meta(description="absent: the running interpreter's version")] = None
    torch: Annotated[VersionText | None, Meta(description="exact torch; absent: the package does not use torch")] = None

    @property
    def archs(self) -> ArchSet:
        """The same as a value."""
        return ArchSet.parse(self.arch_list)


class BuildTable(Table, frozen=True, kw_only=True):
    """How the PEP 517 backend is run."""

    requires: Annotated[tuple[RequirementText, ...], Meta(description="build requirements, without torch")]
    lock: Annotated[
        RelativePath | None, Meta(description="pip requirements file with hashes, relative to the recipe")
    ] = None
    config_settings: Annotated[dict[str, str], Meta(description="PEP 517 config settings; templates are filled in")] = (
        field(default_factory=dict)
    )
    env: Annotated[dict[str, str], Meta(description="environment variables; templates are filled in")] = field(
        default_factory=dict
    )
    cuda_libraries: Annotated[
        bool, Meta(description="its sources include cuBLAS, cuFFT, cuRAND, cuSOLVER or cuSPARSE; with torch always so")
    ] = False
    gcc: Annotated[GccVersion | None, Meta(description="the oldest GCC that compiles the host code")] = None
    ptx: Annotated[bool, Meta(description="whether the build passes a requested +PTX on to nvcc")] = True
    compress: Annotated[
        Literal["none", "speed", "balance", "size"] | None,
        Meta(
            description="how nvcc (from CUDA 12.8 on) compresses GPU code; absent: as the project and nvcc choose."
            " With CUDA 12, balance and size need a driver of CUDA 12.4 (550.54.14) or newer"
        ),
    ] = None


class ExpectTable(Table, frozen=True, kw_only=True):
    """What the build takes, so that a machine too small is refused in seconds instead of hours."""

    memory_gb: Annotated[Amount, Meta(description="peak resident memory of one compiler process, GB")]
    disk_gb: Annotated[Amount, Meta(description="disk for sources, environment and objects, GB")]
    cpu_minutes: Annotated[Amount, Meta(description="CPU time for the default archs, minutes")]


class WheelTable(Table, frozen=True, kw_only=True):
    """What the finished wheel must look like."""

    local_version: Annotated[str, Meta(description="PEP 440 local version")] = "cu{cuda_digits}"
    exclude: Annotated[
        tuple[str, ...], Meta(description="libraries that auditwheel must not graft (torch's, the driver's)")
    ] = ()
    imports: Annotated[tuple[str, ...], Meta(description="modules that import without a GPU")] = ()
    torch: Annotated[Specifier | None, Meta(description="what its own metadata require of torch (PEP 440)")] = None
    serves_torch: Annotated[
        Specifier | None,
        Meta(
            description="torch versions that one wheel is to serve through torch's stable ABI: it requires those of"
            " them that define every symbol it needs, and exactly the one it was built against where a library uses"
            " more"
        ),
    ] = None
    smoke: Annotated[
        str | None,
        Meta(
            description="a Python program that `wheelsmith try` runs with the installed wheel where there is a GPU: it"
            " compares numbers with a reference, and fails with an exception"
        ),
    ] = None
    strip: Annotated[bool, Meta(description="remove debug information and symbols that nothing links to")] = False


class OptionTable(Table, frozen=True, kw_only=True):
    """A choice between two ways to build, for the command line's `--option NAME=on|off`."""

    default: bool
    why: Annotated[str, Meta(description="one sentence: what it does when on")]


class ReleaseTable(Table, frozen=True, kw_only=True):
    """One version of the package, pinned."""

    source: SourceTable


class Recipe(Table, frozen=True, kw_only=True):
    """A recipe file (`recipes/NAME.toml`)."""

    schema_version: Literal[1]
    name: Annotated[str, matching("[a-z0-9]+(-[a-z0-9]+)*", "normalized name (PEP 503)")]
    summary: str
    versions: Annotated[Specifier, Meta(description="versions that this recipe is meant for")]
    python: Annotated[Specifier, Meta(description="Python versions that the package supports")] = cast(
        Specifier, ">=3.9"
    )  # plain text, which msgspec can write into the JSON Schema
    defaults: DefaultsTable
    build: BuildTable
    expect: Annotated[
        ExpectTable | None, Meta(description="absent: the first build finds out, and writes it into the file")
    ] = None
    wheel: WheelTable = WheelTable()
    contract: ContractTable = ContractTable()
    library: tuple[LibraryTable, ...] = ()
    tree: tuple[TreeTable, ...] = ()
    patch: tuple[PatchTable, ...] = ()
    arch_list: tuple[ArchListTable, ...] = ()
    range: tuple[RangeTable, ...] = ()
    rewrite: tuple[RewriteTable, ...] = ()
    crates: tuple[CratesTable, ...] = ()
    caveat: tuple[CaveatTable, ...] = ()
    options: dict[OptionName, OptionTable] = field(default_factory=dict)
    releases: Annotated[dict[Annotated[str, VersionText], ReleaseTable], Meta(min_length=1)]

    def __post_init__(self) -> None:
        # msgspec takes the keys of a table as they are.
        force_setattr(self, "releases", {VersionText.from_text(key): it for key, it in self.releases.items()})
        conditional: tuple[TreeTable | PatchTable | LibraryTable | ArchListTable | CratesTable, ...] = (
            *self.tree,
            *self.patch,
            *self.library,
            *self.arch_list,
            *self.crates,
        )
        for when in (table.when for table in conditional):
            if when is not None and when.removeprefix("!") not in self.options:
                raise ValueError(f"when = {when!r} names no entry of [options]")

    def at(self, version: str) -> Recipe:
        """The recipe as it is for one version: every [[range]] that fits is worked into defaults and build."""
        defaults, build, wheel, python = self.defaults, self.build, self.wheel, self.python
        present = self.contract.present
        for item in (item for item in self.range if applies(item.versions, version)):
            defaults = replace(
                defaults,
                python=item.default_python or defaults.python,
                cuda=item.cuda or defaults.cuda,
                torch=item.torch or defaults.torch,
            )
            build = replace(
                build,
                requires=build.requires if item.requires is None else item.requires,
                lock=item.lock or build.lock,
                env=build.env | item.env,
                gcc=item.gcc or build.gcc,
            )
            wheel = replace(wheel, torch=Specifier(f"=={item.torch}")) if item.torch else wheel
            wheel = replace(wheel, serves_torch=item.serves_torch or wheel.serves_torch)
            python = item.python or python
            present += item.present
        contract = replace(self.contract, present=present)
        return replace(self, defaults=defaults, build=build, wheel=wheel, python=python, contract=contract, range=())


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a recipe file, for editors."""
    return schema.json_schema(Recipe, "wheelsmith recipe")
