"""Tables of a recipe that say what changes: by version, in arch lists, in what the wheel requires.

In: the tables of a TOML file. Out: frozen models, which `wheelsmith.recipe.schema` puts into a `Recipe`. Fails as the
schema does: with a place and a phrase.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from wheelsmith.recipe.texts import (
    Capabilities,
    Condition,
    CudaVersion,
    GccVersion,
    PythonVersion,
    RelativePath,
    RequirementText,
    Specifier,
    VersionText,
)
from wheelsmith.schema import Table, matching


class RangeTable(Table, frozen=True, kw_only=True):
    """What is different for some versions of the package: of several tables that fit, the last that says it counts."""

    versions: Annotated[Specifier, Meta(description="for these versions of the package")]
    why: Annotated[str, Meta(description="one sentence, where the values do not say it themselves")] = ""
    python: Annotated[Specifier | None, Meta(description="Python versions that the package supports")] = None
    default_python: Annotated[PythonVersion | None, Meta(description="in place of [defaults] python")] = None
    cuda: Annotated[CudaVersion | None, Meta(description="in place of [defaults] cuda")] = None
    torch: Annotated[
        VersionText | None, Meta(description="in place of [defaults] torch; [wheel] torch becomes == this")
    ] = None
    serves_torch: Annotated[Specifier | None, Meta(description="in place of [wheel] serves_torch")] = None
    requires: Annotated[
        tuple[RequirementText, ...] | None, Meta(description="in place of [build] requires, without torch")
    ] = None
    lock: Annotated[RelativePath | None, Meta(description="in place of [build] lock")] = None
    gcc: Annotated[GccVersion | None, Meta(description="in place of [build] gcc")] = None
    env: Annotated[dict[str, str], Meta(description="further variables for [build.env]")] = field(default_factory=dict)
    present: Annotated[tuple[str, ...], Meta(description="further files for [contract] present")] = ()

    def __post_init__(self) -> None:
        said = (self.python, self.default_python, self.cuda, self.torch, self.serves_torch)
        of_build = (self.requires, self.lock, self.gcc)
        if not self.env and not self.present and all(value is None for value in (*said, *of_build)):
            raise ValueError("says nothing but versions")


class ArchListTable(Table, frozen=True, kw_only=True):
    """An edit of the arch lists that a CMake file gives a variable, by what they mean, whatever their text."""

    why: Annotated[str, Meta(description="one sentence for the person who meets this edit in two years")]
    variable: Annotated[str, matching("[A-Za-z_][A-Za-z0-9_]*", "name of a CMake variable")]
    also: Annotated[
        Capabilities | None,
        Meta(
            description="the kernels run on these families too: added where no entry of the list gives every member"
            " machine code. 12.0f becomes the a forms of its members where nvcc has no families (before CUDA 12.9)"
        ),
    ] = None
    exact: Annotated[
        bool, Meta(description="each of `also` must stand in the list itself: it says which targets are taken at all")
    ] = False
    ptx: Annotated[bool, Meta(description="whether the list keeps its +PTX")] = False
    file: RelativePath = "CMakeLists.txt"  # type: ignore[assignment]  # checked text, as msgspec reads it
    tree: Annotated[str | None, Meta(description="name of the external tree; default: the package itself")] = None
    versions: Annotated[Specifier | None, Meta(description="only for these versions of the package")] = None
    cuda: Annotated[Specifier | None, Meta(description="only with these CUDA toolkits")] = None
    when: Annotated[Condition | None, Meta(description="only if this option is on; `!name`: off")] = None

    def __post_init__(self) -> None:
        if self.also is None and self.ptx:
            raise ValueError("changes nothing: it names no archs and keeps +PTX")


class RewriteTable(Table, frozen=True, kw_only=True):
    """A requirement of the finished wheel that another takes the place of."""

    why: Annotated[str, Meta(description="one sentence: who needs what, and how that is known")]
    requirement: Annotated[RequirementText, Meta(description="as the project writes it; its specifier may differ")]
    becomes: Annotated[RequirementText | None, Meta(description="absent: it goes")] = None
    versions: Annotated[Specifier | None, Meta(description="only for these versions of the package")] = None
    cuda: Annotated[Specifier | None, Meta(description="only with these CUDA toolkits")] = None


class CaveatTable(Table, frozen=True, kw_only=True):
    """What does not work with a toolkit although the wheel is whole: every plan that it is true of says it."""

    says: Annotated[str, Meta(description="one sentence, and how that is known", min_length=1)]
    versions: Annotated[Specifier | None, Meta(description="only for these versions of the package")] = None
    cuda: Annotated[Specifier | None, Meta(description="only with these CUDA toolkits")] = None


RustRelease = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)+$")]


class CratesTable(Table, frozen=True, kw_only=True):
    """Rust crates that the build compiles: every package of a Cargo.lock of the source, by the hashes in it."""

    lock: Annotated[RelativePath, Meta(description="path of the Cargo.lock in the package's source")]
    rust: Annotated[RustRelease | None, Meta(description="the oldest Rust release that will do")] = None
    env: Annotated[
        dict[str, str], Meta(description="environment variables of a build that has them; templates are filled in")
    ] = field(default_factory=dict)
    versions: Annotated[Specifier | None, Meta(description="only for these versions of the package")] = None
    when: Annotated[Condition | None, Meta(description="only if this option is on; `!name`: off")] = None
