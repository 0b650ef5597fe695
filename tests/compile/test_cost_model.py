import itertools
import json

import pytest

from wheelsmith.compile.command import Unit
from wheelsmith.compile.cost_model import Cost, CostModel, load_model

GB = 10**9
A86 = Unit("a.cu", "cuda", ("sm_86",), "-O3")
A2 = Unit("a.cu", "cuda", ("sm_120", "sm_86"), "-O3")


def test_the_recipes_figure_holds_until_something_is_measured():
    model = CostModel(3 * GB)
    assert model.estimate(A2) == Cost(3 * GB, 40.0, "nothing")
    for number in range(3):
        model.learn(Unit(f"{number}.cu", "cuda", ("sm_86",)), GB, 10.0)
    like = model.estimate(A2)
    assert (like.basis, round(like.cpu_seconds, 3)) == ("like", 15.0)  # the host's part counts as much as an arch
    assert like.peak == pytest.approx(1.25 * GB)
    assert model.estimate(Unit("x.cpp", "c++")) == Cost(3 * GB, 8.0, "nothing")


def test_a_unit_that_nobody_measured_takes_what_its_like_take():
    """Template instances: words of the name tell, also in combinations that nobody has seen."""
    model = CostModel(GB)
    factors = {"hdim64": 1.0, "hdim256": 3.0}, {"fp16": 1.0, "bf16": 1.0}, {"": 1.0, "_causal": 0.6}
    combinations = list(itertools.product(*(table.items() for table in factors)))
    for (dim, a), (dtype, b), (causal, c) in combinations[:-1]:
        model.learn(Unit(f"fa/flash_{dim}_{dtype}{causal}.cu", "cuda", ("sm_86",)), 2 * GB, 100 * a * b * c)
        model.learn(Unit(f"other/{dim}_{dtype}{causal}.cu", "cuda", ("sm_86",)), GB, 10)
    cost = model.estimate(Unit("fa/flash_hdim256_bf16_causal.cu", "cuda", ("sm_120", "sm_86")))
    assert cost.basis == "like"
    assert cost.cpu_seconds == pytest.approx(1.5 * 180, rel=0.2)
    assert 2 * GB <= cost.peak <= 3 * GB


def test_what_was_measured_here_goes_before_what_was_shipped_and_only_that_is_kept(tmp_path):
    shipped, own = CostModel(GB), CostModel(GB)
    for model, seconds in ((shipped, 10.0), (own, 20.0)):
        model.learn(A86, GB, seconds)
        model.save(tmp_path / f"{seconds:.0f}.json")
    shipped.learn(Unit("b.cu", "cuda"), GB, 5.0)
    shipped.save(tmp_path / "10.json")
    both = load_model(GB, tmp_path / "20.json", tmp_path / "10.json")
    assert (both.estimate(A86).cpu_seconds, both.estimate(Unit("b.cu", "cuda")).cpu_seconds) == (20.0, 5.0)
    assert [row["name"] for row in both.to_dict()["units"]] == ["a.cu"]


def test_a_unit_is_known_again_also_for_other_archs():
    model = CostModel(3 * GB)
    model.learn(A86, 2 * GB, 30.0)
    assert model.estimate(A86) == Cost(2 * GB, 30.0)
    assert model.estimate(A2) == Cost(2 * GB, 45.0, "like")


def test_what_is_named_after_its_python_is_the_same_unit_for_another_one():
    model, name = CostModel(GB), "src/build/lib.linux-x86_64-{0}/_x.{0}-x86_64-linux-gnu.so"
    model.learn(Unit(name.format("cpython-311"), "link"), GB, 7.0)
    assert model.estimate(Unit(name.format("cpython-313t"), "link")) == Cost(GB, 7.0)
    assert model.others([Unit(name.format("cpython-312"), "link")]) == []


def test_higher_peaks_count_at_once_and_lower_ones_slowly():
    model = CostModel(GB)
    model.learn(A86, 2 * GB, 10)
    model.learn(A86, 3 * GB, 20)
    assert model.estimate(A86) == Cost(3 * GB, 15.0)
    model.learn(A86, 0, 15)
    assert model.estimate(A86).peak == 2 * GB


def test_a_death_raises_the_estimate():
    model = CostModel(GB)
    model.learn_death(A86, 2 * GB)
    assert model.estimate(A86).peak == int(2.5 * GB)


def test_it_survives_in_a_file_and_the_first_readable_one_counts(tmp_path):
    model = CostModel(GB)
    model.learn(A2, 2 * GB, 30.0)
    model.save(tmp_path / "own.json")
    assert load_model(GB, tmp_path / "own.json", tmp_path / "shipped.json").estimate(A2) == Cost(2 * GB, 30.0)
    (tmp_path / "shipped.json").write_bytes((tmp_path / "own.json").read_bytes())
    (tmp_path / "own.json").write_bytes((tmp_path / "own.json").read_bytes()[:-9])
    assert load_model(GB, tmp_path / "own.json", tmp_path / "shipped.json").estimate(A2) == Cost(2 * GB, 30.0)


@pytest.mark.parametrize("data", [[], {}, {"schema_version": 1}, {"schema_version": 1, "units": [{"name": "x"}]}])
def test_a_file_that_makes_no_sense_counts_as_none(tmp_path, data):
    (tmp_path / "m.json").write_text(json.dumps(data))
    assert load_model(GB, tmp_path / "m.json").estimate(A86) == Cost(GB, 20.0, "nothing")
