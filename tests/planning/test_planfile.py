"""A plan written and read back is the same plan; anything else in its place is refused with the place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wheelsmith
from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.errors import VerificationError, WheelsmithError
from wheelsmith.planning.planfile import read_plan


def as_json(plan):
    return json.loads(json.dumps(plan.to_dict()))


@pytest.mark.parametrize("requirement", ["vllm==0.15.1", "cuvec==6.0.1", "causal-conv1d"])
def test_every_shipped_plan_survives_the_round_trip(requirement):
    plan = wheelsmith.plan(requirement, arch="9.0a 8.6" if requirement.startswith("vllm") else "9.0a 8.6+PTX")
    again = read_plan(as_json(plan), plan.digest, plan.lock)
    assert again == plan


def test_gpus_inform_only(recipe_dir):
    plan = wheelsmith.plan("vllm==0.15.1", gpu="RTX 5090,A40")
    again = read_plan(as_json(plan), plan.digest, plan.lock)
    assert again.target.gpus == ()
    assert again.digest == plan.digest


def test_a_lock_that_the_plan_did_not_have_does_not_become_its_own(recipe_dir):
    plan = wheelsmith.plan("toy", recipes=[recipe_dir])
    assert read_plan(as_json(plan), plan.digest, f"setuptools==80 --hash=sha256:{64 * '0'}\n").lock is None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema_version"], 99, "schema version 99"),
        (["version"], 6, "version: Expected str, got int"),
        (["target", "archs"], "8.6;nonsense", "nonsense"),
        (["target"], None, "TypeError"),
        (["environment"], [1], "AttributeError"),
        (["environment"], {"A": 1}, r"environment\.0\.1: Expected str, got int"),
        (["source", "kind"], "Source", "KeyError: 'Source'"),
        (["source", "sha256"], 1, "source.sha256: Expected str, got int"),
        (["patches", 0, "why"], None, "patches.0.why: Expected str, got null"),
        (["promises"], [{"path": "x"}], "promises.0.code: the key is missing"),
        (["surprise"], 1, "parts that this version of wheelsmith does not know"),
        (["patches", 0, "path"], "/etc", "'/etc' is not below"),
        (["patches", 0, "path"], "/tmp/wheelsmith-build/../etc", "is not below"),
        (["lock_sha256"], "0" * 64, "The lock is not the one"),
        (["strip"], True, "The plan's digest is"),
    ],
)
def test_a_plan_that_is_none_names_the_place(path, value, message):
    plan = wheelsmith.plan("cuvec==6.0.1")
    data = as_json(plan)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(VerificationError, match=message):
        read_plan(data, plan.digest, plan.lock)


TREE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(data=st.data(), value=TREE)
def test_hostile_plans_never_get_through(recipe_dir, data, value):
    plan = wheelsmith.plan("toy", recipes=[recipe_dir])
    document = as_json(plan)
    key = data.draw(st.sampled_from(sorted(document.keys() - {"expect", "recipe", "warnings"})))
    if document[key] == value:
        return
    with pytest.raises(VerificationError):
        read_plan(document | {key: value}, plan.digest, plan.lock)


def test_strip_and_compress_are_part_of_the_plan(recipe_dir):
    def toy(build="", wheel="", **target):
        text = (
            TOY_RECIPE.replace('requires = ["setuptools"]', f'requires = ["setuptools"]\n{build}') + f"[wheel]\n{wheel}"
        )
        write_recipe(recipe_dir, "toy", text)
        return wheelsmith.plan("toy", recipes=[recipe_dir], **target)

    plain = toy()
    slim = toy('compress = "size"', "strip = true")
    assert dict(plain.environment)["NVCC_APPEND_FLAGS"] == "-objtemp"
    assert dict(slim.environment)["NVCC_APPEND_FLAGS"] == "-objtemp --compress-mode=size"
    assert (plain.strip, slim.strip) == (False, True)
    assert plain.digest != slim.digest
    assert not any("compress" in text for text in slim.warnings)
    quick = toy('compress = "speed"')  # alone, it leaves machine code as it is
    assert dict(quick.environment)["NVCC_APPEND_FLAGS"] == "-objtemp --compress-mode=speed -Xfatbin=-compress-all"
    older = toy('compress = "size"', cuda="12.8")
    assert any("needs driver 550.54.14" in text for text in older.warnings)
    oldest = toy('compress = "size"', cuda="12.6", arch="8.6")
    assert dict(oldest.environment)["NVCC_APPEND_FLAGS"] == "-objtemp"
    assert any("has no effect" in text for text in oldest.warnings)
    with pytest.raises(WheelsmithError, match="compress"):
        toy('compress = "tiny"')
