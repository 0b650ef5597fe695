"""The real scheduler on recorded figures: vLLM's units as measured, on many cores, with a clock of its own."""

import random
from typing import Any

import pytest

from benchmarks.replay import SHIPPED, longest_first, recorded, replay, taken
from wheelsmith.compile.cost_model import CostModel, read_rows
from wheelsmith.compile.timeline import Attempt, Timeline
from wheelsmith.documents.builds import RunHead


@pytest.fixture(scope="module")
def units():
    made = taken(read_rows(SHIPPED))
    return random.Random(1).sample(made, len(made))


SLOW = pytest.mark.e2e  # seconds of a processor each


@pytest.mark.parametrize(
    ("cores", "most"),
    [
        pytest.param(8, 1.05, marks=SLOW),
        (32, 1.05),
        pytest.param(64, 0.7, marks=SLOW),
        pytest.param(128, 0.7, marks=SLOW),
    ],
)
def test_the_end_of_a_build_does_not_idle(units, cores, most):
    """From 64 cores on the longest unit alone would be longer than all the work: its passes run side by side."""
    reference = longest_first([cost.cpu_seconds for _, cost in units], cores)
    assert replay(units, CostModel(10**10, units), cores).seconds <= most * reference


@SLOW
@pytest.mark.parametrize("seed", [1, 2])
def test_with_half_of_the_units_unknown_it_is_hardly_longer(units, seed):
    """Of paged_attention_v1 and _v2, eight times as long as their like, neither is known with the first seed."""
    reference = longest_first([cost.cpu_seconds for _, cost in units], 32)
    known = units[::2] if seed == 1 else random.Random(seed).sample(units, len(units) // 2)
    assert replay(units, CostModel(10**10, known), 32).seconds <= 1.05 * reference


@SLOW
@pytest.mark.parametrize(("cores", "slowness"), [(2, 1.5), (16, 1.0), (32, 1.0), (64, 1.0)])
def test_the_time_left_can_be_believed_from_the_first_tenth_on(units, cores, slowness):
    """Also on a machine that takes half as long again, in CPU time and waiting, as the one that was measured."""
    made = replay(units, CostModel(10**10, units), cores, slowness=lambda now: slowness)
    worst = made.worst()
    assert worst is not None
    assert worst <= 0.25
    told = [seconds for at, seconds in made.forecasts if seconds is not None]
    assert all(one != other for one, other in zip(told[1:], told[21:], strict=False))  # it never stands still


def test_a_recorded_build_takes_as_long_in_the_replay(tmp_path):
    """Four units on two cores, one of which had to wait for its processor: each runs as long as it did."""
    head: RunHead = {"name": "toy", "version": "1.0", "key": "k", "started": 0.0, "jobs": 2, "memory": None}
    timeline = Timeline(head, 2, [])
    for name, start, end, cpu, status in (
        ("a.cu", 10, 50, 40, 0),
        ("b.cu", 10, 40, 10, 0),
        ("x.cu", 40, 41, 1, 1),
        ("c.cu", 41, 56, 15, 0),
        ("d.cu", 50, 58, 8, 0),
    ):
        times: dict[str, Any] = {
            "asked": 0.0,
            "start": start,
            "end": end,
            "cpu_seconds": cpu,
            "expected_cpu_seconds": 1.0,
        }
        what: dict[str, Any] = {
            "name": name,
            "kind": "cuda",
            "archs": ("sm_86",),
            "threads": 1,
            "peak": 7,
            "expected_peak": 8,
        }
        timeline.add(Attempt(**times, **what, status=status, cache="", attempt=1, death=""))
    timeline.save(tmp_path / "k.timeline.json")
    build = recorded(tmp_path / "k.timeline.json")
    assert (build.cores, build.seconds, len(build.units)) == (2, 48, 4)  # what failed is none of it
    assert replay(build.units, CostModel(10**10, build.units), 2, waits=build.waits).seconds == pytest.approx(48)
