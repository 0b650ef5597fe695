"""Which of a recipe's patches match another version of its source."""

from __future__ import annotations

from pathlib import Path

from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.maintenance.rehearse import rehearse
from wheelsmith.recipe.loader import load_recipe

OPTION = '[options.lean]\ndefault = true\nwhy = "w"\n'


def patch(find: str, replace: str, *, more: str = "") -> str:
    return f'[[patch]]\nwhy = "w"\n{more}file = "f"\nfind = "{find}"\nreplace = "{replace}"\n'


def matches(tmp_path: Path, patches: str, wanted: dict[int, bool], content: str = "old\n") -> list[bool | None]:
    loaded = load_recipe(write_recipe(tmp_path, "toy", TOY_RECIPE + OPTION + patches))
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text(content)
    return [outcome.matches for outcome in rehearse(loaded, wanted, source, {})]


def test_a_patch_for_other_versions_does_not_spoil_the_one_for_this(tmp_path: Path) -> None:
    """Two tables for one line are how a recipe serves two versions."""
    patches = patch("old", "new", more='versions = "<2"\n') + patch("old", "other", more='versions = ">=2"\n')
    assert matches(tmp_path, patches, {0: False, 1: True}) == [True, True]


def test_a_patch_of_an_option_that_is_off_does_not_either(tmp_path: Path) -> None:
    patches = patch("old", "new", more='when = "lean"\n') + patch("old", "other", more='when = "!lean"\n')
    assert matches(tmp_path, patches, {0: True, 1: True}) == [True, True]


def test_a_later_patch_may_build_on_an_earlier_one(tmp_path: Path) -> None:
    assert matches(tmp_path, patch("old", "new") + patch("new", "newer"), {0: True, 1: True}) == [True, True]
