"""Which piece of GPU code the CUDA runtime will take, one translation unit after the other.

In: the code of a library and a compute capability. Out: a `Service`: how many units run natively, which only through
the driver's compiler, which not at all. Pure; nothing fails. The runtime chooses within one fatbin region, so a library
that lists `sm_120` may still hold kernels that exist for that GPU as PTX only. Source: NVIDIA "CUDA Compiler Driver
NVCC", "Application Compatibility"; checked against a driver by benchmarks/gpu_truth.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from wheelsmith.gpu.arch import ptx_runs_on, sass_runs_on

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wheelsmith.binary.fatbin import DeviceCode
    from wheelsmith.gpu.arch import Arch


@dataclass(frozen=True, slots=True)
class Unit:
    """What serves one GPU in one translation unit.

    Attributes:
        code: all its code that holds kernels.
        sass: machine code that runs on the GPU as it is.
        ptx: PTX that a driver can compile for the GPU if it knows the PTX version.
    """

    code: tuple[DeviceCode, ...]
    sass: tuple[DeviceCode, ...]
    ptx: tuple[DeviceCode, ...]

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of some of its kernels, where they could be read."""
        return next((code.kernels for code in self.code if code.kernels), ())


@dataclass(frozen=True, slots=True)
class Service:
    """How a library serves one compute capability: its units, by what they have for it."""

    native: tuple[Unit, ...]
    jit: tuple[Unit, ...]
    absent: tuple[Unit, ...]

    @property
    def total(self) -> int:
        """Number of units with kernels."""
        return len(self.native) + len(self.jit) + len(self.absent)


def serve(code: Iterable[DeviceCode], gpu: Arch) -> Service:
    """Sort the units of a library's GPU code, in file order; empty code and LTO input serve nothing."""
    native: list[Unit] = []
    jit: list[Unit] = []
    absent: list[Unit] = []
    usable = (item for item in code if item.kind != "ltoir" and not item.empty)
    for _, group in groupby(usable, key=lambda item: item.unit):
        items = tuple(group)
        unit = Unit(
            items,
            tuple(item for item in items if item.kind == "sass" and sass_runs_on(item.arch, gpu)),
            tuple(item for item in items if item.kind == "ptx" and ptx_runs_on(item.arch, gpu)),
        )
        (native if unit.sass else jit if unit.ptx else absent).append(unit)
    return Service(tuple(native), tuple(jit), tuple(absent))


def kernel_names(units: Iterable[Unit], limit: int = 6) -> str:
    """Some kernels of the units, for a sentence: `marlin::Marlin, awq::gemm and more`; empty when none is known."""
    names = list(dict.fromkeys(_short(name) for unit in units for name in unit.kernels))
    return ", ".join(names[:limit]) + (" and more" if len(names) > limit else "")


def _short(name: str) -> str:
    return name if len(name) <= 48 else f"{name[:47]}…"
