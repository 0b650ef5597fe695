from __future__ import annotations

from typing import Literal

import pytest

from tests.support.wheel_makers import build_wheel
from wheelsmith.binary.elf import BinaryFacts
from wheelsmith.binary.fatbin import DeviceCode
from wheelsmith.compat.contract import check
from wheelsmith.compat.torch_abi import TorchExports
from wheelsmith.compat.verdict import Row, enforce
from wheelsmith.contract import LibraryRule, Limits
from wheelsmith.errors import ContractError, UsageError
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.wheel.paths import check_paths
from wheelsmith.wheel.report import LibraryReport, WheelReport


def library(path: str, sass: str = "", ptx: str = "") -> LibraryReport:
    code = [DeviceCode("sass", Arch.parse(arch), None, 8, "") for arch in sass.split()]
    code += [DeviceCode("ptx", Arch.parse(arch), "8.8", 8, "") for arch in ptx.split()]
    return LibraryReport(path, 100, BinaryFacts((), (), None, None, tuple(code)))


def violations(libraries, archs, *rules) -> tuple[str, ...]:
    report = WheelReport("wheel", "demo.whl", "0", 1, "demo", "1", (), (), tuple(libraries))
    return check(report, ArchSet.parse(archs), rules).violations


def test_every_row_names_the_code_that_serves_it():
    libraries = (library("v/_C.so", "8.0 8.6 9.0a", "9.0"), library("v/host.so"))
    report = WheelReport("wheel", "v.whl", "0", 1, "v", "1", (), (), libraries)
    verdict = check(report, ArchSet.parse("7.5;8.6;8.9;9.0;12.0"), [])
    assert verdict.rows == (
        Row("v/_C.so", Arch(7, 5), "missing", "", units=1, lacking=1),
        Row("v/_C.so", Arch(8, 6), "native", "sm_86", units=1),
        Row("v/_C.so", Arch(8, 9), "native", "sm_86", units=1),
        Row("v/_C.so", Arch(9, 0), "native", "sm_90a", units=1),
        Row("v/_C.so", Arch(12, 0), "jit", "compute_90", only_ptx=1, units=1),
        *(Row("v/host.so", arch, "no device code", "") for arch in verdict.archs.native),
    )
    assert verdict.violations == (
        "v/_C.so does not run on 7.5: it holds sm_80, sm_86, sm_90a, compute_90 (PTX).",
        "v/_C.so has no native code for 12.0, only PTX (compute_90): it holds sm_80, sm_86, sm_90a, compute_90 (PTX).",
    )
    assert verdict.to_dict()["rows"][4] == {
        "library": "v/_C.so",
        "arch": "12.0",
        "outcome": "jit",
        "served_by": "compute_90",
        "only_ptx": 1,
        "units": 1,
        "lacking": 0,
        "allowed": 0,
    }


GOOD = library("v/_C.so", "8.6 12.0")


@pytest.mark.parametrize(
    ("libraries", "rules", "expected"),
    [
        ([GOOD, library("v/host.so")], [], ()),
        ([library("v/fa2.so", "8.0", "8.0")], [LibraryRule("*fa2*", "jit")], ()),
        (
            [library("v/fa2.so", "8.0")],
            [LibraryRule("*fa2*", "jit")],
            ("v/fa2.so does not run on 12.0: it holds sm_80.",),
        ),
        ([GOOD, library("v/host.so")], [LibraryRule("v/host.so", "none")], ()),
        (
            [GOOD],
            [LibraryRule("v/*", "none")],
            ("v/_C.so holds GPU code, and its rule 'v/*' says none.",),
        ),
        (
            [GOOD, library("v/host.so")],
            [LibraryRule("v/host*", "native")],
            ("v/host.so holds no GPU code, and its rule 'v/host*' says native.",),
        ),
        ([GOOD], [LibraryRule("v/fa3*", "native", optional=True)], ()),
        (
            [GOOD],
            [LibraryRule("v/fa3*", "native")],
            ("No library matches 'v/fa3*', which the recipe's contract names.",),
        ),
        ([library("v/h.so")], [], ("demo.whl holds no GPU code at all, and 8.6;12.0 was asked for.",)),
        ([library("v/h.so")], [LibraryRule("v/h.so", "none")], ()),
        ([library("v/a.so", "8.0", "8.0")], [LibraryRule("v/a*", "jit"), LibraryRule("v/*", "native")], ()),
    ],
)
def test_rules(libraries, rules, expected):
    assert violations(libraries, "8.6;12.0", *rules) == expected


def test_ptx_that_was_asked_for_must_be_there():
    assert violations([library("v/_C.so", "8.6 12.0", "8.6")], "8.6+PTX;12.0+PTX") == ()
    assert violations([GOOD], "8.6;12.0+PTX") == (
        "v/_C.so has no PTX for 12.0, which was asked for (+PTX): it holds sm_86, sm_120.",
    )


def test_enforce_shows_the_table():
    report = WheelReport("wheel", "v.whl", "0", 1, "v", "1", (), (), (GOOD, library("v/x.so", "8.0", "8.0")))
    with pytest.raises(ContractError) as caught:
        enforce(check(report, ArchSet.parse("8.6;12.0"), []))
    held = "it holds sm_80, compute_80 (PTX)."
    assert caught.value.cause == f"v/x.so has no native code for 12.0, only PTX (compute_80): {held}"
    assert caught.value.detail == "\n".join(
        [
            "library  SASS      PTX            8.6     12.0",
            "v/_C.so  8.6 12.0  -              native  native",
            "v/x.so   8.0       8.0 (ISA 8.8)  native  jit",
            "",
            f"- v/x.so has no native code for 12.0, only PTX (compute_80): {held}",
        ]
    )
    assert enforce(check(report, ArchSet.parse("8.6"), [])) is None


