"""Facts about GPUs, compute capabilities, toolkits and drivers, and the arithmetic on them."""

from wheelsmith.gpu.arch import Arch, ArchSet, ptx_runs_on, sass_runs_on
from wheelsmith.gpu.drivers import Driver, gpu_driver, ptx_cuda, ptx_driver, published_rules
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
from wheelsmith.gpu.machine import Found, gpus_here, read_smi
from wheelsmith.gpu.select import select

__all__ = [
    "Arch",
    "ArchSet",
    "Driver",
    "Found",
    "Gpu",
    "Toolkit",
    "all_gpus",
    "family",
    "find_gpu",
    "gpu_driver",
    "gpus_here",
    "gpus_of",
    "known_toolkits",
    "minimum_driver",
    "ptx_cuda",
    "ptx_driver",
    "ptx_runs_on",
    "published_rules",
    "read_smi",
    "sass_runs_on",
    "select",
    "toolkit_facts",
    "torch_cuda",
]
