"""A recipe's text, changed table by table: comments, order and line ends stay.

In: the text of a recipe. Out: the text with tables that are limited, added or marked. Every change finds its lines
anew, so that changes can follow each other. Fails with `RecipeError` if a table is written in a way that cannot be
changed line by line, or the result is no recipe any more.
"""

from __future__ import annotations

import re
import tomllib
from typing import Literal

from msgspec import ValidationError

from wheelsmith.errors import RecipeError
from wheelsmith.maintenance.lock import quoted
from wheelsmith.recipe.schema import Recipe
from wheelsmith.schema import read
from wheelsmith.tomlfile import line_of

BY_HAND = "Change the recipe by hand: `wheelsmith recipes bump` without --write says what to change."
#: Begins a comment that bump writes where it could not decide.
UNDECIDED = "# UNDECIDED"
Key = Literal["tree", "patch", "arch_list", "library", "range", "rewrite", "crates"]


def parsed(text: str) -> Recipe:
    """The recipe.

    Raises:
        RecipeError: it is none.
    """
    try:
        return read(Recipe, tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise RecipeError(f"The recipe would not be valid any more: {first}.", BY_HAND) from error


def undecided(text: str) -> tuple[str, ...]:
    """What bump left open in a recipe, one line each."""
    return tuple(line.strip() for line in text.splitlines() if line.lstrip().startswith(UNDECIDED))


def with_value(text: str, key: Key, index: int, name: str, value: str) -> str:
    """Table `index` of `key` with `name = value` (TOML text), in place of what it said, or behind its first line."""
    lines = text.split("\n")
    first, last = _block(text, key, index)
    for at in range(first + 1, last + 1):
        if re.match(r"\s*\[", lines[at]):
            break
        if match := re.match(rf"(\s*{re.escape(name)}\s*=\s*)(?:\"[^\"]*\"|'[^']*'|[^\s#\"']+)(.*)$", lines[at]):
            lines[at] = f"{match[1]}{value}{match[2]}"
            return "\n".join(lines)
    lines.insert(first + 2 if len(lines) > first + 1 else first + 1, f"{name} = {value}")
    return "\n".join(lines)


def with_mark(text: str, key: Key, index: int, mark: str) -> str:
    """Table `index` of `key` with a comment above it."""
    lines = text.split("\n")
    first, _ = _block(text, key, index)
    comment = [f"{UNDECIDED} {line}" if number == 0 else f"#   {line}" for number, line in enumerate(mark.split("\n"))]
    lines[first:first] = comment
    return "\n".join(lines)


def with_note(text: str, note: str) -> str:
    """The text with a mark in front of the first release: what no table can hold."""
    lines = text.split("\n")
    at = next((number for number, line in enumerate(lines) if re.match(r"\s*\[releases", line)), len(lines))
    lines[at:at] = [f"{UNDECIDED} {note}", ""]
    return "\n".join(lines)


def with_table(text: str, key: Key, table: str) -> str:
    """A table (TOML text) behind the last one of its key; the first of its key stands before [expect]."""
    lines = text.split("\n")
    count = len(getattr(parsed(text), key))
    if count:
        at = _block(text, key, count - 1)[1] + 1
        lines[at:at] = ["", *table.rstrip().split("\n")]
    else:
        header = re.compile(r"\s*\[expect\]")
        at = next((number for number, line in enumerate(lines) if header.match(line)), len(lines))
        lines[at:at] = [*table.rstrip().split("\n"), ""]
    result = "\n".join(lines)
    parsed(result)
    return result


def copied(text: str, key: Key, index: int) -> str:
    """Table `index` of `key` as text, without the comments above it."""
    first, last = _block(text, key, index)
    return "\n".join(text.split("\n")[first : last + 1])


def with_versions(text: str, versions: str) -> str:
    """The recipe's own `versions`."""
    lines = text.split("\n")
    at = line_of(text, ("versions",)) - 1
    changed = re.sub(r"^(\s*versions\s*=\s*)(?:\"[^\"]*\"|'[^']*')", rf"\g<1>{quoted(versions)}", lines[at])
    if changed == lines[at] and parsed(text).versions != versions:
        raise RecipeError("The recipe's `versions` is not on a line of its own.", BY_HAND)
    lines[at] = changed
    return "\n".join(lines)


def _block(text: str, key: Key, index: int) -> tuple[int, int]:
    """First and last line (from 0) of a table with those inside it, without comments that belong to what follows."""
    lines = text.split("\n")
    header = re.compile(rf"\s*\[\[\s*{key}\s*\]\]")
    starts = [number for number, line in enumerate(lines) if header.match(line)]
    if index >= len(starts) or starts[index] != line_of(text, (key, index)) - 1:
        raise RecipeError(f"Number {index + 1} of [[{key}]] is not written as a table of its own.", BY_HAND)
    first = starts[index]
    other = re.compile(rf"\s*\[\[?\s*(?!{key}\s*\.)[A-Za-z_\"']")
    ends = (number for number in range(first + 1, len(lines)) if other.match(lines[number]))
    last = next(ends, len(lines)) - 1
    while last > first and (not lines[last].strip() or lines[last].lstrip().startswith("#")):
        last -= 1
    return first, last
