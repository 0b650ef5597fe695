"""Cubins and PTX: whose they are, and what they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cubins import EMPTY, EXIT, EXIT_IF, LOOP, MOVE, NOTHING, REAL, STORE, TRAP, TRAPPING, code, cubin
from wheelsmith.binary.cubin import Budget, cubin_size, read_cubin
from wheelsmith.binary.names import name_hash
from wheelsmith.binary.ptx import looks_like_ptx, read_ptx
from wheelsmith.binary.sass import judge_body
from wheelsmith.binary.window import Window
from wheelsmith.gpu.arch import Arch


def facts(data):
    return read_cubin(Window.of_bytes(data), Budget())


@pytest.mark.parametrize(
    ("old", "asked", "arch", "toolkit"),
    [
        (False, "86", Arch(8, 6), "13.0"),
        (False, "120a", Arch(12, 0, "a"), "12.9"),
        (False, "100f", Arch(10, 0, "f"), "13.1"),
        (True, "90", Arch(9, 0), "12.4"),
        (True, "90a", Arch(9, 0, "a"), "11.8"),
        (True, "60a", Arch(6, 0), "12.0"),  # the bit of 9.0a: an early GPU has it for something else
        (True, "52", Arch(5, 2), "10.2"),
    ],
)
def test_arch_and_toolkit_are_what_the_cubin_says(old, asked, arch, toolkit):
    found = facts(cubin({"k": REAL}, asked, toolkit=toolkit, old=old))
    assert (found.arch, found.toolkit) == (arch, toolkit)


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (REAL, "code"),
        (EMPTY, "empty"),
        (TRAPPING, "trapping"),
        (code(*EXIT), "empty"),
        (code(*NOTHING, *MOVE, *NOTHING, *EXIT), "empty"),
        (code(*MOVE, *TRAP, *EXIT), "trapping"),
        (code(*MOVE, *EXIT_IF, *TRAP), "code"),  # `if (guard) return; __trap();` may return
        (code(*MOVE, *EXIT_IF, *STORE, *EXIT), "code"),
        (code(*MOVE, *LOOP, *TRAP), "empty"),  # it never ends
        (code(*STORE, *EXIT), "code"),
        (code(*MOVE, *MOVE), "code"),
    ],
)
def test_a_body_counts_when_it_may_do_something(body, verdict):
    assert judge_body(body, 8) == verdict


# What ptxas 12.4 wrote for 6.1: bundles of a control word and three instructions.
OLD_EMPTY = code(0x001FBC00FDE007F6, 0x4C98078000870001, 0x50B0000000070F00, 0x50B0000000070F00) + code(
    0x001FFC00FFE007ED, 0x50B0000000070F00, 0xE30000000007000F, 0xE2400FFFFF87000F
)
OLD_TRAP = code(0x001FC400FE2007F6, 0x4C98078000870001, 0x0103F8000007F002, 0x4C98078005070000) + code(
    0x003FF4001FA007F2, 0x4C98078005170001, 0xEEDC200000070002, 0xE3A00000001000C0
)


def test_bodies_of_pascal_are_judged_too():
    assert judge_body(OLD_EMPTY, 6) == "empty"
    assert judge_body(OLD_TRAP, 5) == "trapping"
    assert judge_body(OLD_TRAP[:-8] + OLD_EMPTY, 5) == "code"
    assert judge_body(OLD_EMPTY, 3) == "code"


def test_device_functions_are_no_kernels():
    found = facts(cubin({"k": EMPTY}, functions={"helper": REAL}))
    assert (found.names.real, found.names.stubs, found.functions) == (frozenset(), {name_hash(b"k")}, 1)


def test_the_end_of_a_cubin_is_found():
    data = cubin({"k": REAL})
    assert cubin_size(Window.of_bytes(data + bytes(100)), Budget()) == len(data)
    assert cubin_size(Window.of_bytes(data[:-1]), Budget()) is None


def test_a_hash_is_the_same_in_every_run():
    assert name_hash(b"_Z1APf") == 11088425791451524723


PTX = b"""// Generated
/* by hand */
.version 8.8
.target sm_90a, debug
.address_size 64
.visible .entry real(.param .u64 p) .maxntid 128, 1, 1
{ .reg .b32 %r<2>; ret_not_yet: st.global.u32 [%rd1], %r1; ret; }
.entry hollow() { .reg .pred %p<2>; // nothing
  $L1:
  ret; }
