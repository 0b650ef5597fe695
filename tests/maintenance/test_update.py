from dataclasses import dataclass
from pathlib import Path

import pytest

import wheelsmith
from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.errors import OfflineError, SourceError, UsageError
from wheelsmith.maintenance.lock import Lock
from wheelsmith.maintenance.update import bump, wanted_patches
from wheelsmith.recipe.loader import load_recipe


@dataclass(frozen=True)
class Outcome:
    wanted: bool
    matches: bool | None

    def to_dict(self):
        return {}


RECIPE = TOY_RECIPE.replace("cuda =", 'torch = "2.9.1"\ncuda =').replace(
    'requires = ["setuptools"]', 'requires = ["setuptools>=77.0.3,<81", "ninja", "tool==1.5"]'
)
PYPROJECT = """
[build-system]
requires = ["setuptools>=77.0.3,<81.0.0", "ninja", "torch == 2.9.1", "tool>=1.2"]
[project]
requires-python = "<4,>=3.9"
"""


def rehearse(path: Path, pyproject: str = PYPROJECT, *, patches=(), pins=None, version: str = "2.0"):
    recipe = load_recipe(write_recipe(path, "toy", RECIPE)).recipe
    (path / "pyproject.toml").write_text(pyproject)
    lock = Lock("toy", version, (), ())
    pins = {"tool": "1.5"} if pins is None else pins
    return bump(recipe, path, source="here", lock=lock, patches=patches, pins=pins)


def test_nothing_to_do_but_the_release(tmp_path):
    result = rehearse(tmp_path)
    assert [(need.name, need.state) for need in result.needs] == [
        ("setuptools", "same"),
        ("ninja", "same"),
        ("torch", "fits"),
        ("tool", "fits"),
        ("Python", "same"),
    ]
    assert (result.exit_code, result.verdict) == (0, "toy 2.0 needs nothing but its release in the recipe.")


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("torch == 2.9.1", "torch == 2.10.0", "torch"),
        ("tool>=1.2", "tool>=1.6", "tool"),
        ('"ninja", ', '"ninja", "jinja2", ', "jinja2"),
        ("<4,>=3.9", ">=3.10", "Python"),
    ],
)
def test_a_requirement_that_changed_is_named(tmp_path, old, new, name):
    result = rehearse(tmp_path, PYPROJECT.replace(old, new))
    assert [need.name for need in result.needs if need.state == "differs"] == [name]
    assert (result.exit_code, result.verdict) == (3, "toy 2.0 needs work: change 1 requirement.")


def test_a_patch_that_does_not_match_decides(tmp_path):
    outcomes = (Outcome(True, False), Outcome(False, False), Outcome(True, None))
    result = rehearse(tmp_path, patches=outcomes, pins={})
    assert result.exit_code == 22
    assert result.verdict == (
        "toy 2.0 needs work: remake 1 patch, change 1 requirement, try 1 patch where the tree can be fetched."
    )
    assert rehearse(tmp_path, patches=(Outcome(False, False),)).exit_code == 0
    assert rehearse(tmp_path, patches=(Outcome(True, None),)).exit_code == 3


def test_a_version_outside_the_recipes_range_is_said(tmp_path):
    assert rehearse(tmp_path, version="0.9").notes == ("The recipe is meant for versions >=1: widen `versions`.",)


def test_patches_are_wanted_by_their_versions(recipe_dir):
    patches = "".join(
        f'[[patch]]\nwhy = "w"\nversions = "{versions}"\nfile = "f"\nfind = "a"\nreplace = "b"\n'
        for versions in ("<2", ">=2")
    )
    recipe = load_recipe(write_recipe(recipe_dir, "toy", TOY_RECIPE + patches)).recipe
    assert wanted_patches(recipe, "2.0") == {0: False, 1: True}


def test_a_version_is_read_as_pep_440_says(tmp_path, recipe_dir):
    write_recipe(recipe_dir, "toy", TOY_RECIPE)
    (tmp_path / "project").mkdir()
    options = {"source": tmp_path / "project", "offline": True, "store": tmp_path / "s", "recipes": [recipe_dir]}
    result = wheelsmith.recipe_bump("toy", "1", **options)
    assert (result.version, result.pinned) == ("1.0", True)
    with pytest.raises(UsageError, match=r"'newest' is not a version \(PEP 440\)"):
        wheelsmith.recipe_bump("toy", "newest", **options)


def test_a_source_that_is_not_in_the_store_is_named(tmp_path, recipe_dir):
    write_recipe(recipe_dir, "toy", TOY_RECIPE)
    with pytest.raises(OfflineError, match=r"archive https://\S+, sha256 \w+ is not in the store") as caught:
        wheelsmith.recipe_lock("toy", offline=True, store=tmp_path / "s", recipes=[recipe_dir])
    assert "--source" in caught.value.remedy


def test_a_project_that_cannot_be_read(tmp_path):
    with pytest.raises(SourceError, match=r"pyproject\.toml cannot be read"):
        rehearse(tmp_path, "[build-system]\nrequires = ['no requirement!']")
