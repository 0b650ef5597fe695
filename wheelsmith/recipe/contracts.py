"""The tables of a recipe that say what the finished wheel owes: its libraries, its limits, its choices.

In: `[contract]` and `[[library]]` of a TOML file. Out: typed models, which give the rules that plan and judge know
(`wheelsmith.contract`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from wheelsmith.contract import Alternative, Choice, Lack, LibraryRule, Limits
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.recipe.texts import Amount, Capabilities, Condition, Manylinux, Specifier, applies
from wheelsmith.schema import Table


class AlternativeTable(Table, frozen=True, kw_only=True):
    """One library that may be chosen when a program runs."""

    path: Annotated[
        str, Meta(description="its path inside the wheel (fnmatch); {cuda} stands for a CUDA release, such as 128")
    ]
    archs: Annotated[
        Capabilities | None, Meta(description="the GPUs on which it is taken; absent: those that are left")
    ] = None


class ChoiceTable(Table, frozen=True, kw_only=True):
    """Libraries of which the package takes one when it runs: what is not taken on an arch owes it nothing."""

    by: Annotated[
        Literal["gpu", "torch-cuda"],
        Meta(description="gpu: the first whose archs name the GPU; torch-cuda: the nearest release to torch's CUDA"),
    ]
    why: Annotated[str, Meta(description="where the package's own code says so")]
    library: Annotated[tuple[AlternativeTable, ...], Meta(min_length=1)]
    unused: Annotated[tuple[str, ...], Meta(description="libraries (fnmatch) never taken with an NVIDIA GPU")] = ()

    @property
    def alternatives(self) -> Iterator[Alternative]:
        """The same as the judge has them."""
        for item in self.library:
            yield Alternative(item.path, ";".join(map(str, item.archs)) if item.archs else None)


class ContractTable(Table, frozen=True, kw_only=True):
    """What holds for the whole wheel, beside the arch contract of its libraries. Absent keys allow anything."""

    forbidden: Annotated[
        Capabilities | None, Meta(description="archs for which the wheel must hold no code at all")
    ] = None
    max_size_mb: Annotated[Amount | None, Meta(description="size of the wheel, MB (1,000,000 bytes)")] = None
    needed: Annotated[
        tuple[str, ...] | None,
        Meta(description="libraries that the wheel's own may need (fnmatch); what it brings is allowed"),
    ] = None
    manylinux: Annotated[
        Manylinux | None, Meta(description="the newest platform that its symbol versions may need")
    ] = None
    unjudged: Annotated[
        tuple[str, ...], Meta(description="files (fnmatch) that may hold GPU code that cannot be judged")
    ] = ()
    present: Annotated[
        tuple[str, ...], Meta(description="files (fnmatch) that the wheel must hold: programs, Python modules, data")
    ] = ()
    choice: tuple[ChoiceTable, ...] = ()

    def limits(self, package: str) -> Limits:
        """The same as the plan and the judge have it."""
        return Limits(
            forbidden=self.forbidden or (),
            max_size=None if self.max_size_mb is None else int(self.max_size_mb * 1_000_000),
            needed=self.needed,
            manylinux=self.manylinux,
            unjudged=self.unjudged,
            choice=self.choices(package),
            present=self.present,
        )

    def choices(self, package: str) -> tuple[Choice, ...]:
        """What the package chooses among when it runs."""
        return tuple(Choice(package, item.by, item.why, tuple(item.alternatives), item.unused) for item in self.choice)


class LackTable(Table, frozen=True, kw_only=True):
    """Kernels that a library may lack for some of the requested archs."""

    kernels: Annotated[
        tuple[str, ...],
        Meta(min_length=1, description="their names without template arguments (fnmatch), as in cutlass::*"),
    ]
    why: Annotated[str, Meta(min_length=1, description="why the package does not call them there")]
    archs: Annotated[Capabilities | None, Meta(description="for these archs only")] = None


class LibraryTable(Table, frozen=True, kw_only=True):
    """The arch contract of the libraries whose path inside the wheel matches `path` (fnmatch)."""

    path: str
    code: Annotated[
        Literal["native", "jit", "none"],
        Meta(description="native: SASS for every requested arch; jit: PTX is enough; none: no device code"),
    ] = "native"
    optional: bool = False
    archs: Annotated[
        Capabilities | None,
        Meta(description="it serves only these; without any of them among the requested ones it may be absent"),
    ] = None
    lacks: tuple[LackTable, ...] = ()
    when: Annotated[Condition | None, Meta(description="only if this option is on; `!name`: off")] = None
    versions: Annotated[Specifier | None, Meta(description="only for these versions of the package")] = None
    cuda: Annotated[
        Specifier | None,
        Meta(description="the project builds it with these CUDA toolkits alone; with others the plan says what lacks"),
    ] = None
    without: Annotated[str, Meta(description="what does not work without it, for the plan's warning")] = ""

    def rule(self, requested: ArchSet, cuda: str) -> LibraryRule:
        """The same as the plan and the judge have it, for the archs that are requested and the toolkit."""
        lacks = tuple(Lack(item.kernels, item.why, _among(item.archs, requested)) for item in self.lacks)
        served = _among(self.archs, requested) if self.built_with(cuda) else ()
        return LibraryRule(self.path, self.code, self.optional or served == (), served, lacks)

    def built_with(self, cuda: str) -> bool:
        """Whether the project builds it with this toolkit."""
        return applies(self.cuda, cuda)


def _among(archs: tuple[Arch, ...] | None, requested: ArchSet) -> tuple[Arch, ...] | None:
    """Those of the requested archs whose compute capability is in the list; None: it names none, so it means all."""
    if archs is None:
        return None
    bases = {arch.base for arch in archs}
    return tuple(arch for arch in requested.native if arch.base in bases)
