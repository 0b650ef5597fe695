"""From what a person asks for (`--gpu`, `--arch`) to the set of targets, with mistakes explained.

In: GPU names and an arch list, as text. Out: an `ArchSet` and the GPUs. Fails with `UnknownGpuError`, or with
`TargetError` when the archs leave a named GPU without native code.
"""

from __future__ import annotations

from collections.abc import Sequence

from wheelsmith.errors import TargetError, UnknownGpuError
from wheelsmith.gpu.arch import Arch, ArchSet, sass_runs_on
from wheelsmith.gpu.facts import Gpu, family, find_gpu, gpus_of


def select(gpus: str | None, archs: str | None, default: str) -> tuple[ArchSet, tuple[Gpu, ...]]:
    """Resolve `--gpu` (comma separated names) and `--arch` (a list such as `8.6;12.0`).

    With only `gpus`, their compute capabilities are the targets. With both, `archs` are the targets and every
    GPU must run the code of one of them natively. With neither, `default` (an arch list) counts.

    Raises:
        UnknownGpuError: a name or an arch is not known.
        TargetError: a GPU could not run natively what `archs` asks for.
    """
    names = [name for name in (gpus or "").replace(";", ",").split(",") if name.strip()]
    if gpus is not None and not names:
        raise UnknownGpuError("The list of GPUs is empty.", 'Name at least one, as in --gpu "RTX 5090,A40".')
    chosen = tuple(find_gpu(name) for name in names)
    if archs is None:
        if chosen:
            return ArchSet(tuple(sorted({gpu.arch for gpu in chosen}))), chosen
        return ArchSet.parse(default), ()
    targets = ArchSet.parse(archs)
    for gpu in chosen:
        if not any(sass_runs_on(arch, gpu.arch) for arch in targets.native):
            raise _mistake(gpu, targets.native)
    return targets, chosen


def _mistake(gpu: Gpu, archs: Sequence[Arch]) -> TargetError:
    asked = "; ".join(f"{arch.sm} is {_describe(arch)}" for arch in archs)
    return TargetError(
        f"{gpu.name} has compute capability {gpu.arch} ({gpu.family}) and cannot run the requested code: {asked}.",
        f"Ask for {gpu.arch.sm} (--arch {gpu.arch}), or leave --arch away and keep --gpu: machine code runs on its own"
        " major compute capability only, at the same or a higher minor.",
    )


def _describe(arch: Arch) -> str:
    models = ", ".join(gpu.name for gpu in gpus_of(arch)[:3])
    return f"for {family(arch)}" + (f" ({models})" if models else "")
