"""Compute capabilities and the rules that say which GPU code runs where.

In: text such as `8.6`, `12.0a`, `sm_120`, `8.0+PTX`. Out: frozen `Arch` and `ArchSet` values and their spelling
for torch, CMake and nvcc. Fails with `UnknownGpuError` on text that is no compute capability.
Rules: NVIDIA "CUDA Programming Guide", chapters "Binary Compatibility" (which does not hold between integrated GPUs and
others), "PTX Compatibility" and "Family-Specific Features".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wheelsmith.errors import UnknownGpuError

_TEXT = re.compile(r"(?:sm_|compute_|sm|)(?P<digits>\d{1,2}\.\d|\d{2,3})(?P<suffix>[af]?)", re.IGNORECASE)


#: GPUs of Jetson and DRIVE: their machine code runs on no other, and that of no other on them.
_INTEGRATED = frozenset({53, 62, 72, 87, 101})


@dataclass(frozen=True, order=True, slots=True)
class Arch:
    """A compute capability as a compilation target: `major.minor` with `a` (this CC only) or `f` (family)."""

    major: int
    minor: int
    suffix: str = ""

    @classmethod
    def parse(cls, text: str) -> Arch:
        """Read `8.6`, `86`, `sm_86`, `compute_120f` or `12.0a`.

        Raises:
            UnknownGpuError: the text has another form.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise UnknownGpuError(
                f"{text!r} is not a compute capability.",
                "Write it as in 8.6, 12.0, 12.0a or sm_120 (see `wheelsmith gpus`).",
            )
        digits = match["digits"].replace(".", "")
        return cls(int(digits[:-1]), int(digits[-1]), match["suffix"].lower())

    @property
    def number(self) -> int:
        """The number in `sm_120`: ten times major plus minor."""
        return self.major * 10 + self.minor

    @property
    def sm(self) -> str:
        """NVIDIA's name for machine code of this target, for example `sm_120a`."""
        return f"sm_{self.number}{self.suffix}"

    @property
    def base(self) -> Arch:
        """The same compute capability without `a` or `f`."""
        return Arch(self.major, self.minor)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}{self.suffix}"


def sass_runs_on(code: Arch, gpu: Arch) -> bool:
    """Whether machine code compiled for `code` runs on a GPU of compute capability `gpu`, without any JIT."""
    if code.suffix == "a" or {code.number, gpu.number} & _INTEGRATED:
        return code.base == gpu.base
    return code.major == gpu.major and gpu.minor >= code.minor


def ptx_runs_on(code: Arch, gpu: Arch) -> bool:
    """Whether a driver that knows the PTX ISA can JIT-compile PTX for `code` on a GPU of CC `gpu`."""
    if code.suffix == "a":
        return code.base == gpu.base
    if code.suffix == "f":
        return code.major == gpu.major and gpu.minor >= code.minor
    return (gpu.major, gpu.minor) >= (code.major, code.minor)


@dataclass(frozen=True, slots=True)
class ArchSet:
    """The targets of a build: `native` get SASS; `ptx` (a subset's spelling `8.6+PTX`) get PTX as well."""

    native: tuple[Arch, ...]
    ptx: tuple[Arch, ...] = ()

    @classmethod
    def parse(cls, text: str) -> ArchSet:
        """Read a list separated by `;`, `,` or white space, each item with an optional `+PTX`.

        The result is sorted and free of duplicates, so that two spellings of one wish give one plan.

        Raises:
            UnknownGpuError: the list is empty or an item is no compute capability.
        """
        native: set[Arch] = set()
        ptx: set[Arch] = set()
        for item in re.split(r"[;,\s]+", text.strip()):
            if not item:
                continue
            name, plus, tail = item.partition("+")
            arch = Arch.parse(name)
            native.add(arch)
            if plus and tail.upper() != "PTX":
                raise UnknownGpuError(f"{item!r} has an unknown ending.", "Only +PTX may follow a compute capability.")
            if plus:
                ptx.add(arch)
        if not native:
            raise UnknownGpuError("The list of GPU architectures is empty.", "Name at least one, as in 8.6;12.0.")
        return cls(tuple(sorted(native)), tuple(sorted(ptx)))

    def __str__(self) -> str:
        return self.torch

    @property
    def torch(self) -> str:
        """Spelling for `TORCH_CUDA_ARCH_LIST` (torch/utils/cpp_extension.py)."""
        return ";".join(f"{arch}+PTX" if arch in self.ptx else str(arch) for arch in self.native)

    @property
    def cmake(self) -> str:
        """Spelling for CMake's `CMAKE_CUDA_ARCHITECTURES` and the `CUDAARCHS` variable."""
        return ";".join(f"{arch.number}{arch.suffix}" + ("" if arch in self.ptx else "-real") for arch in self.native)

    @property
    def gencode(self) -> str:
        """Spelling for nvcc: one `-gencode` per piece of code."""
        flags = [f"-gencode=arch=compute_{a.sm[3:]},code={a.sm}" for a in self.native]
        flags += [f"-gencode=arch=compute_{a.sm[3:]},code=compute_{a.sm[3:]}" for a in self.ptx]
        return " ".join(flags)
