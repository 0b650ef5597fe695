"""The tables of facts as typed values: GPUs, compute capabilities, toolkits, torch.

In: `wheelsmith.gpu.tables`. Out: GPUs by compute capability, toolkits by version, what torch is built with. Fails with
`TargetError` on a toolkit that no table has, and with `FactsError` where a user's table is wrong. GPUs by name:
`wheelsmith.gpu.names`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from packaging.version import Version

from wheelsmith.errors import FactsError, TargetError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.tables import facts_key, table

_LOCAL_CUDA = re.compile(r"(?:^|\.)cu(\d{2})(\d)(?:\.|$)")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU model.

    Attributes:
        name: as people write it.
        arch: its compute capability.
        family: a phrase for its chips.
        machine: the only processor architecture (`aarch64`) of machines that have it; None: not said.
        aliases: other names that nvidia-smi prints for it.
    """

    name: str
    arch: Arch
    family: str
    machine: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArchFacts:
    """What is known of a compute capability.

    Attributes:
        family: a phrase for its chips.
        first_cuda: the first CUDA release (`major.minor`) whose nvcc generates code for it; None: none known does.
        last_cuda: the last that does; None: the newest still does.
        last_driver: the last branch of the Linux driver that knows it; None: the newest still does.
        machine: the only processor architecture of machines that have it; None: not said.
    """

    family: str
    first_cuda: str | None = None
    last_cuda: str | None = None
    last_driver: int | None = None
    machine: str | None = None


@dataclass(frozen=True, slots=True)
class Toolkit:
    """What one CUDA toolkit release (`12.8`) brings.

    Attributes:
        version: `major.minor`.
        driver: the first Linux driver that ships with it; None: not known.
        ptx: the newest PTX version that its compiler writes.
        archs: the compute capabilities that its nvcc generates code for.
    """

    version: str
    driver: str | None
    ptx: str
    archs: tuple[Arch, ...]


_UNKNOWN = ArchFacts("an unknown family")


def arch_facts(arch: Arch) -> ArchFacts:
    """What is known of a compute capability; an arch that no table has gets values that claim nothing."""
    return _archs(facts_key()).get(arch.base, _UNKNOWN)


def known_archs() -> tuple[Arch, ...]:
    """Every compute capability of the table, lowest first."""
    return tuple(sorted(_archs(facts_key())))


def gpus_of(arch: Arch) -> tuple[Gpu, ...]:
    """All known GPUs of a compute capability, in the order of the table."""
    return _gpus_of(facts_key(), arch.base)


def all_gpus() -> tuple[Gpu, ...]:
    """Every known GPU, by compute capability."""
    return _gpus(facts_key())


def family(arch: Arch) -> str:
    """The phrase for a compute capability, for example `data-centre Blackwell`, or `an unknown family`."""
    return arch_facts(arch).family


@cache
def _archs(_key: tuple[str | None, ...]) -> dict[Arch, ArchFacts]:
    return {
        Arch.parse(cc): ArchFacts(
            row.get("family", _UNKNOWN.family),
            row.get("cuda"),
            row.get("last_cuda"),
            row.get("last_driver"),
            row.get("machine"),
        )
        for cc, row in table("gpus")["arch"].items()
    }


@cache
def _gpus(key: tuple[str | None, ...]) -> tuple[Gpu, ...]:
    found: dict[str, Gpu] = {}
    for cc, row in table("gpus")["arch"].items():
        facts = _archs(key)[Arch.parse(cc)]
        for item in row.get("gpus", []):
            entry = {"name": item} if isinstance(item, str) else item
            gpu = Gpu(
                entry["name"],
                Arch.parse(cc),
                facts.family,
                entry.get("machine", facts.machine),
                tuple(entry.get("aliases", ())),
            )
            before = found.setdefault(gpu.name.casefold(), gpu)
            if before.arch != gpu.arch:
                raise FactsError(
                    f"gpus.toml: {gpu.name} is listed under {before.arch} and under {gpu.arch}.",
                    "Take it out of your own gpus.toml, or give it another name there.",
                )
    return tuple(sorted(found.values(), key=lambda gpu: gpu.arch))


@cache
def _gpus_of(key: tuple[str | None, ...], arch: Arch) -> tuple[Gpu, ...]:
    return tuple(gpu for gpu in _gpus(key) if gpu.arch == arch)


@cache
def _toolkits(key: tuple[str | None, ...]) -> dict[str, Toolkit]:
    rows = table("toolkits")["toolkit"]
    archs = _archs(key)
    return {
        version: Toolkit(
            version,
            rows[version].get("driver"),
            rows[version]["ptx"],
            tuple(sorted(arch for arch, facts in archs.items() if _compiles(version, facts))),
        )
        for version in sorted(rows, key=Version)
    }


def _compiles(cuda: str, facts: ArchFacts) -> bool:
    first, last = facts.first_cuda, facts.last_cuda
    return first is not None and Version(first) <= Version(cuda) and (last is None or Version(cuda) <= Version(last))


def known_toolkits() -> tuple[str, ...]:
    """Versions of the toolkits in the table, oldest first."""
    return tuple(_toolkits(facts_key()))


def toolkit_facts(version: str) -> Toolkit:
    """The row for a toolkit `major.minor`.

    Raises:
        TargetError: the table has no such toolkit.
    """
    found = _toolkits(facts_key())
    if version not in found:
        raise TargetError(
            f"CUDA {version} is not a toolkit that wheelsmith knows.",
            f"Choose one of {', '.join(found)}, written as major.minor.",
        )
    return found[version]


def minimum_driver(cuda: str) -> str | None:
    """The oldest Linux driver that runs machine code of a toolkit's major version (minor version compatibility).

    It covers machine code only: PTX needs a driver that is at least as new as the toolkit (`Toolkit.driver`). None: the
    table has no such major version. Source: NVIDIA "CUDA Compatibility".
    """
    floor = table("drivers")["minor_version_compatibility"].get(cuda.partition(".")[0])
    return None if floor is None else str(floor)


def torch_cuda(torch: str) -> str | None:
    """The CUDA `major.minor` that a torch is built with; None if it is not known.

    A local version says it (`2.11.0+cu128`; `+cpu` and ROCm have none); else it is that of the default index's wheels.
    """
    release = Version(torch)
    if release.local is not None:
        match = _LOCAL_CUDA.search(release.local)
        return f"{match[1]}.{match[2]}" if match else None
    cuda = table("torch")["cuda"].get(f"{release.major}.{release.minor}")
    return None if cuda is None else str(cuda)


def known_torches() -> tuple[str, ...]:
    """The first release of each torch that the table knows (`2.11.0`), oldest first."""
    return tuple(f"{prefix}.0" for prefix in sorted(table("torch")["cuda"], key=Version))
