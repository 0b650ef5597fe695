"""The GPUs and the driver, asked of NVML itself: no package, no program, a few milliseconds.

In: nothing. Out: a `Found`, or why there is none. Standard library only, since it runs inside images, where the
container runtime puts the host's `libnvidia-ml.so.1`. Source: NVIDIA "NVML API Reference Guide". Nothing fails.
"""

from __future__ import annotations

import ctypes

from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver
from wheelsmith.gpu.machine import Found

_TEXT = 96  # NVML_DEVICE_NAME_V2_BUFFER_SIZE; the version of the driver needs 80


class _NoAnswer(Exception):  # noqa: N818 - not an error: a machine without a GPU
    """NVML says no; the text is its own."""


def ask_nvml() -> Found | str:
    """What NVML reports, or one phrase: why it reports nothing."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return "libnvidia-ml.so.1 is not there"
    try:
        _call(nvml, "nvmlInit_v2")
    except _NoAnswer as answer:
        return str(answer)
    try:
        return _ask(nvml)
    except _NoAnswer as answer:
        return str(answer)
    finally:
        nvml.nvmlShutdown()


def _ask(nvml: ctypes.CDLL) -> Found:
    count = ctypes.c_uint()
    _call(nvml, "nvmlDeviceGetCount_v2", ctypes.byref(count))
    gpus: dict[tuple[str, Arch], None] = {}
    for index in range(count.value):
        device = ctypes.c_void_p()
        name, major, minor = ctypes.create_string_buffer(_TEXT), ctypes.c_int(), ctypes.c_int()
        _call(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
        _call(nvml, "nvmlDeviceGetName", device, name, ctypes.c_uint(_TEXT))
        _call(nvml, "nvmlDeviceGetCudaComputeCapability", device, ctypes.byref(major), ctypes.byref(minor))
        gpus[name.value.decode(), Arch(major.value, minor.value)] = None
    version, cuda = ctypes.create_string_buffer(_TEXT), ctypes.c_int()
    _call(nvml, "nvmlSystemGetDriverVersion", version, ctypes.c_uint(_TEXT))
    _call(nvml, "nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(cuda))
    release = (cuda.value // 1000, cuda.value % 1000 // 10)
    return Found(tuple(gpus), Driver.parse(version.value.decode(), release), "NVML")


def _call(nvml: ctypes.CDLL, function: str, *arguments: object) -> None:
    code = getattr(nvml, function)(*arguments)
    if code != 0:
        nvml.nvmlErrorString.restype = ctypes.c_char_p
        words = nvml.nvmlErrorString(code) or b"unknown"
        raise _NoAnswer(f"NVML says: {words.decode()} ({function}, code {code})")
