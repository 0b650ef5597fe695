"""The tables beside this file as typed values.

In: `gpus.toml`, `toolkits.toml`. Out: GPUs by name, toolkits by version. Fails with `UnknownGpuError` (with the
nearest names) and `TargetError`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from packaging.version import Version

from wheelsmith.errors import TargetError, UnknownGpuError
from wheelsmith.gpu.arch import Arch

_VENDOR = re.compile(r"^(nvidia|geforce|tesla)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU model and its compute capability."""

    name: str
    arch: Arch
    family: str


@dataclass(frozen=True, slots=True)
class Toolkit:
    """What one CUDA toolkit release (`12.8`) brings."""

    version: str
    driver: str
    ptx: str
    archs: tuple[Arch, ...]


@cache
def _gpu_tables() -> tuple[dict[str, Gpu], dict[Arch, str]]:
    data = tomllib.loads(files(__package__).joinpath("gpus.toml").read_text("utf-8"))
    families = {Arch.parse(cc): phrase for cc, phrase in data["family"].items()}
    gpus = {
        _key(name): Gpu(name, Arch.parse(cc), families[Arch.parse(cc)])
        for cc, names in data["cc"].items()
        for name in names
    }
    return gpus, families


def _key(name: str) -> str:
    previous = None
    name = name.strip()
    while previous != name:  # "NVIDIA GeForce RTX 5090", as nvidia-smi prints it
        previous, name = name, _VENDOR.sub("", name)
    return re.sub(r"[\s_-]+", "", name).casefold()


def find_gpu(name: str) -> Gpu:
    """Look a GPU up by name, ignoring case, spaces and vendor prefixes.

    Raises:
        UnknownGpuError: no such GPU; the remedy names the nearest ones.
    """
    gpus, _ = _gpu_tables()
    key = _key(name)
    if key in gpus:
        return gpus[key]
    near = [gpus[k].name for k in difflib.get_close_matches(key, gpus, n=3, cutoff=0.5)]
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    raise UnknownGpuError(
        f"No GPU is known by the name {name!r}.",
        f"{hint}`wheelsmith gpus` lists them; --arch takes a compute capability such as 12.0 instead.",
    )


def gpus_of(arch: Arch) -> tuple[Gpu, ...]:
    """All known GPUs of a compute capability, in the order of the table."""
    return tuple(gpu for gpu in _gpu_tables()[0].values() if gpu.arch == arch.base)


def all_gpus() -> tuple[Gpu, ...]:
    """Every known GPU, by compute capability."""
    return tuple(_gpu_tables()[0].values())


def family(arch: Arch) -> str:
    """The phrase for a compute capability, for example `data-centre Blackwell`, or `an unknown family`."""
    return _gpu_tables()[1].get(arch.base, "an unknown family")


@cache
def _toolkit_table() -> dict[str, Toolkit]:
    data = tomllib.loads(files(__package__).joinpath("toolkits.toml").read_text("utf-8"))
    return {
        version: Toolkit(version, row["driver"], row["ptx"], tuple(Arch.parse(a) for a in row["archs"]))
        for version, row in data["toolkit"].items()
    }


def known_toolkits() -> tuple[str, ...]:
    """Versions of the toolkits in the table, oldest first."""
    return tuple(sorted(_toolkit_table(), key=Version))


def toolkit_facts(version: str) -> Toolkit:
    """The row for a toolkit `major.minor`.

    Raises:
        TargetError: the table has no such toolkit.
    """
    table = _toolkit_table()
    if version not in table:
        raise TargetError(
            f"CUDA {version} is not a toolkit that wheelsmith knows.",
            f"Choose one of {', '.join(known_toolkits())}, written as major.minor.",
        )
    return table[version]


def minimum_driver(cuda: str) -> str:
    """The oldest Linux driver that runs machine code of a toolkit's major version (minor version compatibility).

    It covers machine code only: PTX needs a driver that is at least as new as the toolkit (`Toolkit.driver`).
    Source: NVIDIA "CUDA Compatibility".
    """
    data = tomllib.loads(files(__package__).joinpath("toolkits.toml").read_text("utf-8"))
    return str(data["minor_version_compatibility"][cuda.partition(".")[0]])


def torch_cuda(torch: str) -> str | None:
    """The CUDA `major.minor` of the default index's torch wheels of this version; None if it is not known."""
    table = tomllib.loads(files(__package__).joinpath("torch.toml").read_text("utf-8"))["cuda"]
    release = Version(torch)
    cuda = table.get(f"{release.major}.{release.minor}")
    return None if cuda is None else str(cuda)
