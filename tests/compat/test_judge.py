from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from wheelsmith.binary.elf import BinaryFacts
from wheelsmith.binary.fatbin import DeviceCode
from wheelsmith.compat.distributions import cxx_library_here, distribution_of
from wheelsmith.compat.judge import judge, oldest_driver, with_dependencies
from wheelsmith.compat.model import Machine
from wheelsmith.compat.summarise import summarise
from wheelsmith.compat.summary import from_dict
from wheelsmith.compat.torch_abi import TorchExports, _hash
from wheelsmith.contract import Alternative, Choice
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver
from wheelsmith.wheel.manylinux import beyond_glibc, manylinux
from wheelsmith.wheel.report import LibraryReport, WheelReport

CHECK = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_ib"


def library(path, *units, needed=(), glibc=None, undefined=(), offered=(), kind="shared", versions=()):
    """A unit is text such as `8.0 12.0a ptx8.0@8.8 -9.0 ?8.6`: machine code, PTX with its version, empty, unread."""
    code = []
    for number, unit in enumerate(units):
        for item in unit.split():
            unread = item.startswith("?")
            arch, _, isa = item.lstrip("?-").removeprefix("ptx").partition("@")
            kernels = () if item.startswith("-") else (f"k{number}",)
            code.append(
                DeviceCode("ptx", Arch.parse(arch), isa, 8, "lz4", number, 0, None, unread=unread)
                if "ptx" in item
                else DeviceCode("sass", Arch.parse(arch), None, 8, "", number, 0, kernels, unread=unread)
            )
    glibcxx = max((v.removeprefix("GLIBCXX_") for v in versions if v.startswith("GLIBCXX_")), default=None)
    more = {"kind": kind, "undefined": undefined, "offered": offered, "versions": versions}
    facts = BinaryFacts(needed, (), glibc, glibcxx, tuple(code), **more)
    return LibraryReport(path, 100, facts)


def fits(gpu, driver, *libraries, version="1+cu128", name="demo", requires=(), choices=(), **machine):
    report = WheelReport("wheel", "demo.whl", "0", 1, name, version, (), requires, libraries)
    found = Machine(((gpu, Arch.parse(gpu)),), Driver.parse(driver) if driver else None, **machine)
    return judge(summarise(report), found, choices)


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
        (["9.0 ptx8.0@8.8 ptx7.5@8.4"], "8.0", "570.x", "jit", (0, 1, 0, 0)),  # the older PTX is enough
        ([], "9.0", "580.65.06", "host", (0, 0, 0, 0)),
    ],
)
def test_answers_by_translation_unit(units, gpu, driver, answer, counts):
    (fit,) = fits(gpu, driver, library("_C.so", *units)).libraries
    assert (fit.answer, (fit.native, fit.jit, fit.refused, fit.absent)) == (answer, counts)


@pytest.mark.parametrize(
    ("units", "gpu", "answer"),
    [
        (["8.0 ?8.6"], "8.6", "unknown"),  # the runtime takes the nearest, and that cannot be read
        (["8.0 ?8.6"], "8.0", "yes"),
        (["8.6", "8.0 ?9.0"], "8.6", "yes"),
        (["8.6 9.0", "8.0 ?9.0"], "9.0", "unknown"),
        (["?8.0 ptx8.0@8.0"], "9.0", "jit"),
        (["8.0 ?ptx8.0@8.0"], "9.0", "unknown"),
        (["8.0 ?ptx8.0@8.0"], "8.6", "yes"),
        (["8.0 ?ptx8.0@8.0 ptx7.0@7.0"], "9.0", "jit"),
        (["?9.0"], "8.6", "no"),
    ],
)
def test_code_that_cannot_be_read_is_judged_by_nobody(units, gpu, answer):
    found = fits(gpu, "580.65.06", library("_C.so", *units))
    assert found.libraries[0].answer == answer
    assert found.unread is (answer == "unknown")
    report = WheelReport("wheel", "demo.whl", "0", 1, "demo", "1+cu128", (), (), (library("_C.so", *units),))
    assert judge(from_dict(summarise(report).to_dict()), found.machine).to_dict() == found.to_dict()


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
    (fit,) = fits("9.0", "580.65.06", library("_C.so", "ptx8.0@9.9")).libraries
    assert fit.answer == "no"
    assert "version 9.9 (CUDA unknown)" in fit.reasons[0].says
    assert fit.reasons[0].remedy == "Build with machine code for 9.0: --arch 9.0."


