"""Which piece of GPU code the CUDA runtime will take, one translation unit after the other.

In: the units of a library and a compute capability. Out: a `Service`: which units run natively, which only through the
driver's compiler, which not at all. Pure; nothing fails. The runtime chooses within one fatbin region, so a library
that lists `sm_120` may still hold kernels that exist for that GPU as PTX only. A piece whose kernels have no body, or
one that only traps, is chosen all the same and runs nothing. Source: NVIDIA "CUDA Compiler Driver NVCC", "Application
Compatibility"; checked against a driver by benchmarks/gpu_truth.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheelsmith.gpu.arch import sass_runs_on

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wheelsmith.compat.summary import Code, Units
    from wheelsmith.gpu.arch import Arch


@dataclass(frozen=True, slots=True)
class Served:
    """What serves one GPU in translation units that are alike.

    Attributes:
        units: the units.
        taken: the machine code that the runtime takes; None: there is none.
        ptx: PTX that a driver can compile for the GPU if it knows the PTX version.
    """

    units: Units
    taken: Code | None
    ptx: tuple[Code, ...]

    @property
    def count(self) -> int:
        """How many units they are."""
        return self.units.count

    def loaded(self, gpu: Arch) -> tuple[Code, ...]:
        """The machine code that is loaded: what the runtime takes, or of plain cubins all that run on the GPU."""
        if self.units.loose:
            return tuple(code for code in self.units.code if code.kind == "sass" and code.runs_on(gpu))
        return (self.taken,) if self.taken else ()

    @property
    def lost(self) -> tuple[Code, ...]:
        """The code that is taken, if kernels are missing in it or have no body there."""
        code = (self.taken,) if self.taken else self.ptx
        return tuple(item for item in code if item.missing or item.stubs)


@dataclass(frozen=True, slots=True)
class Service:
    """How a library serves one compute capability: its units, by what they have for it; `unread`: nobody can tell."""

    native: tuple[Served, ...]
    jit: tuple[Served, ...]
    absent: tuple[Served, ...]
    unread: tuple[Served, ...] = ()

    @property
    def total(self) -> int:
        """Number of units with kernels."""
        return units_of((*self.native, *self.jit, *self.absent, *self.unread))


def serve(units: Iterable[Units], gpu: Arch) -> Service:
    """Sort the units of a library."""
    native: list[Served] = []
    jit: list[Served] = []
    absent: list[Served] = []
    unread: list[Served] = []
    for group in units:
        given = tuple(code for code in group.code if code.kind == "ptx" and code.runs_on(gpu) and not code.hollow)
        ptx = tuple(code for code in given if not code.unread)
        # Of the machine code that its label allows, the runtime takes the nearest: the highest minor, and what is made
        # for this GPU alone before others. What that code says of itself decides whether the driver then loads it.
        offered = [code for code in group.code if code.kind == "sass" and sass_runs_on(code.label or code.arch, gpu)]
        taken = max(offered, key=lambda code: _nearness(code.label or code.arch), default=None)
        if taken.unread if taken is not None else given and not ptx:
            unread.append(Served(group, taken, ()))
        elif taken is not None:
            runs = taken.runs_on(gpu) and not taken.hollow
            (native if runs else absent).append(Served(group, taken, ()))
        else:
            (jit if ptx else absent).append(Served(group, None, ptx))
    return Service(tuple(native), tuple(jit), tuple(absent), tuple(unread))


def _nearness(arch: Arch) -> tuple[int, bool, str]:
    return arch.minor, arch.suffix == "a", arch.suffix


def units_of(served: Iterable[Served]) -> int:
    """How many units they are together."""
    return sum(item.count for item in served)


def kernel_names(served: Iterable[Served], limit: int = 6) -> str:
    """Some kernels of the units, for a sentence: `marlin::Marlin, awq::gemm and more`; empty when none is known."""
    return listed((name for item in served for name in item.units.kernels), limit)


def listed(names: Iterable[str], limit: int = 6) -> str:
    """The first of the names, each once and none too long, for a sentence."""
    short = list(dict.fromkeys(map(_short, names)))
    return ", ".join(short[:limit]) + (" and more" if len(short) > limit else "")


def _short(name: str) -> str:
    return name if len(name) <= 48 else f"{name[:47]}…"