.visible .entry trap() { .loc 1 2 3
  // begin inline asm
  trap;
  // end inline asm
  st.global.u32 [%rd1], %r1; ret; }
"""


def test_kernels_of_ptx():
    found = read_ptx(PTX)
    assert (found.isa, found.target, found.functions) == ("8.8", "90a", False)
    assert found.names.shown == ("real",)
    assert found.names.stubs == {name_hash(b"hollow"), name_hash(b"trap")}
    assert looks_like_ptx(PTX)
    assert not looks_like_ptx(b'TEXT = """\n' + PTX)
    assert read_ptx(b"nothing") is None


@pytest.mark.parametrize(
    ("body", "hollow"),
    [
        ("{trap;}", True),
        ("{ {trap;} }", True),
        ("{ .reg .u32 %r; { // inline\n ret.uni; } }", True),
        ("{ bra $E; st.global.u32 [%a], %r; $E: ret; }", True),
        ("{ bra.uni M; N: trap; M: bra N2; st.global.u32 [%a], %r; N2 : exit; }", True),
        ("{ L: bra L; }", True),
        ("{ L: .reg .u32 %r; bra.uni L; }", True),
        ("{ L: st.global.u32 [%a], %r; bra L; }", False),
        ("{ @%p bra E; st.global.u32 [%a], %r; E: ret; }", False),
        ("{ bra B; A: ret; B: st.global.u32 [%a], %r; bra A; }", False),
        ("{ bra xE; E: ret; xE: st.global.u32 [%a], %r; ret; }", False),
        ("{ bra nowhere; }", False),
    ],
)
def test_a_body_that_does_nothing_is_seen_through_jumps(body, hollow):
    found = read_ptx(f".version 8.8\n.target sm_90\n.entry k() {body}\n".encode())
    assert (len(found.names.stubs), len(found.names.real)) == ((1, 0) if hollow else (0, 1))


@pytest.mark.parametrize(
    ("body", "major"),  # what ptxas 12.8 wrote of `L: bra L;` for 5.2, 7.0, 8.6 and 9.0
    [
        ("f607a0ff00fc1f00 010087008007984c 0f0087ffff0f40e2 0f0087ffff0f40e2", 5),
        ("027a0100000a0000000f000000c60f00 89f3ffffff000000ff000e0000e20f00 47790000e0ffffffffff830300ea0f00", 7),
        ("027a0100000a0000000f000000e40f00 47790000f0ffffffffff830300ea0f00", 8),
        ("827b01ff000a00000008000000240e00 4779fc00fcffffffffff830300ea0f00", 9),
    ],
)
def test_a_kernel_that_only_spins_is_none(body, major):
    assert judge_body(bytes.fromhex(body), major) == "empty"


@given(st.binary(max_size=300), st.integers(0, 1200), st.booleans())
def test_damage_gives_facts_or_none(noise, position, old):
    whole = cubin({"k": REAL, "e": EMPTY}, old=old)
    for data in (noise, whole[:position], whole[:position] + noise + whole[position + len(noise) :]):
        facts(data)
        cubin_size(Window.of_bytes(data), Budget())
        read_ptx(data)


@given(st.binary(max_size=2000), st.integers(0, 15))
def test_any_body_gets_a_verdict(body, major):
    assert judge_body(body, major) in {"code", "empty", "trapping"}


def test_symbols_that_claim_to_be_countless_cost_nothing():
    budget = Budget()
    budget.sections = 8
    assert read_cubin(Window.of_bytes(cubin({str(n): REAL for n in range(20)})), budget) is None
