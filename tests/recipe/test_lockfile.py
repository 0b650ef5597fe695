"""What of a lock reaches uv."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.errors import RecipeError
from wheelsmith.recipe.loader import load_recipe, shipped_directory
from wheelsmith.recipe.lockfile import lock_flaw

HASH = "--hash=sha256:" + "0" * 64
ENTRY = f"one==1.0 ; python_version >= '3.8' \\\n    {HASH} \\\n    {HASH}\n    # via two\n"


def test_entries_are_taken_and_so_is_every_lock_that_is_shipped():
    assert lock_flaw(f"# by uv\n{ENTRY}two[extra]==2+cu130 {HASH}\n") is None
    locks = sorted((shipped_directory() / "locks").glob("*.txt"))
    assert locks
    assert [lock_flaw(path.read_text()) for path in locks] == [None] * len(locks)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--index-url https://evil.example/simple", "is an option"),
        ("--extra-index-url=https://evil.example/simple", "is an option"),
        ("-i https://evil.example/simple", "is an option"),
        ("-e .", "is an option"),
        ("-r other.txt", "is an option"),
        (f"./one-1.0-py3-none-any.whl {HASH}", "is no requirement"),
        (f"one @ file:///tmp/one {HASH}", "names a place"),
        (f"one @ git+https://evil.example/one {HASH}", "names a place"),
        (f"one==${{HOME}} {HASH}", "is no requirement"),
        (f"one>=1 {HASH}", "is not pinned"),
        (f"one==1.* {HASH}", "is not pinned"),
        ("one==1.0", "has no SHA-256 hash"),
        (f"one==1.0 {HASH} --index-url https://evil.example/simple", "or something besides"),
        (f"one==1.0 --config-settings=a=b {HASH}", "is no requirement"),
        (f"one==1.0 {HASH} \\", "ends in the middle"),
    ],
)
def test_all_else_is_refused_with_its_line(line, why):
    flaw = lock_flaw(f"{ENTRY}\n# a comment \\\n{line}\n" if "\\" not in line else f"{ENTRY}\n\n{line}")
    assert flaw is not None
    assert flaw.line == 7
    assert why in flaw.why


@given(st.text(max_size=80), st.sampled_from(["\n", "\r", "\r\n", "\f", "\x85", "\u2028"]))
def test_no_newline_of_any_kind_hides_an_option(noise, newline):
    flaw = lock_flaw(f"{ENTRY}# {noise}{newline}--index-url https://evil.example{newline}")
    assert flaw is not None


def test_a_recipe_with_such_a_lock_is_not_loaded(tmp_path: Path):
    text = (shipped_directory() / "cuvec.toml").read_text().replace("locks/cuvec.txt", "lock.txt")
    (tmp_path / "cuvec.toml").write_text(text)
    (tmp_path / "lock.txt").write_text(f"{ENTRY}--find-links /tmp\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "cuvec.toml")
    assert caught.value.cause == f"{tmp_path}/lock.txt:5: '--find-links /tmp' is an option."
    assert "--index-url" in caught.value.remedy
