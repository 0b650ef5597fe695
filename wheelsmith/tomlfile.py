"""TOML that people write: read, hold against a model, and say file, line and nearest key of what is wrong.

In: a file and the table that it holds. Out: its values and its text. Fails with the error class that is given: one
sentence for the first problem, the others as detail. `line_of` cannot fail: a key that is not found gets the line of
its nearest table. It understands tables, arrays of tables, dotted and quoted keys and multi-line strings; inside an
inline table or a list it answers with the line on which that begins.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path as FilePath
from typing import TypeVar

from msgspec import ValidationError

from wheelsmith.errors import WheelsmithError
from wheelsmith.fsutil import read_whole
from wheelsmith.schema import Missing, Path, Table, Unknown, keys_at, problems, read

_LARGEST = 1 << 19  # bytes of a file that people write; vLLM's recipe has 11 thousand
_DEEPEST = 200  # parts of a key; `tomllib` takes time with the square of them

_KEY_PART = r"""(?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_KEY = rf"{_KEY_PART}(?:\s*\.\s*{_KEY_PART})*"
_HEADER = re.compile(rf"^\s*(\[\[?)\s*({_KEY})\s*\]\]?")
_ASSIGN = re.compile(rf"^\s*({_KEY})\s*=\s*(.*)$")
_MOST_TOLD = 20  # problems of one file
_HEAD = re.compile(r"[\w\s.\"'\[\]-]+")
_MULTILINE = re.compile(r"'''|\"\"\"")

T = TypeVar("T", bound=Table)


def read_toml(path: FilePath, table: type[T], error: type[WheelsmithError], remedy: str) -> tuple[T, str]:
    """The file at `path` as a `table`, and its text. `remedy` is for problems that have no nearer one.

    Raises:
        WheelsmithError: the class `error`: unreadable, not TOML, an unknown key or a bad value.
    """
    try:
        text = read_whole(path, _LARGEST).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as problem:
        byte = f"byte {problem.start} is 0x{problem.object[problem.start]:02x}"
        raise error(f"{path}: is not UTF-8 text: {byte}.", "Save it as UTF-8.") from problem
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or problem}.", "Check the file.") from problem
    try:
        if any(map(_is_deep, text.splitlines())):
            raise RecursionError
        data = tomllib.loads(text)
    except RecursionError as problem:
        raise error(f"{path}: is nested too deeply.", "Write it flat.") from problem
    except ValueError as problem:  # also a number with more digits than Python takes
        raise error(f"{path}: is not valid TOML: {problem}.", "Mend the line it names.") from problem
    try:
        return read(table, data), text
    except ValidationError as problem:
        causes, nearest = _explain(path, text, table, data)
        raise error(causes[0], nearest or remedy, detail="\n".join(causes[1:])) from problem


def _is_deep(line: str) -> bool:
    head = line.partition("=")[0]
    return head.count(".") > _DEEPEST and _HEAD.fullmatch(head) is not None


def _explain(path: FilePath, text: str, table: type[Table], data: object) -> tuple[list[str], str]:
    """One sentence for each problem, and what to do about the first if it is a key that nobody knows."""
    causes = []
    remedy = ""
    # A misspelt key often makes another one missing: name the misspelling first.
    positions = list(_positions(text))
    found = sorted(problems(table, data), key=lambda item: not isinstance(item[1], Unknown))
    for index, (location, phrase) in enumerate(found[:_MOST_TOLD]):
        where = f"{path}:{_nearest(positions, location)}"
        key = ".".join(str(part) for part in location)
        if isinstance(phrase, Unknown):
            known = keys_at(table, location[:-1])
            near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.4)
            causes.append(f"{where}: unknown key {key!r}.")
            if index == 0 and known:
                nearest = f"The nearest valid key is {near[0]!r}; v" if near else "V"
                remedy = f"{nearest}alid here are {', '.join(sorted(known))}."
        elif isinstance(phrase, Missing):
            causes.append(f"{where}: the key {key!r} is missing.")
        else:
            causes.append(f"{where}: {key}: {phrase}.")
    if len(found) > _MOST_TOLD:
        causes.append(f"{path}: and {len(found) - _MOST_TOLD:,} more like these.")
    return causes, remedy


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The 1-based line on which the deepest existing part of `path` is written; 1 if none of it is."""
    return _nearest(_positions(text), path)


def _nearest(positions: Iterable[tuple[int, Path]], path: Sequence[str | int]) -> int:
    wanted = tuple(path)
    best_depth, best_line = 0, 1
    for line, found in positions:
        depth = 0
        while depth < min(len(found), len(wanted)) and found[depth] == wanted[depth]:
            depth += 1
        if depth in {len(found), len(wanted)} and depth > best_depth:  # the second: the first line inside it
            best_depth, best_line = depth, line
    return best_line


def _positions(text: str) -> Iterator[tuple[int, Path]]:
    table: Path = ()
    counts: dict[Path, int] = {}
    closing: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if closing is not None:
            if closing in line:
                closing = None
            continue
        if header := _HEADER.match(line):
            keys = _split(header[2])
            if header[1] == "[[":
                counts[keys] = counts.get(keys, -1) + 1
            table = _with_indices(keys, counts)
            yield number, table
        elif assign := _ASSIGN.match(line):
            yield number, table + _split(assign[1])
            opened = _MULTILINE.findall(assign[2])
            if len(opened) % 2:
                closing = opened[-1]


def _split(key: str) -> Path:
    return tuple(part.strip("\"'") for part in re.findall(_KEY_PART, key))


def _with_indices(keys: Path, counts: dict[Path, int]) -> Path:
    """`patch` becomes `("patch", 1)` for the second `[[patch]]`; a sub-table inherits the index."""
    path: list[str | int] = []
    for depth, key in enumerate(keys, start=1):
        path.append(key)
        if keys[:depth] in counts:
            path.append(counts[keys[:depth]])
    return tuple(path)