def test_minor_version_compatibility_covers_machine_code_only_within_a_major_release():
    cuda12 = library("_C.so", "8.0", needed=("libcudart.so.12",))
    cuda13 = library("_C.so", "8.0", needed=("libcudart.so.13",))
    assert fits("8.0", "535.183.06", cuda12).fits
    refused = fits("8.0", "535.183.06", cuda13)
    assert not refused.fits
    assert refused.libraries[0].reasons[0].says == "CUDA 13.x needs driver 580.65.06 or newer, and this is 535.183.06"
    static = library("_C.so", "8.0")  # its runtime is inside: only the version tells
    answers = [fits("8.0", "535.183.06", static, version=v).verdict for v in ("1+cu129", "1+cu130", "1")]
    assert answers == ["fits", "does not fit", "not judged"]
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


def test_beyond_the_newest_row_of_the_table_nothing_is_known():
    beyond = fits("9.0", "999.10", library("_C.so", "ptx8.0@9.9"))
    assert (beyond.verdict, beyond.exit_code) == ("not judged", 55)
    assert "is newer than the tables" in beyond.libraries[0].reasons[0].says
    assert fits("9.0", "999.10", library("_C.so", "9.0"), version="1+cu130").verdict == "fits"
    future = fits("9.0", "999.10", library("_C.so", "9.0", needed=("libcudart.so.19",)))
    assert (future.verdict, future.libraries[0].reasons[0].rule) == ("not judged", "driver")


@pytest.mark.parametrize(
    ("name", "requires", "verdict"),
    [
        ("cupy-cuda13x", (), "does not fit"),
        ("cupy-cuda12x", (), "fits"),
        ("toy-cu13", (), "does not fit"),
        ("toy", ("nvidia-cuda-runtime-cu12>=12",), "fits"),
        ("toy", ("nvidia-cuda-runtime>=13.0,<14",), "does not fit"),
        ("toy", ("cuda-toolkit[cudart,nvrtc]==13.0.2",), "does not fit"),
        ("toy", ("cuda-toolkit<14,>=13",), "does not fit"),
        ("toy", ("cuda_toolkit [cudart] (>=12.4,<14)",), "fits"),
        ("toy", ("nvidia-nvshmem-cu13",), "does not fit"),
        ("toy", ("nvidia-cuda-runtime-cu12", "cuda-toolkit==13.*; extra == 'cu13'"), "fits"),
        ("toy", ("nvidia-cuda-runtime-cu12; extra == 'cu12'",), "not judged"),
        ("toy", ("cuda-toolkit!=13.1", "nvidia-cudnn>=13"), "not judged"),
        ("toy", ("numpy",), "not judged"),
    ],
)
def test_the_cuda_release_of_a_static_runtime_shows_in_names_and_requirements(name, requires, verdict):
    found = fits("8.6", "570.124.06", library("a.so", "8.6"), version="1", name=name, requires=requires)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("runtime", "compiler", "driver", "verdict"),
    [
        ("12", "13.0", "570.124.06", "does not fit"),  # a library of CUDA 12 that holds a cubin of CUDA 13
        ("12", "13.0", "580.65.06", "fits"),
        ("13", "12.8", "570.124.06", "does not fit"),
        ("12", "12.8", "570.124.06", "fits"),
    ],
)
def test_the_newer_of_runtime_and_compiler_decides_the_driver(runtime, compiler, driver, verdict):
    made = library("_C.so", "8.6", needed=(f"libcudart.so.{runtime}",))
    code = tuple(replace(item, toolkit=compiler) for item in made.facts.device_code)
    made = replace(made, facts=replace(made.facts, device_code=code))
    assert fits("8.6", driver, made).verdict == verdict


