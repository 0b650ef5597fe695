"""The one grammar for GPUs, archs and drivers: what a person types after `--gpu`, `--arch` and `--driver`.

In: text. A list has items separated by `,` or `;`: a GPU's name as nvidia-smi prints it or people write it, `native`
(the GPUs here), or a compute capability (`12.0`, `120`, `sm_120`, `12.0a`), each with an optional `+PTX`. A driver is
`570.124.06`, `570`, `570.x` or `native`. Out: `Wanted`, an `ArchSet`, a `Driver`. Fails with `UnknownGpuError`, or with
`TargetError` when the archs leave a named GPU without native code, the driver's text is none, or nothing is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wheelsmith.errors import TargetError, UnknownGpuError
from wheelsmith.gpu.arch import Arch, ArchSet, sass_runs_on
from wheelsmith.gpu.drivers import Driver
from wheelsmith.gpu.facts import Gpu, family, gpus_of
from wheelsmith.gpu.names import find_gpu, is_model

NATIVE = "native"

#: Certainly a compute capability; two or three bare digits may be a GPU (980) as well.
_ARCH = re.compile(r"(?:sm_?|compute_)\d{2,3}[af]?|\d{1,2}\.\d[af]?|\d{2,3}[af]", re.IGNORECASE)
_BARE = re.compile(r"\d{2,3}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One item of a list.

    Attributes:
        text: as it was typed, without `+PTX`.
        name: what to call it: a GPU's name, or `compute capability 12.0`.
        arch: the compute capability, with `a` or `f` where it was typed.
        gpu: the GPU, where one was named or found here.
        ptx: whether `+PTX` was asked for.
    """

    text: str
    name: str
    arch: Arch
    gpu: Gpu | None = None
    ptx: bool = False


def parse_targets(text: str, *, here: bool = True) -> tuple[Wanted, ...]:
    """Read a list of GPUs and archs, each item once, in the order given. `here`: whether `native` is a word.

    Raises:
        UnknownGpuError: the list is empty, or an item is neither a GPU nor a compute capability.
        TargetError: `native`, and there is no GPU here.
    """
    items = [item for item in (part.strip() for part in re.split(r"[,;]", text)) if item]
    if not items:
        raise UnknownGpuError(
            "The list of GPUs and architectures is empty.", 'Name at least one, as in "RTX 5090,A40" or "8.6;12.0".'
        )
    if not here and any(item.casefold().startswith(NATIVE) for item in items):
        raise UnknownGpuError(f"{text!r} asks for the GPUs of this machine, which are not meant.", "Name a GPU.")
    return tuple(dict.fromkeys(wanted for item in items for wanted in _item(item)))


def parse_driver(text: str) -> Driver:
    """Read `570.124.06`, `570`, `570.x` or `native`, the driver of this machine.

    Raises:
        TargetError: the text has another form, or `native` and no driver answers.
    """
    if text.strip().casefold() == NATIVE:
        from wheelsmith.gpu.machine import gpus_here

        return gpus_here().driver
    return Driver.parse(text)


def arch_set(wanted: Sequence[Wanted]) -> ArchSet:
    """The targets that a list asks for."""
    return ArchSet(tuple(sorted({one.arch for one in wanted})), tuple(sorted({one.arch for one in wanted if one.ptx})))


def _item(item: str) -> Iterator[Wanted]:
    name, plus, tail = (part.strip() for part in item.partition("+"))
    if name.casefold() == NATIVE:
        found: Iterator[Wanted] = _here()
    elif _is_arch(name):
        found = iter((_of_arch(name),))
    elif len(name.split()) > 1 and all(_is_arch(word.partition("+")[0]) for word in name.split()):
        found = (wanted for word in item.split() for wanted in _item(word))  # `sm_120 8.6`
        plus = ""
    else:
        gpu = find_gpu(name)
        found = iter((Wanted(name, gpu.name, gpu.arch, gpu),))
    if plus and tail.upper() != "PTX":
        raise UnknownGpuError(f"{item!r} has an unknown ending.", "Only +PTX may follow a GPU or compute capability.")
    for one in found:
        yield Wanted(one.text, one.name, one.arch, one.gpu, bool(plus) or one.ptx)


def _is_arch(text: str) -> bool:
    if _BARE.fullmatch(text):
        return not is_model(text)
    return _ARCH.fullmatch(text) is not None


def _of_arch(text: str) -> Wanted:
    arch = Arch.parse(text)
    return Wanted(text, f"compute capability {arch}", arch)


def _here() -> Iterator[Wanted]:
    from wheelsmith.gpu.machine import gpus_here

    for name, arch in gpus_here().gpus:
        yield Wanted(NATIVE, name, arch, _known(name, arch))


def _known(name: str, arch: Arch) -> Gpu:
    """The GPU of the table if it agrees with what the machine says; else one made of that."""
    try:
        gpu = find_gpu(name)
    except UnknownGpuError:
        gpu = None
    return gpu if gpu is not None and gpu.arch == arch else Gpu(name, arch, family(arch))


def select(gpus: str | None, archs: str | None, default: ArchSet) -> tuple[ArchSet, tuple[Gpu, ...]]:
    """Resolve `--gpu` and `--arch`.

    With only one of them, it says the targets. With both, `archs` are the targets and everything in `gpus` must run the
    code of one of them natively. With neither, `default` counts.

    Raises:
        UnknownGpuError: a name or an arch is not known.
        TargetError: a GPU could not run natively what `archs` asks for.
    """
    named = () if gpus is None else parse_targets(gpus)
    asked = () if archs is None else parse_targets(archs)
    targets = arch_set(asked or named) if asked or named else default
    for one in named:
        if not any(sass_runs_on(arch, one.arch.base) for arch in targets.native):
            raise _mistake(one, targets.native)
    return targets, tuple(dict.fromkeys(one.gpu for one in (*named, *asked) if one.gpu is not None))


def _mistake(one: Wanted, archs: Sequence[Arch]) -> TargetError:
    asked = "; ".join(f"{arch.sm} is {_describe(arch)}" for arch in archs)
    has = f"{one.name} has compute capability {one.arch}" if one.gpu else one.name.capitalize()
    return TargetError(
        f"{has} ({family(one.arch)}) {'and ' if one.gpu else ''}cannot run the requested code: {asked}.",
        f"Ask for {one.arch.sm} (--arch {one.arch}), or leave --arch away and keep --gpu: machine code runs on its own"
        " major compute capability only, at the same or a higher minor.",
    )


def _describe(arch: Arch) -> str:
    models = ", ".join(gpu.name for gpu in gpus_of(arch)[:3])
    return f"for {family(arch)}" + (f" ({models})" if models else "")
