"""The GPUs and the driver of the machine that this runs on.

In: nothing. Out: a `Found`. Asks NVML, else `nvidia-smi`. Fails with `TargetError` where neither answers.
"""

from __future__ import annotations

import importlib
import re
import subprocess
from dataclasses import dataclass

from wheelsmith.errors import TargetError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver

_QUERY = ("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")


@dataclass(frozen=True, slots=True)
class Found:
    """GPUs (name and compute capability, each kind once) and the driver; `source` is `NVML` or `nvidia-smi`."""

    gpus: tuple[tuple[str, Arch], ...]
    driver: Driver
    source: str


def gpus_here() -> Found:
    """What this machine has.

    Raises:
        TargetError: no driver answers, or there is no GPU.
    """
    found = _from_nvml() or _from_smi()
    if found is None or not found.gpus:
        raise TargetError(
            "This machine has no NVIDIA GPU that its driver reports.",
            'Name the machine that is meant: --gpu "RTX 5090" --driver 570.124.06.',
        )
    return found


def _from_nvml() -> Found | None:
    try:
        pynvml = importlib.import_module("pynvml")  # of the package nvidia-ml-py, if it is there
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        gpus: dict[tuple[str, Arch], None] = {}
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            gpus[_text(pynvml.nvmlDeviceGetName(handle)), Arch(major, minor)] = None
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        driver = Driver.parse(_text(pynvml.nvmlSystemGetDriverVersion()), (cuda // 1000, cuda % 1000 // 10))
        return Found(tuple(gpus), driver, "NVML")
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _from_smi() -> Found | None:
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return read_smi(done.stdout)


def read_smi(text: str) -> Found | None:
    """Read what `nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader` prints."""
    rows = re.findall(r"^(.+), *(\d+\.\d), *([\d.]+) *$", text, re.MULTILINE)
    if not rows:
        return None
    gpus = tuple(dict.fromkeys((name.strip(), Arch.parse(cc)) for name, cc, _ in rows))
    return Found(gpus, Driver.parse(rows[0][2]), "nvidia-smi")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
