from __future__ import annotations

import pytest

from wheelsmith.binary.elf import ElfFacts
from wheelsmith.binary.fatbin import DeviceCode
from wheelsmith.compat.judge import Machine, judge
from wheelsmith.compat.torch_abi import TorchExports, _hash
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver
from wheelsmith.wheel.inspect import LibraryReport, WheelReport

CHECK = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_ib"


def library(path, *units, needed=(), glibc=None, undefined=(), offered=(), kind="shared"):
    """A unit is text such as `8.0 12.0a ptx8.0@8.8 -9.0`: machine code, PTX with its version, empty code."""
    code = []
    for number, unit in enumerate(units):
        for item in unit.split():
            arch, _, isa = item.removeprefix("ptx").removeprefix("-").partition("@")
            kernels = () if item.startswith("-") else (f"k{number}",)
            code.append(
                DeviceCode("ptx", Arch.parse(arch), isa, 8, "lz4", number, 0, None)
                if item.startswith("ptx")
                else DeviceCode("sass", Arch.parse(arch), None, 8, "", number, 0, kernels)
            )
    facts = ElfFacts(needed, (), glibc, None, tuple(code), kind=kind, undefined=undefined, offered=offered)
    return LibraryReport(path, 100, facts)


def fits(gpu, driver, *libraries, version="1", **machine):
    report = WheelReport("wheel", "demo.whl", "0", 1, "demo", version, (), (), libraries)
    found = Machine(((gpu, Arch.parse(gpu)),), Driver.parse(driver) if driver else None, **machine)
    return judge(report, found)


@pytest.mark.parametrize(
    ("units", "gpu", "driver", "answer", "counts"),
    [
        (["8.0 ptx8.0@8.8"], "8.6", "570.x", "yes", (1, 0, 0, 0)),
        (["8.0 ptx8.0@8.8"], "12.0", "570.124.06", "no", (0, 0, 1, 0)),
        (["8.0 ptx8.0@8.8"], "12.0", "575.57.08", "jit", (0, 1, 0, 0)),
        (["8.0 ptx8.0@8.8"], "12.0", None, "jit", (0, 1, 0, 0)),
        (["12.0 8.0", "8.0 ptx8.0@8.8", "9.0a"], "12.0", "570.x", "partly", (1, 0, 1, 1)),
        (["12.0 8.0", "8.0 ptx8.0@8.7"], "12.0", "570.x", "jit", (1, 1, 0, 0)),
        (["12.0 8.0", "8.0"], "12.0", "570.x", "yes", (1, 0, 0, 1)),
        (["8.6 -12.0", "-12.0"], "12.0", "580.65.06", "no", (0, 0, 0, 1)),  # empty code of the link serves nothing
        (["8.6 12.0"], "9.0", "580.65.06", "no", (0, 0, 0, 1)),
        (["9.0a"], "12.0", "580.65.06", "other", (0, 0, 0, 1)),
        (["10.0f"], "10.3", "580.65.06", "yes", (1, 0, 0, 0)),
        (["10.0f"], "9.0", "580.65.06", "other", (0, 0, 0, 1)),
        (["ptx9.0a@9.0"], "9.0", "580.65.06", "jit", (0, 1, 0, 0)),
        (["9.0 ptx8.0@9.5 ptx7.5@8.0"], "8.0", "570.x", "jit", (0, 1, 0, 0)),  # the older PTX is enough
        ([], "9.0", "580.65.06", "host", (0, 0, 0, 0)),
    ],
)
def test_answers_by_translation_unit(units, gpu, driver, answer, counts):
    (fit,) = fits(gpu, driver, library("_C.so", *units)).libraries
    assert (fit.answer, (fit.native, fit.jit, fit.refused, fit.absent)) == (answer, counts)


def test_refused_ptx_is_named_with_its_kernels_and_the_way_out():
    (fit,) = fits("12.0", "570.86.10", library("_C.so", "12.0", "8.0 ptx8.0@8.8")).libraries
    assert fit.reasons[0].says == (
        "the provided PTX was compiled with an unsupported toolchain: 1 of 2 units exist for 12.0 only as PTX (k1);"
        " it is of version 8.8 (CUDA 12.9), and driver 570.86.10 compiles PTX up to 8.7 (CUDA 12.8)"
    )
    assert fit.reasons[0].remedy == (
        "Install driver 575.51.03 (CUDA 12.9) or newer, or build with machine code for 12.0: --arch 12.0."
    )


def test_ptx_newer_than_every_known_driver_can_only_be_built_again():
    (fit,) = fits("9.0", "580.65.06", library("_C.so", "ptx8.0@9.5")).libraries
    assert fit.answer == "no"
    assert "version 9.5 (CUDA 13.5)" in fit.reasons[0].says
    assert fit.reasons[0].remedy == "Build with machine code for 9.0: --arch 9.0."


def test_minor_version_compatibility_covers_machine_code_only_within_a_major_release():
    cuda12 = library("_C.so", "8.0", needed=("libcudart.so.12",))
    cuda13 = library("_C.so", "8.0", needed=("libcudart.so.13",))
    assert fits("8.0", "535.183.06", cuda12).fits
    refused = fits("8.0", "535.183.06", cuda13)
    assert not refused.fits
    assert refused.libraries[0].reasons[0].says == "CUDA 13.x needs driver 580 or newer, and this is 535.183.06"
    static = library("_C.so", "8.0")  # its runtime is inside: only the version tells
    assert [fits("8.0", "535.183.06", static, version=v).fits for v in ("1+cu129", "1+cu130", "1")] == [
        True,
        False,
        True,
    ]
    (fit,) = fits("12.0", "550.54.14", library("_C.so", "12.0", needed=("libcudart.so.12",))).libraries
    assert (fit.answer, fit.reasons[0].says) == ("no", "driver 550.54.14 does not know 12.0 (12.0)")


def test_code_for_other_gpus_may_stay_unused_only_beside_code_that_runs():
    own, other = library("_C.so", "8.0"), library("fa3.so", "9.0a")
    assert fits("8.6", "580.65.06", own, other).fits
    assert not fits("8.6", "580.65.06", other).fits
    assert not fits("8.6", "580.65.06", own, library("x.so", "9.0")).fits  # not written for one GPU: simply missing


def test_torch_glibc_and_the_cuda_runtime_decide_whether_it_loads():
    torch = TorchExports("2.10.0", "test", frozenset({_hash("_ZN2at4_ops3addE")}))
    needs = library("_C.so", "8.0", undefined=(CHECK, "_ZN2at4_ops3addE", "malloc"), glibc="2.29")
    (fit,) = fits("8.0", "580.65.06", needs, torch=torch, glibc="2.28").libraries
    assert fit.answer == "no"
    assert [(reason.rule, reason.says) for reason in fit.reasons[:2]] == [
        ("glibc", "needs GLIBC_2.29, and the machine has 2.28"),
        ("torch", f"undefined symbol: torch 2.10.0 does not define {CHECK}"),
    ]
    neighbour = library("lib.so", offered=(CHECK,))
    assert fits("8.0", "580.65.06", needs, neighbour, torch=torch, glibc="2.29").fits
    runtime = library("_C.so", "8.0", needed=("libcudart.so.13",))
    (fit,) = fits("8.0", "580.65.06", runtime, torch=torch).libraries
    assert fit.reasons[0].says == "needs libcudart.so.13, and torch 2.10.0 comes with CUDA 12.8"


def test_objects_are_not_judged():
    assert fits("8.0", "580.65.06", library("_C.so", "8.0"), library("x.o", "9.0", kind="object")).fits
