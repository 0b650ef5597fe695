"""Whether a wheel will run on a machine, library by library, and the rule that decides.

In: a `WheelReport` and a `Machine`. Out: `Fits`: for every library and GPU an answer, what led to it and what to do.
Pure; nothing fails. Rules: NVIDIA "CUDA Compatibility" (a newer minor release's machine code runs on an older driver of
the same major release, its PTX does not), the dynamic loader's (symbol versions, undefined symbols), and the choice
of code that the CUDA runtime makes in each translation unit (`wheelsmith.compat.units`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from packaging.version import Version

from wheelsmith.compat.units import Service, kernel_names, serve
from wheelsmith.gpu.drivers import gpu_driver, ptx_cuda, ptx_driver
from wheelsmith.gpu.facts import minimum_driver, torch_cuda

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.compat.torch_abi import TorchExports
    from wheelsmith.compat.units import Unit
    from wheelsmith.gpu.arch import Arch
    from wheelsmith.gpu.drivers import Driver
    from wheelsmith.wheel.inspect import LibraryReport, WheelReport

SCHEMA_VERSION = 1

#: `yes`: runs as it is. `jit`: runs after the driver has compiled it. `partly`: loads, and some kernels fail.
#: `no`: does not load, or no kernel runs. `other`: written for particular other GPUs only. `host`: has no GPU code.
Answer = Literal["yes", "jit", "partly", "no", "other", "host"]

_LOCAL_CUDA = re.compile(r"(?:^|\.)cu(\d{2})\d(?:\.|$)")
_CUDART = re.compile(r"libcudart\.so\.(\d+)")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the wheel is to run. What is None is not judged.

    Attributes:
        gpus: name and compute capability.
        driver: of the kernel module.
        torch: what the torch that is installed there exports.
        glibc: `major.minor` of the C library.
    """

    gpus: tuple[tuple[str, Arch], ...]
    driver: Driver | None = None
    torch: TorchExports | None = None
    glibc: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "gpus": [{"name": name, "arch": str(arch)} for name, arch in self.gpus],
            "driver": str(self.driver) if self.driver else None,
            "driver_cuda": self.driver.toolkit if self.driver else None,
            "torch": self.torch.version if self.torch else None,
            "glibc": self.glibc,
        }


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding: the rule (`ptx`, `arch`, `driver`, `torch`, `cudart`, `glibc`), what it says here, what to do."""

    rule: str
    says: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class LibraryFit:
    """The answer for one library on one GPU.

    Attributes:
        library: path inside the wheel.
        gpu: name as in `Machine.gpus`.
        answer: see `Answer`.
        reasons: what decided, first, and what else should be known.
        native: translation units that run as they are.
        jit: those that the driver compiles first.
        refused: those whose PTX the driver does not know.
        absent: those with nothing for this GPU.
    """

    library: str
    gpu: str
    answer: Answer
    reasons: tuple[Reason, ...]
    native: int
    jit: int
    refused: int
    absent: int

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "library": self.library,
            "gpu": self.gpu,
            "answer": self.answer,
            "units": {"native": self.native, "jit": self.jit, "refused": self.refused, "absent": self.absent},
            "reasons": [{"rule": r.rule, "says": r.says, "remedy": r.remedy} for r in self.reasons],
        }


@dataclass(frozen=True, slots=True)
class Fits:
    """The result of `judge`."""

    wheel: str
    machine: Machine
    libraries: tuple[LibraryFit, ...]

    @property
    def fits(self) -> bool:
        """Whether every library runs on every GPU; one for other GPUs may stay unused beside one that runs."""
        return not any(item.answer in {"no", "partly"} for item in self.libraries) and all(
            self.answer_on(name) != "other" for name, _ in self.machine.gpus
        )

    def answer_on(self, gpu: str) -> Answer:
        """The worst answer for a GPU; `other` only where no library runs there."""
        answers = {item.answer for item in self.libraries if item.gpu == gpu}
        order: tuple[Answer, ...] = ("no", "partly", "jit", "yes", "other", "host")
        return next((answer for answer in order if answer in answers), "host")

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "wheel": self.wheel,
            "machine": self.machine.to_dict(),
            "fits": self.fits,
            "answers": {name: self.answer_on(name) for name, _ in self.machine.gpus},
            "libraries": [item.to_dict() for item in self.libraries],
        }


def judge(report: WheelReport, machine: Machine) -> Fits:
    """Hold a wheel, folder or library against a machine. What must still be linked (`.o`, `.a`) is left out."""
    shared = [library for library in report.libraries if library.facts.kind != "object"]
    offered = {name for library in shared for name in library.facts.offered}
    majors = [major for library in shared if (major := _cuda_major(library))]
    # Where the runtime is linked statically, no library names it: then the local version (+cu130) tells its release.
    major = max(majors, default=None) or _local_cuda(report.version)
    return Fits(
        report.filename,
        machine,
        tuple(
            _fit(library, name, arch, machine, offered, _cuda_major(library) or major)
            for library in shared
            for name, arch in machine.gpus
        ),
    )


def _fit(
    library: LibraryReport, name: str, arch: Arch, machine: Machine, offered: set[str], cuda: int | None
) -> LibraryFit:
    service = serve(library.facts.device_code, arch)
    refused = tuple(unit for unit in service.jit if _refused(unit, machine.driver))
    answer, reasons = _loads(library, machine, offered)
    if service.total:
        reasons += _driver_rules(library, name, arch, machine, cuda)
        if any(reason.rule in {"driver"} for reason in reasons):
            answer = "no"
        code_answer, code_reasons = _code_rules(service, refused, name, arch, machine)
        answer = code_answer if answer is None else answer
        reasons += code_reasons
    return LibraryFit(
        library=library.path,
        gpu=name,
        answer=answer or "host",
        reasons=tuple(reasons),
        native=len(service.native),
        jit=len(service.jit) - len(refused),
        refused=len(refused),
        absent=len(service.absent),
    )


def _loads(library: LibraryReport, machine: Machine, offered: set[str]) -> tuple[Answer | None, list[Reason]]:
    """Whether the dynamic loader accepts the library at all."""
    reasons = []
    if machine.glibc and library.glibc and Version(library.glibc) > Version(machine.glibc):
        says = f"needs GLIBC_{library.glibc}, and the machine has {machine.glibc}"
        reasons.append(Reason("glibc", says, "Use a newer distribution there, or build on an older one."))
    if machine.torch is not None:
        reasons += _torch_rules(library, machine.torch, offered)
    return ("no" if reasons else None), reasons


def _torch_rules(library: LibraryReport, torch: TorchExports, offered: set[str]) -> Iterator[Reason]:
    missing = [name for name in torch.missing(library.torch_symbols) if name not in offered]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        yield Reason(
            "torch",
            f"undefined symbol: torch {torch.version} does not define {', '.join(missing[:_SHOWN])}{more}",
            "Install the torch that the wheel was built against, or build it against this one.",
        )
    major, cuda = _cuda_major(library), torch_cuda(torch.version)
    if major and cuda and cuda.partition(".")[0] != str(major):
        yield Reason(
            "cudart",
            f"needs libcudart.so.{major}, and torch {torch.version} comes with CUDA {cuda}",
            f"Install a torch for CUDA {major}, or build with CUDA {cuda}.",
        )


def _driver_rules(
    library: LibraryReport, name: str, arch: Arch, machine: Machine, cuda: int | None
) -> Iterator[Reason]:
    if machine.driver is None:
        return
    if (first := gpu_driver(arch)) and not machine.driver.at_least(first):
        yield Reason("driver", f"driver {machine.driver} does not know {name} ({arch})", f"Install {first} or newer.")
    elif cuda and (floor := minimum_driver(f"{cuda}.0")) and not machine.driver.at_least(floor):
        says = f"CUDA {cuda}.x needs driver {floor} or newer, and this is {machine.driver}"
        yield Reason("driver", says, f"Install driver {floor} or newer, or a wheel for CUDA {cuda - 1}.")


def _code_rules(
    service: Service, refused: tuple[Unit, ...], name: str, arch: Arch, machine: Machine
) -> tuple[Answer, list[Reason]]:
    """What the CUDA runtime finds in the library for this GPU."""
    runs = len(service.native) + len(service.jit) - len(refused)
    if refused:
        reason = _refusal(service, refused, name, arch, machine)
        return ("partly" if runs else "no"), [reason, *_leftovers(service, arch)]
    if not runs:
        held = sorted({code.arch for unit in service.absent for code in unit.code})
        says = f"holds no code for {arch}, only {_listed(service.absent)}"
        if all(item.suffix for item in held):
            return "other", [Reason("arch", f"{says}: written for those GPUs, not used on {name}")]
        remedy = f"Build it for {name}: --arch {arch}."
        return "no", [Reason("arch", f"{says}: no kernel image is available for execution on the device", remedy)]
    if service.jit:
        return "jit", [_compiled_first(service, arch, machine), *_leftovers(service, arch)]
    return "yes", [Reason("arch", f"machine code for {arch}"), *_leftovers(service, arch)]


def _refusal(service: Service, refused: tuple[Unit, ...], name: str, arch: Arch, machine: Machine) -> Reason:
    isa = min(_oldest_isa(unit) for unit in refused)
    version = f"{isa[0]}.{isa[1]}"
    needed, knows = ptx_driver(version), machine.driver.ptx if machine.driver else (0, 0)
    only = f"all {service.total} units" if len(refused) == service.total else f"{len(refused)} of {service.total} units"
    named = kernel_names(refused)
    says = (
        f"the provided PTX was compiled with an unsupported toolchain: {only} exist for {arch} only as PTX"
        f"{f' ({named})' if named else ''}; it is of version {version} (CUDA {ptx_cuda(version) or 'unknown'}), and"
        f" driver {machine.driver} compiles PTX up to {knows[0]}.{knows[1]}"
        f"{f' (CUDA {machine.driver.toolkit})' if machine.driver and machine.driver.toolkit else ''}"
    )
    driver = f"Install driver {needed[0]} (CUDA {needed[1]}) or newer, or b" if needed else "B"
    return Reason("ptx", says, f"{driver}uild with machine code for {name}: --arch {arch}.")


def _compiled_first(service: Service, arch: Arch, machine: Machine) -> Reason:
    isa = max(_oldest_isa(unit) for unit in service.jit)
    version = f"{isa[0]}.{isa[1]}"
    needed = ptx_driver(version)
    named = kernel_names(service.jit)
    says = f"{len(service.jit)} of {service.total} units exist for {arch} only as PTX{f' ({named})' if named else ''}"
    if machine.driver is None:
        wanted = f"driver {needed[0]} (CUDA {needed[1]}) or newer" if needed else "a newer driver than any known"
        return Reason("ptx", f"{says}, of version {version}: it needs {wanted}", "Give --driver to be sure.")
    return Reason("ptx", f"{says}: the driver compiles them at first use, which takes time and is then cached")


def _leftovers(service: Service, arch: Arch) -> list[Reason]:
    if not service.absent:
        return []
    says = f"{len(service.absent)} of {service.total} units hold nothing for {arch}, only {_listed(service.absent)}"
    named = kernel_names(service.absent)
    return [Reason("arch", f"{says}{f' ({named})' if named else ''}: the package must not call them here")]


def _listed(units: tuple[Unit, ...]) -> str:
    code = {(item.kind, item.arch) for unit in units for item in unit.code}
    return ", ".join(f"{arch}{' (PTX)' if kind == 'ptx' else ''}" for kind, arch in sorted(code, key=lambda c: c[::-1]))


def _refused(unit: Unit, driver: Driver | None) -> bool:
    return driver is not None and _oldest_isa(unit) > driver.ptx


def _oldest_isa(unit: Unit) -> tuple[int, int]:
    """The version of the PTX that asks least of a driver."""
    return min(_pair(code.isa or "0") for code in unit.ptx)


def _pair(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def _local_cuda(version: str | None) -> int | None:
    found = _LOCAL_CUDA.search((version or "").partition("+")[2])
    return int(found[1]) if found else None


def _cuda_major(library: LibraryReport) -> int | None:
    return next((int(found[1]) for name in library.needed if (found := _CUDART.match(name))), None)
