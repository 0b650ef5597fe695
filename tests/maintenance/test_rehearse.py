"""Which of a recipe's patches match another version of its source."""

from __future__ import annotations

from pathlib import Path

from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.maintenance.rehearse import Rehearsal, rehearse
from wheelsmith.recipe.loader import load_recipe

OPTION = '[options.lean]\ndefault = true\nwhy = "w"\n'


def patch(find: str, replace: str, *, more: str = "") -> str:
    return f'[[patch]]\nwhy = "w"\n{more}file = "f"\nfind = "{find}"\nreplace = "{replace}"\n'


def matches(tmp_path: Path, patches: str, content: str = "old\n") -> list[bool | None]:
    loaded = load_recipe(write_recipe(tmp_path, "toy", TOY_RECIPE + OPTION + patches))
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text(content)
    return [outcome.matches for outcome in rehearse(loaded, "2.0", source, {}).patches]


def test_a_patch_for_other_versions_does_not_spoil_the_one_for_this(tmp_path: Path) -> None:
    """Two tables for one line are how a recipe serves two versions."""
    patches = patch("old", "new", more='versions = "<2"\n') + patch("old", "other", more='versions = ">=2"\n')
    assert matches(tmp_path, patches) == [True, True]


def test_a_patch_of_an_option_that_is_off_does_not_either(tmp_path: Path) -> None:
    patches = patch("old", "new", more='when = "lean"\n') + patch("old", "other", more='when = "!lean"\n')
    assert matches(tmp_path, patches) == [True, True]


def test_a_later_patch_may_build_on_an_earlier_one(tmp_path: Path) -> None:
    assert matches(tmp_path, patch("old", "new") + patch("new", "newer")) == [True, True]


def rehearsed(tmp_path: Path, tables: str, content: str) -> Rehearsal:
    loaded = load_recipe(write_recipe(tmp_path, "toy", TOY_RECIPE + tables))
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text(content)
    return rehearse(loaded, "2.0", source, {})


def test_a_patch_that_its_versions_skip_is_found_where_its_target_is_still_there(tmp_path: Path) -> None:
    """Without it the build would go on, and ignore what the patch is for."""
    tables = patch("old\\nflags", "new", more='versions = "<2"\n')
    (found,) = rehearsed(tmp_path, tables, "old\nflags\nmore\n").patches
    assert (found.wanted, found.skipped, found.matches) == (False, True, True)


def test_a_skipped_patch_of_which_most_is_there_is_found_too(tmp_path: Path) -> None:
    tables = patch("flag one\\nflag two\\nflag three", "new", more='versions = "<2"\n')
    (found,) = rehearsed(tmp_path, tables, "flag one\nflag two\nflag 2.5\nflag three\n").patches
    assert (found.skipped, found.matches) == (True, False)
    assert found.note.startswith("3 of the 3 lines that it takes out are there.")


def test_a_skipped_patch_whose_place_another_has_taken_is_not(tmp_path: Path) -> None:
    tables = patch("old", "new", more='versions = "<2"\n') + patch("old", "other", more='versions = ">=2"\n')
    assert [found.skipped for found in rehearsed(tmp_path, tables, "old\n").patches] == [False, False]


ARCHS = '[[arch_list]]\nwhy = "w"\nvariable = "{}"\nfile = "f"\nalso = "12.0"\n'


def test_an_arch_list_says_when_it_is_gone_and_when_upstream_has_become_native(tmp_path: Path) -> None:
    tables = ARCHS.format("GONE") + ARCHS.format("OURS") + ARCHS.format("THEIRS")
    text = 'f(OURS "8.0+PTX" "${A}")\nf(THEIRS "8.0;12.0f" "${A}")\n'
    gone, ours, theirs = rehearsed(tmp_path, tables, text).lists
    assert (gone.matches, gone.problem.splitlines()[0]) == (False, "f gives the variable GONE no arch list.")
    assert (ours.matches, ours.note) == (True, "")
    assert (theirs.matches, theirs.note) == (True, "upstream says by itself what it asks for: it can go.")
