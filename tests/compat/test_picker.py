"""Which wheel of several is taken."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from wheelsmith.compat.model import Machine
from wheelsmith.compat.picker import Candidate, WheelTarget, linux_tags, pick, platforms_of, ranked
from wheelsmith.compat.summary import Code, Library, Units, WheelSummary
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver

LINUX = linux_tags("3.12", "x86_64")
FILES = (
    "t-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    "t-1.0-cp312-cp312-manylinux_2_39_x86_64.whl",
    "t-1.0-cp38-abi3-manylinux_2_28_x86_64.whl",
    "t-1.0-py3-none-any.whl",
    "t-1.1-cp312-cp312-win_amd64.whl",
    "t-1.1-cp312-cp312-manylinux_2_28_aarch64.whl",
    "t-1.1-cp311-cp311-manylinux_2_28_x86_64.whl",
    "t-1.1-cp312-cp312-musllinux_1_2_x86_64.whl",
    "t-2.0rc1-cp312-cp312-manylinux_2_28_x86_64.whl",
    "nonsense.whl",
)


def taken(target, files=FILES, **facts):
    found = pick([Candidate(file, **facts.get(file, {})) for file in files], target)
    return None if found is None else found.candidate.filename


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (WheelTarget(LINUX), FILES[1]),
        (WheelTarget(linux_tags("3.12", "x86_64", "2.31")), FILES[0]),
        (WheelTarget(linux_tags("3.13", "x86_64", "2.31")), FILES[2]),
        (WheelTarget(linux_tags("3.12", "x86_64", "2.17")), FILES[3]),
        (WheelTarget(linux_tags("3.12", "aarch64")), FILES[5]),
        (WheelTarget(linux_tags("3.11", "x86_64")), FILES[6]),
        (WheelTarget(("cp312-cp312-win_amd64",)), FILES[4]),
        (WheelTarget(LINUX, specifier=SpecifierSet(">=2.0rc1")), FILES[8]),
        (WheelTarget(LINUX, specifier=SpecifierSet(">=3")), None),
    ],
)
def test_the_tags_of_the_interpreter_decide(target, expected):
    assert taken(target) == expected


def test_what_the_index_says_of_a_file_counts():
    assert taken(WheelTarget(LINUX, "3.12"), FILES[:2], **{FILES[1]: {"requires_python": "<3.12"}}) == FILES[0]
    assert taken(WheelTarget(LINUX, "3.12.4"), FILES[:1], **{FILES[0]: {"requires_python": ">=3.12.5"}}) is None
    assert taken(WheelTarget(LINUX, "3.12"), FILES[:1], **{FILES[0]: {"requires_python": ">=3.12.5"}}) == FILES[0]
    assert taken(WheelTarget(LINUX), FILES[:2], **{FILES[1]: {"yanked": True}}) == FILES[0]
    assert taken(WheelTarget(LINUX), [FILES[8]]) == FILES[8]  # a development version, where there is nothing else


def with_code(version, *archs, isa=None):
    code = tuple(Code("ptx" if isa else "sass", Arch.parse(arch), isa) for arch in archs)
    name = f"t-{version}-cp312-cp312-manylinux_2_28_x86_64.whl"
    summary = WheelSummary(name, version=version, libraries=(Library("t.so", (Units(1, code),) if code else ()),))
    return Candidate(name, summary=lambda: summary)


def test_what_runs_best_goes_before_what_is_newest():
    native, jit, other = (
        with_code("1.0+cu128", "8.6"),
        with_code("2.0+cu128", "8.0", isa="8.7"),
        with_code("3.0", "9.0"),
    )
    machine = Machine((("A40", Arch(8, 6)),), Driver.parse("570.124.06"))
    found = ranked([native, jit, other], WheelTarget(LINUX, machine=machine))
    assert [(str(one.version), one.answer) for one in found] == [("1.0+cu128", "yes"), ("2.0+cu128", "jit")]
    old = Machine((("A40", Arch(8, 6)),), Driver.parse("535.183.06"))
    assert [one.answer for one in ranked([native, jit, other], WheelTarget(LINUX, machine=old))] == ["yes"]


def test_a_gpu_of_arm_machines_wants_a_wheel_for_them():
    machine = Machine((("GB10", Arch(12, 1)),))
    assert pick([with_code("1.0+cu130", "12.0")], WheelTarget(machine=machine)) is None


@pytest.mark.parametrize(
    ("name", "platforms"),
    [
        (FILES[0], ("linux_x86_64",)),
        (FILES[7], ("musllinux_x86_64",)),
        ("t-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", ("linux_x86_64",)),
        ("t-1-cp312-cp312-linux_aarch64.whl", ("linux_aarch64",)),
        (FILES[4], ("win_amd64",)),
        (FILES[3], ("any",)),
    ],
)
def test_platforms_without_their_c_library(name, platforms):
    assert platforms_of(name) == platforms