def test_a_unit_of_a_newer_release_is_judged_by_itself():
    """cuequivariance-ops-torch-cu12 0.13 holds cubins of CUDA 12.9 and of 13.3."""
    made = library("_C.so", "9.0a 8.6", "9.0a")
    releases = iter(("13.3", "12.9", "12.9"))
    code = tuple(replace(item, toolkit=next(releases)) for item in made.facts.device_code)
    made = replace(made, facts=replace(made.facts, device_code=code))
    (fit,) = fits("9.0", "570.124.06", made, version="1").libraries
    assert (fit.answer, fit.reasons[0].says) == (
        "partly",
        "CUDA 13.x compiled code for 9.0 in 1 of 2 units: it needs driver 580.65.06 or newer, and this is 570.124.06",
    )
    assert fits("8.6", "570.124.06", made, version="1").fits
    assert fits("9.0", "580.65.06", made, version="1").fits
    loose = replace(made, facts=replace(made.facts, device_code=tuple(replace(c, section=".data") for c in code[1:])))
    mixed = (replace(code[0], section=".data", unit=2), *(replace(c, section=".data") for c in code[2:]))
    both = replace(made, facts=replace(made.facts, device_code=mixed))  # two plain cubins for 9.0a
    assert [fits("9.0", "570.124.06", one, version="1").answer_on("9.0") for one in (loose, both)] == ["yes", "partly"]


def test_the_local_version_of_torch_decides_its_cuda():
    library12 = library("_C.so", "8.0", needed=("libcudart.so.12",))
    for torch, answer in (("2.11.0+cu128", "yes"), ("2.11.0+cu130", "no"), ("2.11.0", "no")):
        found = fits("8.0", "580.65.06", library12, torch=TorchExports(torch, "test", frozenset()))
        assert found.libraries[0].answer == answer, torch


def test_no_gpu_code_is_no_answer():
    found = fits("8.0", "580.65.06", library("host.so"), requires=("jax-cuda13-pjrt==1", "x; extra == 'dev'"))
    assert (found.verdict, found.exit_code) == ("not judged", 55)
    assert found.note == (
        "no GPU code here; kernels, if any, are made at run time or come from what it requires: jax-cuda13-pjrt==1"
    )
    coded = fits("8.0", "580.65.06", library("_C.so", "8.0"))
    assert with_dependencies(found, [coded], []).verdict == "fits"
    assert with_dependencies(found, [coded], ["lost"]).verdict == "not judged"
    hopper = fits("8.0", "580.65.06", library("fa3.so", "9.0a"))  # what torch holds does not make up for it
    assert with_dependencies(hopper, [coded], []).verdict == "does not fit"
    assert with_dependencies(coded, [hopper], []).verdict == "fits"
    assert with_dependencies(found, [fits("8.0", "580.65.06", library("_C.so", "9.0"))], []).verdict == "does not fit"


BY_CUDA = Choice("demo", "torch-cuda", "its code", (Alternative("libx_cuda{cuda}.so"),), ("libx_rocm*",))
BY_GPU = Choice("demo", "gpu", "its code", (Alternative("fa3.*", "9.0"), Alternative("fa2.*")))


@pytest.mark.parametrize(
    ("torch", "answers"),
    [
        (None, ("yes", "yes", "partly")),
        ("2.6.0+cu118", ("yes", "other", "other")),
        ("2.9.1+cu126", ("yes", "other", "other")),  # the nearest above of the same major is not needed: 12.1 is below
        ("2.9.1+cu129", ("other", "yes", "other")),
        ("2.11.0+cu132", ("other", "other", "no")),
        ("2.99.0+cu199", ("no", "no", "no")),
    ],
)
def test_of_libraries_chosen_by_torchs_cuda_one_counts(torch, answers):
    libraries = [
        library("libx_cuda121.so", "8.6", needed=("libcudart.so.12",)),
        library("libx_cuda128.so", "8.6", needed=("libcudart.so.12",)),
        library("libx_cuda130.so", "8.6", needed=("libcudart.so.13",)),
        library("libx_rocm70.so"),
    ]
    exports = TorchExports(torch, "test", frozenset()) if torch else None
    found = fits("8.6", "570.124.06", *libraries, choices=[BY_CUDA], torch=exports)
    if torch == "2.6.0+cu118":
        answers = ("no", "no", "no")  # none of its major release
    assert tuple(item.answer for item in found.libraries) == (*answers, "other")
    if torch is None:
        says = found.libraries[2].reasons[0].says
        assert "libx_cuda121.so, libx_cuda128.so would run, this one would not" in says


