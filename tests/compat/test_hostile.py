"""Wheels that list the archs that were asked for and would not run there, and honest ones that look like them."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest

import wheelsmith
from tests.support.cubins import EMPTY, REAL, TRAPPING, cubin
from tests.support.shared_object import shared_object
from tests.support.wheel_makers import LTOIR, PTX, SASS, build_library, build_wheel, entry, region
from wheelsmith.compat.contract import check
from wheelsmith.compat.judge import judge
from wheelsmith.compat.model import Machine
from wheelsmith.compat.summarise import summarise
from wheelsmith.contract import Alternative, Choice, Lack, LibraryRule, Limits
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.gpu.drivers import Driver
from wheelsmith.wheel.inspect import inspect_path

BOTH = ArchSet.parse("8.6;12.0")


def sass(kernels, arch, *, label=None):
    """A fatbin entry with a cubin; `label` is what the fatbin says of its arch."""
    number = int((label or arch).rstrip("af"))
    special = 0x100000 if arch.endswith("a") else 0
    return entry(SASS, number, flags=0x11 | special, payload=cubin(kernels, arch))


def lib(folder, *regions, section=".nv_fatbin"):
    return shared_object(b"".join(regions), section=section)


def hold(folder, files, rules=(), archs=BOTH, limits=None):
    wheel = build_wheel(folder / "t-1.0+cu130-cp311-cp311-linux_x86_64.whl", files)
    report = inspect_path(wheel)
    return check(report, archs, rules, limits), report


def one(*archs):
    """A unit with the kernel `one` for each of the archs."""
    return region(*(sass({"one": REAL}, arch) for arch in archs))


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return lib(tmp_path_factory.mktemp("honest"), one("86", "120"))


@pytest.fixture(scope="module")
def only86(tmp_path_factory):
    return lib(tmp_path_factory.mktemp("only86"), one("86"))


def zipped(name, data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


CUBIN86 = cubin({"real": REAL}, "86")


def test_an_honest_wheel_is_native(tmp_path, honest):
    verdict, _ = hold(tmp_path, {"t/a.so": honest})
    assert verdict.violations == ()
    assert verdict.headline == "machine code for sm_86, sm_120"


@pytest.mark.parametrize(
    ("regions", "violation"),
    [
        (
            [region(sass({"A": REAL, "B": REAL}, "86"), sass({"A": REAL}, "120"))],
            "t/a.so lacks kernels for 12.0 in 1 of its 1 translation units that they hold for other archs (B)",
        ),
        (
            [region(sass({"C": REAL, "D": REAL}, "86"), sass({"C": EMPTY, "D": TRAPPING}, "120"))],
            "t/a.so does not run on 12.0: it holds sm_86.",
        ),
        ([region(sass({"A": REAL}, "86"), sass({"A": REAL}, "86", label="120"))], "t/a.so does not run on 12.0"),
        ([one("86")], "t/a.so does not run on 12.0"),
        (  # a whole unit forgotten, beside one that is right
            [one("86", "120"), region(sass({"two": REAL}, "86"))],
            "t/a.so lacks kernels for 12.0 in 1 of its 2 translation units that they hold for other archs (two)",
        ),
        (  # the kernel is there for 12.0 and only traps
            [region(sass({"A": REAL, "B": REAL}, "86"), sass({"A": REAL, "B": TRAPPING}, "120"))],
            "t/a.so lacks kernels for 12.0 in 1 of its 1 translation units that they hold for other archs",
        ),
    ],
)
def test_kernels_are_compared_by_name_unit_by_unit(tmp_path, regions, violation):
    verdict, _ = hold(tmp_path, {"t/a.so": lib(tmp_path, *regions)})
    assert len(verdict.violations) == 1
    assert verdict.violations[0].startswith(violation)
    assert verdict.headline.endswith("not whole for sm_120: nothing, or not every kernel, in t/a.so")


@pytest.mark.parametrize(
    "hidden",
    [
        {"t/one.cubin": CUBIN86},
        {"t/real.so.gz": "gz"},
        {"t/real.zip": "zip"},
        {"t/real.bin": "shifted"},
        {"t/real.dat": b"\0" * 17 + CUBIN86},
    ],
    ids=lambda files: next(iter(files)),
)
def test_code_beside_the_libraries_counts(tmp_path, honest, only86, hidden):
    made = {"gz": gzip.compress(only86), "zip": zipped("one.so", only86), "shifted": b"\0" + only86}
    files = {name: made.get(data, data) if isinstance(data, str) else data for name, data in hidden.items()}
    (name,) = files
    for libraries in ({}, {"t/a.so": honest}):
        verdict, _ = hold(tmp_path, {**libraries, **files})
        assert [text for text in verdict.violations if text.startswith(name)], verdict.violations
        assert "not whole for sm_120" in verdict.headline


def test_a_fatbin_in_a_section_of_another_name_counts(tmp_path, honest):
    renamed = lib(tmp_path, one("86"), section=".nv_fatbiX")
    verdict, _ = hold(tmp_path, {"t/a.so": honest, "t/b.so": renamed})
    assert verdict.violations == ("t/b.so does not run on 12.0: it holds sm_86.",)


def test_what_cannot_be_judged_breaks_a_contract_that_does_not_name_it(tmp_path, honest):
    files = {"t/a.so": honest, "t/more.7z": b"7z\xbc\xaf\x27\x1c" + bytes(40)}
    verdict, _ = hold(tmp_path, files)
    assert verdict.violations == (
        "t/more.7z: a 7-Zip archive, which is not unpacked, so it cannot be judged, "
        "and its contract does not allow that.",
    )
    assert hold(tmp_path, files, limits=Limits(unjudged=("t/*.7z",)))[0].violations == ()


def test_code_that_cannot_be_read_breaks_every_contract(tmp_path):
    library = lib(tmp_path, one("86", "120"), region(sass({"two": REAL}, "86"), entry(SASS, 120, payload=b"unknown!")))
    verdict, _ = hold(tmp_path, {"t/a.so": library})
    assert verdict.violations == (
        "t/a.so holds code for 12.0 that cannot be read, so it cannot be judged: it holds sm_86, sm_120.",
    )
    assert verdict.headline == "machine code for sm_86; not judged for sm_120: code that cannot be read, in t/a.so"


def test_lto_ir_beside_machine_code_is_only_extra(tmp_path):
    beside = lib(tmp_path, region(sass({"A": REAL}, "86"), sass({"A": REAL}, "120"), entry(LTOIR, 86)))
    verdict, report = hold(tmp_path, {"t/a.so": beside})
    assert (verdict.violations, report.unjudged) == ((), ())
    mixed = lib(tmp_path, one("86", "120"), region(entry(LTOIR, 86)))
    verdict, report = hold(tmp_path, {"t/a.so": mixed})
    assert verdict.violations == ("t/a.so: 1 translation units hold LTO IR alone, which runs only after another link.",)
    (fit,) = judge(summarise(report), Machine((("A40", Arch(8, 6)),), Driver.parse("580.65.06"))).libraries
    assert (fit.answer, fit.reasons[-1].says) == (
        "yes",
        "1 more units hold LTO IR alone, which runs only after another link: not judged",
    )


def test_a_rule_names_what_may_be_missing_and_no_more(tmp_path):
    library = lib(tmp_path, one("86", "120"), region(sass({"_ZN7cutlass6KernelIiEEvv": REAL}, "86")))
    lacks = Lack(("cutlass::*",), "the package does not call them above 8.9", (Arch(12, 0),))
    assert hold(tmp_path, {"t/a.so": library})[0].violations
    verdict, _ = hold(tmp_path, {"t/a.so": library}, [LibraryRule("t/*", "native", lacks=(lacks,))])
    assert verdict.violations == ()
    assert verdict.headline == (
        "machine code for sm_86; machine code for sm_120, but for 1 translation units that the contract leaves to"
        " other GPUs"
    )
    elsewhere = Lack(("cutlass::*",), "not there", (Arch(8, 6),))
    assert hold(tmp_path, {"t/a.so": library}, [LibraryRule("t/*", "native", lacks=(elsewhere,))])[0].violations
    other = Lack(("machete::*",), "something else")
    assert hold(tmp_path, {"t/a.so": library}, [LibraryRule("t/*", "native", lacks=(other,))])[0].violations


@pytest.mark.parametrize(
    ("regions", "archs"),
    [
        ([one("86", "120"), region(sass({"hopper": REAL}, "90a"))], "8.6;12.0"),  # asked for by name, for others
        ([one("86", "120"), region(sass({"fp4": REAL}, "120a"))], "8.6;12.0"),
        # A kernel for an arch that nobody asked for is missed nowhere: an overload for GPUs before 8.0.
        ([region(sass({"A": REAL, "old": REAL}, "75"), sass({"A": REAL}, "86"), sass({"A": REAL}, "120"))], "8.6;12.0"),
        # A body for Hopper only, and nobody asked for Hopper.
        ([region(sass({"A": REAL, "h": EMPTY}, "86"), sass({"A": REAL, "h": REAL}, "90a"))], "8.6"),
        # A kernel that is empty everywhere, as cub's EmptyKernel is.
        ([region(sass({"A": REAL, "e": EMPTY}, "86"), sass({"A": REAL, "e": EMPTY}, "120"))], "8.6;12.0"),
        ([region(sass({"A": REAL}, "80"), sass({"A": REAL}, "120"))], "8.6;12.0"),
    ],
)
def test_honest_libraries_pass(tmp_path, regions, archs):
    verdict, _ = hold(tmp_path, {"t/a.so": lib(tmp_path, *regions)}, archs=ArchSet.parse(archs))
    assert verdict.violations == ()


def test_cubins_as_files_serve_each_gpu_by_themselves(tmp_path):
    files = {f"t/k_{arch}.cubin": cubin({"k": REAL}, arch) for arch in ("86", "120")}
    verdict, report = hold(tmp_path, files)
    assert verdict.violations == ()
    assert [row.library for row in verdict.rows] == ["t/*", "t/*"]
    assert [units.loose for units in summarise(report).libraries[0].units] == [True]
    assert judge(summarise(report), Machine((("A40", Arch(8, 6)),), Driver.parse("580.65.06"))).fits


def test_a_library_that_is_not_taken_owes_nothing(tmp_path, honest, only86):
    files = {"t/fa2.so": honest, "t/fa3.so": only86}
    choice = Choice("t", "gpu", "t.py", (Alternative("t/fa3.so", "8.6"), Alternative("t/fa2.so")))
    assert hold(tmp_path, files)[0].violations == ("t/fa3.so does not run on 12.0: it holds sm_86.",)
    assert hold(tmp_path, files, limits=Limits(choice=(choice,)))[0].violations == ()


def test_the_headline_says_what_was_found(tmp_path, honest):
    text = b".version 9.0\n.target sm_86\n.visible .entry A()\n{\nst.global.u32 [%rd1], 1;\nret;\n}\n"
    ptx = lib(tmp_path, region(sass({"A": REAL}, "86"), entry(PTX, 86, payload=text)))
    verdict, _ = hold(tmp_path, {"t/a.so": ptx, "t/b.so": honest}, [LibraryRule("t/a.so", "jit")])
    assert verdict.violations == ()
    assert verdict.headline == ("machine code for sm_86; runs on sm_120 after the driver has compiled PTX of t/a.so")
    verdict, _ = hold(tmp_path, {"t/{0}{}.so": ptx}, [LibraryRule("t/*", "jit")])
    assert verdict.headline.endswith("compiled PTX of t/{0}{}.so")
    plain = shared_object()
    verdict, _ = hold(tmp_path, {"t/c.so": plain}, [LibraryRule("t/c.so", "none")])
    assert (verdict.violations, verdict.headline) == ((), "holds no GPU code")


@pytest.mark.parametrize(
    ("regions", "answer", "says"),
    [
        ([region(sass({"C": REAL}, "86"), sass({"C": TRAPPING}, "120"))], "no", "no body for 12.0"),
        ([region(sass({"A": REAL}, "86"), sass({"A": REAL}, "86", label="120"))], "no", "calls 12.0"),
        (
            [region(sass({"A": REAL, "B": REAL}, "86"), sass({"A": REAL, "B": EMPTY}, "120"))],
            "yes",
            "not there for 12.0",
        ),
        ([region(sass({"A": REAL, "B": REAL}, "86"), sass({"A": REAL}, "120"))], "yes", "not there for 12.0"),
    ],
)
def test_the_judge_reads_the_same_code(tmp_path, regions, answer, says):
    _, report = hold(tmp_path, {"t/a.so": lib(tmp_path, *regions)})
    (fit,) = judge(summarise(report), Machine((("RTX 5090", Arch(12, 0)),), Driver.parse("580.65.06"))).libraries
    assert fit.answer == answer
    assert any(says in reason.says for reason in fit.reasons)


@pytest.mark.e2e
@pytest.mark.parametrize(("name", "answer"), [("_Z1BPf", "partly"), ("_Z1DPf", "yes")])
def test_a_kernel_that_the_program_registers_is_missed(tmp_path, name, answer):
    """The host's half names the kernels that it can launch; an overload for other GPUs is not among them."""
    fatbin = region(sass({"A": REAL, "_Z1BPf": REAL}, "86"), sass({"A": REAL}, "120"))
    source = f'const char *registered(void) {{ return "{name}"; }}'
    library = build_library(tmp_path / "lib", fatbin, source=source, flags=["-nostdlib"])
    _, report = hold(tmp_path, {"t/a.so": library})
    (fit,) = judge(summarise(report), Machine((("RTX 5090", Arch(12, 0)),), Driver.parse("580.65.06"))).libraries
    assert fit.answer == answer


@pytest.mark.parametrize(
    ("tag", "gpu", "verdict"),
    [
        ("manylinux_2_28_x86_64", "GH200", "does not fit"),  # Grace: an Arm processor
        ("win_amd64", "GH200", "does not fit"),
        ("manylinux_2_28_aarch64", "GH200", "fits"),
        ("any", "GH200", "fits"),
        ("manylinux_2_28_x86_64", "H100", "fits"),
    ],
)
def test_a_gpu_that_sits_in_arm_machines_only_takes_no_wheel_for_another_processor(tmp_path, tag, gpu, verdict):
    library = shared_object(region(entry(SASS, 90)))
    made = build_wheel(tmp_path / f"toy-1.0-cp312-cp312-{tag}.whl", {"toy/x.so": library})
    assert wheelsmith.fits(made, gpu=gpu, driver="580.65.06").verdict == verdict
