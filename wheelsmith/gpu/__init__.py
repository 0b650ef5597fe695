"""Facts about GPUs, compute capabilities, toolkits and drivers, and the arithmetic on them."""

from wheelsmith.gpu.arch import Arch, ArchSet, ptx_runs_on, sass_runs_on
from wheelsmith.gpu.facts import (
    Gpu,
    Toolkit,
    all_gpus,
    family,
    find_gpu,
    gpus_of,
    known_toolkits,
    minimum_driver,
    toolkit_facts,
    torch_cuda,
)
from wheelsmith.gpu.select import select

__all__ = [
    "Arch",
    "ArchSet",
    "Gpu",
    "Toolkit",
    "all_gpus",
    "family",
    "find_gpu",
    "gpus_of",
    "known_toolkits",
    "minimum_driver",
    "ptx_runs_on",
    "sass_runs_on",
    "select",
    "toolkit_facts",
    "torch_cuda",
]
