import json

import pytest

from wheelsmith.compile.command import Unit
from wheelsmith.compile.cost_model import Cost, CostModel, load_model

GB = 10**9
A86 = Unit("a.cu", "cuda", ("sm_86",), "-O3")
A2 = Unit("a.cu", "cuda", ("sm_120", "sm_86"), "-O3")


def test_the_recipes_figure_holds_until_something_is_measured():
    model = CostModel(3 * GB)
    assert model.estimate(A2) == Cost(3 * GB, 40.0, known=False)
    for number in range(3):
        model.learn(Unit(f"{number}.cu", "cuda"), GB, 10.0 + number)
    assert model.estimate(A2) == Cost(int(1.25 * GB), 11.0, known=False)
    assert model.estimate(Unit("x.cpp", "c++")).peak == 3 * GB


def test_a_unit_is_known_again_also_for_other_archs():
    model = CostModel(3 * GB)
    model.learn(A86, 2 * GB, 30.0)
    assert model.estimate(A86) == Cost(2 * GB, 30.0)
    assert model.estimate(A2) == Cost(2 * GB, 45.0, known=False)


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
    assert load_model(GB, tmp_path / "m.json").estimate(A86) == Cost(GB, 20.0, known=False)
