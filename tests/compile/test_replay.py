"""The real scheduler on recorded figures: vLLM's units as measured, on many cores, with a clock of its own."""

import random

import pytest

from benchmarks.replay import SHIPPED, longest_first, replay, taken
from wheelsmith.compile.cost_model import CostModel, read_rows


@pytest.fixture(scope="module")
def units():
    made = taken(read_rows(SHIPPED), 1)
    return random.Random(1).sample(made, len(made))


@pytest.mark.parametrize(("cores", "most"), [(8, 1.01), (32, 1.01), (64, 0.7), (128, 0.7)])
def test_the_end_of_a_build_does_not_idle(units, cores, most):
    """From 64 cores on the longest unit alone would be longer than all the work: its passes run side by side."""
    reference = longest_first([cost.cpu_seconds for _, cost in units], cores)
    assert replay(units, CostModel(10**10, units), cores).seconds <= most * reference


def test_with_half_of_the_units_unknown_it_is_hardly_longer(units):
    reference = longest_first([cost.cpu_seconds for _, cost in units], 32)
    assert replay(units, CostModel(10**10, units[::2]), 32).seconds <= 1.1 * reference


@pytest.mark.parametrize("slowness", [1.0, 1.5])
def test_the_time_left_can_be_believed_from_the_first_tenth_on(units, slowness):
    """Also on a machine that takes half as long again, in CPU time and waiting, as the one that was measured."""
    made = replay(units, CostModel(10**10, units), 16, slowness=lambda now: slowness)
    assert made.worst() <= 0.25
    told = [seconds for at, seconds in made.forecasts if seconds is not None]
    assert all(one != other for one, other in zip(told[1:], told[21:], strict=False))  # it never stands still