def test_of_libraries_chosen_by_the_gpu_one_counts():
    fa2, fa3 = library("fa2.so", "8.0 9.0 12.0"), library("fa3.so", "8.0", "9.0a")
    assert not fits("12.0", "570.124.06", fa2, fa3).fits
    for gpu, answers in (("12.0", ("yes", "other")), ("9.0", ("other", "yes"))):
        found = fits(gpu, "570.124.06", fa2, fa3, choices=[BY_GPU])
        assert (found.verdict, tuple(item.answer for item in found.libraries)) == ("fits", answers)


def test_a_library_that_is_taken_on_some_gpus_only_owes_the_others_nothing():
    choice = Choice("demo", "gpu", "x.py", (Alternative("fa3.so", "8.0;9.0"),))
    main, fa3 = library("main.so", "8.0 9.0 12.0"), library("fa3.so", "8.0")
    for gpu, answers in (("12.0", ["other", "yes"]), ("9.0", ["no", "yes"]), ("8.0", ["yes", "yes"])):
        found = fits(gpu, "570.124.06", fa3, main, choices=[choice])
        assert [item.answer for item in found.libraries] == answers


def test_a_summary_keeps_the_judgement():
    units = library("_C.so", "12.0 8.0", "8.0 ptx8.0@8.8", "9.0a", "8.0 ptx8.0@8.8", needed=("libcudart.so.12",))
    report = WheelReport("wheel", "demo.whl", "0", 1, "demo", "1", (), ("torch==2.9.1",), (units,))
    summary = summarise(report)
    again = from_dict(json.loads(json.dumps(summary.to_dict())))
    for driver in ("570.124.06", "580.65.06"):
        machine = Machine((("RTX 5090", Arch(12, 0)),), Driver.parse(driver))
        assert judge(again, machine).to_dict() == judge(summary, machine).to_dict()
    torch = Machine((("RTX 5090", Arch(12, 0)),), None, TorchExports("2.9.1", "test", frozenset()))
    assert judge(again, torch).verdict == "not judged"  # the symbols are not in it, and that is said
    with pytest.raises(ValueError, match="another schema version"):
        from_dict({"schema_version": 1})


def test_the_oldest_driver_is_the_judges_own():
    summary = summarise(
        WheelReport("wheel", "d.whl", "0", 1, "d", "1+cu128", (), (), (library("a.so", "8.6 ptx8.6@8.7"),))
    )
    assert oldest_driver(summary, ("A40", Arch(8, 6))) == "525.60.13"
    assert oldest_driver(summary, ("RTX 5090", Arch(12, 0))) == "570.26"
    assert oldest_driver(summary, ("T4", Arch(7, 5))) is None


@pytest.mark.parametrize(("gpu", "units"), [("13.0", "9.0 ptx8.0@8.0"), ("12.2", "12.0"), ("99.9", "ptx8.0@8.0")])
def test_nobody_knows_what_runs_on_a_gpu_of_no_table(gpu, units):
    for driver in ("580.65.06", None):
        found = fits(gpu, driver, library("_C.so", units))
        assert found.verdict == "not judged"
        assert found.libraries[0].reasons[0].says == (
            f"no table knows the compute capability {gpu}, nor which driver does"
        )


def test_a_driver_may_be_too_new_for_a_gpu():
    volta = library("_C.so", "7.0", needed=("libcudart.so.12",))
    assert fits("7.0", "580.65.06", volta).fits
    dropped = fits("7.0", "590.44.01", volta)
    assert dropped.verdict == "does not fit"
    assert dropped.libraries[0].reasons[0].says.startswith("driver 590.44.01 does not know 7.0")


