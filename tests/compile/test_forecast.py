"""The time left, where others use the machine, and where passes run side by side."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.retell import retell
from wheelsmith.compile.command import Unit
from wheelsmith.compile.cost_model import Cost, CostModel
from wheelsmith.compile.forecast import Forecast, Work
from wheelsmith.documents.builds import RunFacts


def _seconds(forecast: Forecast, running: list[Work], waiting: list[Work], slots: int, whole: float = 0.0) -> float:
    left = forecast.left(running, waiting, slots, whole)
    assert left is not None
    return left.seconds


def _all(forecast: Forecast, work: Work, *, here: bool = False) -> tuple[float, ...]:
    left = forecast.left([work], [], 1, here=here)
    assert left is not None
    return left.seconds, left.low, left.high


def test_what_others_took_of_the_machine_an_hour_ago_counts_no_more():
    forecast = Forecast()
    for _ in range(3600):  # an hour beside a test suite: every compiler gets a quarter of a processor
        forecast.watched(1.0, [(0.25, 1), (0.25, 1)])
    assert _seconds(forecast, [Work(2000.0, used=900.0, ran=3600.0)], [], 1) == pytest.approx(4400.0, rel=0.02)
    for _ in range(300):
        forecast.watched(1.0, [(1.0, 1), (1.0, 1)])
    assert _seconds(forecast, [Work(2000.0, used=1200.0, ran=3900.0)], [], 1) == pytest.approx(800.0, rel=0.1)


def test_two_ends_say_what_others_may_do_with_the_machine_and_meet_as_they_go_on_as_before():
    """1000 CPU-seconds on one of four that share a processor: 4000 s as it goes, and 100 s + 975 s if they go after as
    long as they have been here; once they have been here longer than the rest takes, nothing speaks for that."""
    forecast, work = Forecast(), Work(1000.0)
    forecast.ended(Work(1e6, used=1e6))  # how fast the machine is has been seen
    for _ in range(100):
        forecast.watched(1.0, [(0.25, 1)])
    assert _all(forecast, work) == pytest.approx((4000.0, 100 + 975, 4000.0), rel=0.05)
    for _ in range(2100):
        forecast.watched(1.0, [(0.25, 1)])
    assert _all(forecast, replace(work, used=550.0, ran=2200.0)) == pytest.approx([1800.0] * 3, rel=0.05)


def test_the_ends_are_as_far_apart_as_the_figures_are_strange_to_this_machine():
    forecast, work = Forecast(), Work(1000.0)
    assert _all(forecast, work) == pytest.approx((1000, 1000 / 1.35, 1350))
    assert _all(forecast, work, here=True) == pytest.approx((1000, 1000 / 1.15, 1150))
    forecast.ended(Work(9e5, used=9e5))
    assert _all(forecast, work) == pytest.approx([1000] * 3, rel=0.001)


def test_when_the_shorter_of_two_passes_has_ended_the_rest_is_as_long_as_its_cpu_time():
    """Side by side 1000 CPU-seconds take 660 s and 1047 CPU-seconds; the shorter pass ends after 416 of them."""
    forecast, whole = Forecast(), 1047.0
    at_once, alone = whole * 0.9 * 2 * 0.63 / 1.63, whole * (1 - 0.1 / 1.63)
    both = Work(1000.0, used=at_once, ran=0.9 * 416, width=2, wide=True)
    assert _seconds(forecast, [both], [], 2) == pytest.approx(660 * (1 - 0.9 * 0.63))
    assert _seconds(forecast, [Work(1000.0, used=alone, ran=594.0, wide=True)], [], 2) == pytest.approx(66.0)


def test_a_unit_that_outlives_what_the_quick_ones_made_of_it_takes_what_was_measured():
    """Two short units took half of what was expected; the long one does not."""
    forecast = Forecast()
    for _ in range(2):
        forecast.ended(Work(100.0, used=50.0, ran=50.0))
    assert _seconds(forecast, [Work(600.0, used=100.0, ran=100.0)], [], 1) == pytest.approx(343.2, rel=0.001)
    assert _seconds(forecast, [Work(600.0, used=500.0, ran=500.0)], [], 1) == pytest.approx(100.0, rel=0.05)


def _run(units: list[tuple[str, str, float, float, float, float]], jobs: int) -> RunFacts:
    facts = [
        {
            **{"name": name, "kind": kind, "archs": ["sm_86"], "threads": 1, "asked": asked, "start": start},
            **{"end": end, "cpu_seconds": cpu, "status": 0, "cache": "", "peak": 1},
        }
        for name, kind, asked, start, end, cpu in units
    ]
    run: Any = {"name": "toy", "jobs": jobs, "units": facts}
    return run


def test_a_record_is_told_anew_and_what_is_left_when_all_have_come_are_links():
    """Another build had a unit of 900 s for the same archs: once the build tool brings nobody, it will not come."""
    run = _run(
        [
            ("a.cu", "cuda", 0, 0, 100, 100),
            ("b.cu", "cuda", 0, 0, 40, 40),
            ("c.cu", "cuda", 0, 40, 90, 50),
            ("x.so", "link", 101, 101, 103, 2),
        ],
        2,
    )
    costs = [(Unit(fact["name"], fact["kind"], ("sm_86",)), Cost(1, fact["cpu_seconds"])) for fact in run["units"]]  # type: ignore[arg-type]
    looks = retell(run, CostModel(1, [*costs, (Unit("other.cu", "cuda", ("sm_86",)), Cost(1, 900.0))]))
    off = [abs(look.error) for look in looks if 5 < look.at < 100]
    assert max(off) < 0.06  # the link, which follows


def test_where_nobody_has_measured_the_units_share_what_the_recipe_says_of_the_whole():
    """720 CPU-seconds for two units: 360 each, until one of them takes 500 and leaves 220, or ends after 13."""
    guess = Work(40.0, guessed=True)
    forecast = Forecast()
    assert forecast.left([guess, guess], [], 2) is None
    assert _seconds(forecast, [guess, guess], [], 2, whole=720.0) == 360.0
    assert _seconds(forecast, [replace(guess, used=500.0, ran=500.0), guess], [], 2, whole=720.0) == 220.0
    forecast.ended(replace(guess, used=13.0, ran=13.0))
    assert _seconds(forecast, [replace(guess, used=507.0, ran=507.0)], [], 2, whole=720.0) == 200.0
    forecast.ended(replace(guess, used=800.0, ran=800.0))
    assert _seconds(forecast, [guess], [], 2, whole=720.0) == pytest.approx(
        813 / 2
    )  # more than the recipe says: as those


def test_a_model_of_the_package_is_believed_rather_than_the_recipe():
    unit, cost = Unit("a.cu", "cuda", ("sm_86",)), Cost(1, 100.0)
    assert (CostModel(1, whole=720.0).whole, CostModel(1, shipped=[(unit, cost)], whole=720.0).whole) == (720.0, 0.0)
