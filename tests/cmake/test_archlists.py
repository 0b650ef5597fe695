"""Arch lists of CMake files, changed by what they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.cmake.archlists import Wish, lists_of, with_archs
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.facts import toolkit_facts

FAMILIES = ("8.0", "9.0", "10.0", "11.0", "12.0")


def wish(*also: str, cuda: str = "13.0", ptx: bool = False, exact: bool = False) -> Wish:
    return Wish(tuple(map(Arch.parse, also)), toolkit_facts(cuda).archs, ptx, exact)


def made(items: str, asked: Wish) -> str:
    text, _ = with_archs(f'loose(X "{items}" "${{CUDA_ARCHS}}")', "X", asked)
    return text.partition('"')[2].partition('"')[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("8.0+PTX", "8.0;9.0;10.0;11.0;12.0"),
        ("7.5;8.0+PTX;9.0+PTX", "7.5;8.0;9.0;10.0;11.0;12.0"),
        ("8.0+PTX;12.0f", "8.0;9.0;10.0;11.0;12.0f"),  # upstream reaches the family by itself
        ("8.0+PTX;12.0a;12.1a", "8.0;9.0;10.0;11.0;12.0a;12.1a"),
        ("8.0+PTX;12.0a", "8.0;9.0;10.0;11.0;12.0;12.0a"),  # 12.1 has nothing that runs
        ("8.0;9.0;10.0;11.0;12.0", "8.0;9.0;10.0;11.0;12.0"),
    ],
)
def test_what_a_list_reaches_decides_what_is_added(before: str, after: str) -> None:
    assert made(before, wish(*FAMILIES)) == after


def test_members_are_those_that_the_toolkit_knows() -> None:
    """CUDA 12.8 has no 12.1: 12.0a is the whole family."""
    assert made("12.0a", wish("12.0", cuda="12.8")) == "12.0a"
    assert made("12.0a", wish("12.0", cuda="12.9")) == "12.0;12.0a"


def test_a_list_of_targets_must_name_them_itself() -> None:
    assert made("10.0;12.0", wish("10.3")) == "10.0;12.0"
    assert made("10.0;12.0", wish("10.3", exact=True)) == "10.0;10.3;12.0"


def test_ptx_goes_or_stays() -> None:
    assert made("7.5;8.9+PTX", wish()) == "7.5;8.9"
    assert made("7.5;8.9+PTX", wish("12.0", ptx=True)) == "7.5;8.9+PTX;12.0"


TEXT = """\
# X "8.0+PTX" is a comment
set(X "8.0+PTX" CACHE STRING "archs") # kept
if(A)
  set(X)
  list(APPEND Y "9.0a" "10.0f")
  list(APPEND Y "12.0f")
endif()
other(X "${Y}" "8.0")
message("X 8.0+PTX")
set(X2 "8.0+PTX")
"""


def test_only_lists_of_the_variable_are_touched_and_every_other_byte_stays() -> None:
    text, changes = with_archs(TEXT, "X", wish("12.0"))
    assert text == TEXT.replace('set(X "8.0+PTX"', 'set(X "8.0;12.0"')
    assert [(change.line, change.before, change.after) for change in changes] == [(2, "8.0+PTX", "8.0;12.0")]


def test_lists_that_are_appended_to_each_other_are_one() -> None:
    assert with_archs(TEXT, "Y", wish("12.0")) == (TEXT, ())
    text, _ = with_archs(TEXT, "Y", wish("8.0"))
    assert text == TEXT.replace('"9.0a" "10.0f"', '"8.0;9.0a;10.0f" ""')


def test_a_variable_without_a_list_has_none() -> None:
    assert lists_of(TEXT, "Z") == ()
    assert [(item.line, item.text) for item in lists_of(TEXT, "Y")] == [(5, "9.0a;10.0f"), (6, "12.0f")]


ITEMS = st.lists(st.sampled_from(("7.5", "8.0", "8.0+PTX", "9.0a", "10.0f", "12.0", "12.0a", "12.1a")), min_size=1)


@given(ITEMS, st.lists(st.sampled_from(FAMILIES)))
def test_a_wish_that_was_granted_changes_nothing_more(items: list[str], also: list[str]) -> None:
    once, _ = with_archs(f'f(X "{";".join(items)}")', "X", wish(*also))
    assert with_archs(once, "X", wish(*also)) == (once, ())
