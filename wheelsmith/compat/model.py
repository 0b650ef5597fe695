"""The values that the judge, its rules and the choices at run time share.

In: nothing. Out: `Answer`, `Reason`, `Finding`, `Machine`, `LibraryFit`. Nothing fails. It runs inside images too: the
standard library and `wheelsmith.gpu` are all that it imports.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from wheelsmith.compat.torch_abi import TorchExports
    from wheelsmith.documents.wheels import LibraryFitFacts, MachineFacts
    from wheelsmith.gpu.arch import Arch
    from wheelsmith.gpu.drivers import Driver

#: `yes`: runs as it is. `jit`: runs after the driver has compiled it. `partly`: loads, and some kernels fail.
#: `no`: does not load, or no kernel runs. `unknown`: no rule decides. `other`: written for other GPUs, or another
#: library is chosen at run time. `host`: has no GPU code.
Answer = Literal["yes", "jit", "partly", "no", "unknown", "other", "host"]
Rule = Literal["ptx", "arch", "kernels", "driver", "torch", "cudart", "glibc", "glibcxx", "tag", "format", "choice"]

_ORDER: tuple[Answer, ...] = ("no", "partly", "unknown", "jit", "yes", "other")


@dataclass(frozen=True, slots=True)
class Reason:
    """What a rule says here, without a full stop, and what to do about it."""

    rule: Rule
    says: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason, and the answer that it leads to; None: it only informs."""

    answer: Answer | None
    reason: Reason


def worst(answers: Iterable[Answer]) -> Answer:
    """The answer that counts among several; `host` when there is none."""
    found = set(answers)
    return next((answer for answer in _ORDER if answer in found), "host")


@dataclass(frozen=True, slots=True)
class CxxLibrary:
    """The newest symbol versions that a libstdc++.so.6 defines, such as 3.4.33 and 1.3.15; None: not known."""

    glibcxx: str | None = None
    cxxabi: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the wheel is to run. What is None is not judged.

    Attributes:
        gpus: name and compute capability.
        driver: of the kernel module.
        torch: what the torch that is installed there exports.
        glibc: `major.minor` of the C library.
        cxx: what the C++ library defines.
    """

    gpus: tuple[tuple[str, Arch], ...]
    driver: Driver | None = None
    torch: TorchExports | None = None
    glibc: str | None = None
    cxx: CxxLibrary | None = None

    def to_dict(self) -> MachineFacts:
        """JSON values."""
        return {
            "gpus": [{"name": name, "arch": str(arch)} for name, arch in self.gpus],
            "driver": str(self.driver) if self.driver else None,
            "driver_cuda": self.driver.toolkit if self.driver else None,
            "torch": self.torch.version if self.torch else None,
            "glibc": self.glibc,
            "glibcxx": self.cxx.glibcxx if self.cxx else None,
            "cxxabi": self.cxx.cxxabi if self.cxx else None,
        }


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
        refused: those whose PTX the driver does not know, or is not known to know.
        absent: those with nothing for this GPU.
    """

    library: str
    gpu: str
    answer: Answer
    reasons: tuple[Reason, ...]
    native: int = 0
    jit: int = 0
    refused: int = 0
    absent: int = 0

    def to_dict(self) -> LibraryFitFacts:
        """JSON values."""
        return {
            "library": self.library,
            "gpu": self.gpu,
            "answer": self.answer,
            "units": {"native": self.native, "jit": self.jit, "refused": self.refused, "absent": self.absent},
            "reasons": [{"rule": r.rule, "says": r.says, "remedy": r.remedy} for r in self.reasons],
        }
