"""Where a wheel runs, and since which driver.

In: a `Card`, a compute capability, a driver version. Out: a `Fit`. Rules: NVIDIA "CUDA Compatibility" and "CUDA
C++ Programming Guide" by way of `wheelsmith.gpu`. Pure; fails with `UsageError` on a driver that is no version and
`UnknownGpuError` on a GPU that nobody knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from packaging.version import Version

from wheelsmith.errors import UnknownGpuError, UsageError
from wheelsmith.gpu.arch import Arch, ptx_runs_on, sass_runs_on
from wheelsmith.gpu.facts import find_gpu, known_toolkits, minimum_driver, toolkit_facts

if TYPE_CHECKING:
    from wheelsmith.index.web.summary import Card, Code

# Source: NVIDIA, "CUDA GPU Compute Capability", column Jetson, and the data sheet of DGX Spark.
_ARM_ONLY = frozenset({Arch(7, 2), Arch(8, 7), Arch(8, 8), Arch(11, 0), Arch(12, 1)})
Outcome = Literal["native", "partly", "jit", "no", "any"]


@dataclass(frozen=True, slots=True)
class Fit:
    """How a wheel runs on a GPU.

    Attributes:
        outcome: `native`: machine code in every library with GPU code; `partly`: in some, and the others
            have none that runs; `jit`: PTX that the driver compiles first, in at least one library; `no`;
            `any`: the wheel has no GPU code.
        driver: oldest Linux driver; None if no table tells, or none is needed.
    """

    outcome: Outcome
    driver: str | None

    def accepts(self, driver: Version | None) -> bool:
        """Whether it runs under this driver (None: not asked)."""
        if self.outcome == "no":
            return False
        return driver is None or self.driver is None or driver >= Version(self.driver)


def fit(card: Card, gpu: Arch) -> Fit:
    """How the wheel of `card` runs on a GPU of this compute capability."""
    if card.problem:
        return Fit("no", None)
    if not card.libraries:
        return Fit("any", None)
    kinds = [_library(codes, gpu) for _, codes in card.libraries]
    drivers = [driver for kind in kinds for driver in kind[1]]
    found = {kind[0] for kind in kinds}
    if found == {"no"}:
        return Fit("no", None)
    outcome: Outcome = "partly" if "no" in found else "jit" if "jit" in found else "native"
    if card.cuda is not None and (major := _minor_compatibility(card.cuda)):
        drivers.append(major)
    if first := _first_driver(gpu):
        drivers.append(first)
    return Fit(outcome, max(drivers, key=Version, default=None))


def is_arm_only(gpu: Arch) -> bool:
    """Whether this compute capability exists only in systems with an Arm processor (Jetson, Thor, GB10)."""
    return gpu in _ARM_ONLY


def find_arch(text: str) -> tuple[str, Arch]:
    """Name and compute capability of what a person typed: a GPU's name, `8.6`, or `sm_86`.

    Raises:
        UnknownGpuError: it is neither.
    """
    try:
        gpu = find_gpu(text)
    except UnknownGpuError:
        try:
            arch = Arch.parse(text).base
        except UnknownGpuError:
            pass
        else:
            return f"compute capability {arch}", arch
        raise
    return gpu.name, gpu.arch


def parse_driver(text: str) -> Version | None:
    """A driver version as `nvidia-smi` prints it, or None for an empty text.

    Raises:
        UsageError: it is no driver version.
    """
    text = text.strip()
    if not text:
        return None
    if not re.fullmatch(r"\d{3,4}(\.\d{1,4}){0,2}", text, re.ASCII):
        raise UsageError(f"{text!r} is no driver version.", "Write it as nvidia-smi prints it, such as 580.65.06.")
    return Version(text)


def _library(codes: tuple[Code, ...], gpu: Arch) -> tuple[Literal["native", "jit", "no"], tuple[str, ...]]:
    """How one library runs, and the drivers that it needs."""
    if any(code.kind == "sass" and sass_runs_on(Arch.parse(code.arch), gpu) for code in codes):
        return "native", ()
    isas = [code.isa for code in codes if code.kind == "ptx" and code.isa and ptx_runs_on(Arch.parse(code.arch), gpu)]
    if not isas:
        return "no", ()
    driver = _driver_for_isa(min(isas, key=Version))
    return "jit", (() if driver is None else (driver,))


def _driver_for_isa(isa: str) -> str | None:
    """The driver of the first toolkit that knows a PTX version; None for versions after the table."""
    toolkits = map(toolkit_facts, known_toolkits())
    return next((toolkit.driver for toolkit in toolkits if Version(toolkit.ptx) >= Version(isa)), None)


def _first_driver(gpu: Arch) -> str | None:
    """The driver of the first toolkit that knows a GPU; None if it is older than the table."""
    versions = known_toolkits()
    first = next((version for version in versions if gpu in toolkit_facts(version).archs), None)
    return None if first is None or first == versions[0] else toolkit_facts(first).driver


def _minor_compatibility(cuda: str) -> str | None:
    majors = {version.partition(".")[0] for version in known_toolkits()}
    return minimum_driver(cuda) if cuda.partition(".")[0] in majors else None