def test_cuda_11_has_its_own_rules():
    old = library("_C.so", "8.6", needed=("libcudart.so.11.0",))
    assert fits("8.6", "470.57.02", old).fits
    assert fits("8.6", "570.124.06", old).fits
    assert fits("8.0", "450.51.06", library("_C.so", "8.0", needed=("libcudart.so.11.0",))).verdict == "does not fit"


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("docker.io/nvidia/cuda:12.8.1-runtime-ubuntu24.04", []),
        ("ubuntu:22.04", ["needs GLIBCXX_3.4.32, and libstdc++.so.6 there defines up to GLIBCXX_3.4.30"]),
        (
            "python:3.12-slim-bullseye",
            [
                "needs GLIBCXX_3.4.32, and libstdc++.so.6 there defines up to GLIBCXX_3.4.28",
                "needs CXXABI_1.3.13, and libstdc++.so.6 there defines up to CXXABI_1.3.12",
            ],
        ),
    ],
)
def test_the_cxx_library_of_an_image_decides_as_the_loader_does(image, says):
    needs = library("_C.so", "8.6", glibc="2.17", versions=("CXXABI_1.3.13", "CXXABI_1.3.9", "GLIBCXX_3.4.32"))
    found = fits("8.6", None, needs, cxx=distribution_of(image).cxx)
    assert [r.says for item in found.libraries for r in item.reasons if r.rule == "glibcxx"] == says
    assert found.fits == (not says)
    own = library("demo.libs/libstdc++-0f1e2d.so.6.0.33")  # the wheel brings one
    assert fits("8.6", None, needs, own, cxx=distribution_of(image).cxx).fits
    kept = from_dict(summarise(WheelReport("wheel", "d.whl", "0", 1, "d", "1", (), (), (needs,))).to_dict())
    assert (kept.libraries[0].glibcxx, kept.libraries[0].cxxabi) == ("3.4.32", "1.3.13")


def test_names_of_images_tell_their_distribution():
    assert distribution_of("localhost/ubuntu:24.04@sha256:0f").name == "Ubuntu 24.04"
    for image in ("ubuntu:24.04.1x", "myubuntu:24.10", "debian:120", "alpine:3.20", "xnoble"):
        assert distribution_of(image) is None, image


def test_this_machines_own_library_is_read():
    """Whatever this interpreter's C++ extensions need, the machine has."""
    here = cxx_library_here()
    if here is None:
        pytest.skip("no libstdc++ on this machine")
    assert re.fullmatch(r"3\.4\.\d+", here.glibcxx or "")
    assert re.fullmatch(r"1\.3\.\d+", here.cxxabi or "")


@pytest.mark.parametrize(
    ("platform", "glibc", "verdict"),
    [
        ("manylinux_2_39_x86_64", "2.36", "does not fit"),
        ("manylinux_2_39_x86_64", "2.39", "fits"),
        ("manylinux_2_39_x86_64", None, "fits"),
        ("manylinux_2_27_x86_64.manylinux_2_39_x86_64", "2.36", "fits"),
        ("manylinux2014_x86_64", "2.36", "fits"),
        ("linux_x86_64", "2.36", "fits"),
    ],
)
def test_what_pip_refuses_for_its_tag_does_not_fit(platform, glibc, verdict):
    """Also where no library's GLIBC says so: the tag follows GLIBCXX, too."""
    name = f"demo-1.0-cp313-cp313-{platform}.whl"
    needs = library("_C.so", "8.6", glibc="2.34")
    report = WheelReport("wheel", name, "0", 1, "demo", "1.0", (), (), (needs,))
    found = judge(summarise(report), Machine((("A40", Arch.parse("8.6")),), None, glibc=glibc))
    assert found.verdict == verdict
    assert [r.rule for item in found.libraries for r in item.reasons if r.rule == "tag"] == (
        ["tag"] if verdict != "fits" else []
    )


def test_the_driver_to_install_knows_the_gpu_and_loads_the_code():
    """520.61.05 knows 8.9, and CUDA 12's code needs 525.60.13."""
    (fit,) = fits("8.9", "515.65.01", library("_C.so", "8.9"), version="1+cu124").libraries
    assert [reason.remedy for reason in fit.reasons][:1] == ["Install 525.60.13 or newer."]


def test_the_symbol_versions_that_raise_a_tag_are_named():
    """By auditwheel's policies: GLIBCXX_3.4.32 is first allowed in manylinux_2_39, GLIBC_2.17 in manylinux_2_17."""
    needs = library("_C.so", "8.6", versions=("CXXABI_1.3.3", "GLIBCXX_3.4.11", "GLIBCXX_3.4.32", "GLIBC_2.17"))
    needs = LibraryReport(needs.path, 100, replace(needs.facts, machine=62, format="elf"))
    assert manylinux([needs]) == "manylinux_2_39_x86_64"
    assert beyond_glibc([needs]) == ("GLIBCXX_3.4.32",)
    plain = LibraryReport(needs.path, 100, replace(needs.facts, versions=("GLIBCXX_3.4.11", "GLIBC_2.17")))
    assert beyond_glibc([plain]) == ()
    assert beyond_glibc([]) == ()
