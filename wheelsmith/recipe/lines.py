"""Find the line of a key in TOML text, so that an error can point at it.

In: the text and a path such as `("patch", 1, "count")`. Out: a line number, 1-based. It cannot fail: a key that
is not found gets the line of its nearest table. It understands what recipes use (tables, arrays of tables, dotted
and quoted keys, multi-line strings); inside an inline table it answers with that table's line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_KEY_PART = r"""(?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_KEY = rf"{_KEY_PART}(?:\s*\.\s*{_KEY_PART})*"
_HEADER = re.compile(rf"^\s*(\[\[?)\s*({_KEY})\s*\]\]?")
_ASSIGN = re.compile(rf"^\s*({_KEY})\s*=\s*(.*)$")
_MULTILINE = re.compile(r"'''|\"\"\"")

Path = tuple[str | int, ...]


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The 1-based line on which the deepest existing part of `path` is written; 1 if none of it is."""
    wanted = tuple(path)
    best_depth, best_line = 0, 1
    for line, found in _positions(text):
        depth = 0
        while depth < min(len(found), len(wanted)) and found[depth] == wanted[depth]:
            depth += 1
        if depth == len(found) and depth > best_depth:
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