def test_paths_of_the_build_machine_are_found_even_across_chunks(tmp_path):
    at_the_border = bytes((1 << 20) - 5) + b"/home/me/build/x.cu"
    wheel = build_wheel(
        tmp_path / "demo-1-py3-none-any.whl",
        {"demo/b.so": at_the_border, "demo/a.py": b"p = '/opt/cache'", "demo/c.py": b"/home/me/builds /opt/cache"},
    )
    assert check_paths(wheel, ["/home/me/build", "/opt/cache/"]) == ("demo/a.py", "demo/b.so", "demo/c.py")
    assert check_paths(wheel, ["/home/me/build"]) == ("demo/b.so",)
    assert check_paths(wheel, ["/nowhere"]) == check_paths(wheel, []) == ()
    for senseless in ("/", "", "relative"):
        with pytest.raises(UsageError):
            check_paths(wheel, [senseless])


def units(path: str, *units: str) -> LibraryReport:
    """Each unit is text such as `8.0 ptx8.0 -12.0`: machine code, PTX, empty machine code."""
    code = []
    for number, unit in enumerate(units):
        for item in unit.split():
            kind: Literal["sass", "ptx"] = "ptx" if item.startswith("ptx") else "sass"
            arch = item.removeprefix("ptx").removeprefix("-")
            kernels = () if item.startswith("-") else ("marlin::Marlin",)
            isa = "8.8" if kind == "ptx" else None
            code.append(DeviceCode(kind, Arch.parse(arch), isa, 8, "", number, 0, kernels))
    return LibraryReport(path, 100, BinaryFacts(("libtorch.so", "libz.so.1"), (), "2.29", None, tuple(code)))


def test_an_arch_that_some_units_have_as_ptx_only_is_not_native():
    mixed = units("v/_C.so", "8.0 12.0", "8.0 ptx8.0", "9.0a")
    assert violations([mixed], "8.6") == ()
    assert violations([mixed], "12.0") == (
        "v/_C.so has only PTX for 12.0 in 1 of its 3 translation units (marlin::Marlin): it holds sm_80, sm_90a,"
        " sm_120, compute_80 (PTX).",
    )
    assert violations([mixed], "12.0", LibraryRule("v/_C.so", "jit")) == ()


def test_empty_code_that_the_linker_added_is_no_code():
    assert violations([units("v/_C.so", "8.6", "-12.0")], "8.6;12.0") == (
        "v/_C.so does not run on 12.0: it holds sm_86.",
    )
    assert violations([units("v/_C.so", "-8.6", "-12.0")], "8.6") == (
        "demo.whl holds no GPU code at all, and 8.6 was asked for.",
    )


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), ()),
        (Limits(forbidden=(Arch(8, 0), Arch(9, 0))), ()),
        (
            Limits(forbidden=(Arch(5, 2), Arch(8, 6))),
            ("v/_C.so holds 1 pieces of code for 8.6, which its contract forbids.",),
        ),
        (Limits(max_size=1000), ()),
        (Limits(max_size=999), ("demo.whl has 1,000 bytes, and its contract allows 999.",)),
        (Limits(needed=("libtorch*", "libz.so.*")), ()),
        (Limits(needed=("libtorch*",)), ("v/_C.so needs libz.so.1, which its contract does not allow.",)),
        (Limits(manylinux="manylinux_2_31"), ()),
        (Limits(manylinux="manylinux_2_31_x86_64"), ()),
        (
            Limits(manylinux="manylinux_2_28"),
            ("demo.whl needs manylinux_2_31_x86_64, and its contract allows manylinux_2_28 at most.",),
        ),
    ],
)
def test_limits_of_the_whole_wheel(limits, expected):
    libraries = (units("v/_C.so", "8.6"),)
    report = WheelReport("wheel", "demo.whl", "0", 1000, "demo", "1", (), (), libraries, "manylinux_2_31_x86_64")
    assert check(report, ArchSet.parse("8.6"), [], limits).violations == expected


def test_symbols_that_the_torch_of_the_build_does_not_define_break_the_contract():
    needs = LibraryReport("v/_C.so", 9, BinaryFacts((), (), None, None, (), undefined=("_ZN3c106detailE", "malloc")))
    report = WheelReport("wheel", "d.whl", "0", 1, "d", "1", (), (), (units("v/k.so", "8.6"), needs))
    torch = TorchExports("2.9.1", "test", frozenset())
    assert check(report, ArchSet.parse("8.6"), [], Limits(), torch).violations == (
        "v/_C.so needs symbols that torch 2.9.1 does not define: _ZN3c106detailE",
    )


def test_a_senseless_platform_is_refused():
    report = WheelReport("wheel", "d.whl", "0", 1, "d", "1", (), (), (units("v/k.so", "8.6"),))
    with pytest.raises(UsageError, match="'debian' is not a manylinux platform"):
        check(report, ArchSet.parse("8.6"), [], Limits(manylinux="debian"))
