"""Print values: tables for people, JSON for programs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.errors import DiskFullError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from wheelsmith.documents.table import Document, JsonValue
    from wheelsmith.documents.wheels import CodeFacts, InspectDocument, VerdictFacts

_LONG = 32  # characters of a word that may be broken


def as_json(document: Document | dict[str, JsonValue]) -> None:
    """Print JSON, keys in their own order."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


@contextmanager
def only_json(wanted: bool) -> Iterator[None]:
    """Send what programs print to standard error if JSON is wanted, so that it stands alone on standard output."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def write(path: Path, data: str | bytes) -> str:
    """Write a file that the command line names; its path.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"The disk is full ({path}).", "Free some space, then run again.") from error
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from error
    return str(path)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table, of which nothing is cut off: on a terminal that is too narrow for its words, row by row; off a
    terminal in one line each, so that output can be searched."""
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    plain = all(cell.isascii() and cell.isprintable() for row in rows for cell in row)
    if plain and (not sys.stdout.isatty() or sum(widths) + 2 * len(widths) <= shutil.get_terminal_size().columns):
        for line in ([[title]] if title else []) + [columns, *rows]:
            print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)).rstrip())
        return
    from rich.table import Table
    from rich.text import Text

    screen = console()
    if not screen.is_terminal:
        screen = console(width=10_000)
    words = [_longest_word(cells) for cells in zip(columns, *rows, strict=True)]
    words[1:] = [min(word, _LONG) for word in words[1:]]  # paths and hashes may be broken, names may not
    if sum(words) + 2 * len(words) > screen.width:
        _blocks(columns, rows, title, screen.width)
        return
    sheet = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        sheet.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        sheet.add_row(*(Text(cell) for cell in row))
    screen.print(sheet)


def _longest_word(cells: Iterable[str]) -> int:
    return max((len(word) for cell in cells for word in cell.split()), default=0)


def _blocks(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None, width: int) -> None:
    """The rows one below the other: the first cell, and below it the others that say something, with their titles."""
    if title:
        print(title)
    label = max(map(len, columns[1:]), default=0)
    for first, *cells in rows:
        print(first)
        for column, cell in zip(columns[1:], cells, strict=True):
            if cell not in {"", "-"}:
                start = f"  {column:<{label}}  "
                room = max(width - len(start), 12)
                lines = textwrap.wrap(cell, room, break_long_words=False, break_on_hyphens=False)
                print(start + f"\n{'':<{len(start)}}".join(lines))


def facts(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one below the other; long values keep their line."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        first, *rest = value.splitlines() or [""]
        print(f"{name:<{width}}  {first}")
        for line in rest:
            print(f"{'':<{width}}  {line}")


def proof(report: InspectDocument, verdict: VerdictFacts | None) -> None:
    """The table of a wheel's libraries: what GPU code they hold and, with a verdict, how each arch is served."""
    outcomes: dict[tuple[str, str], str] = {}
    archs: list[str] = []
    for row in verdict["rows"] if verdict else ():
        lacking = f" (-{row['lacking']})" if row["lacking"] else ""
        outcomes[row["library"], row["arch"]] = row["outcome"] + lacking
        if row["arch"] not in archs:
            archs.append(row["arch"])
    columns = [
        "library",
        "bytes",
        "SASS (count, -empty)",
        "PTX (ISA)",
        "GLIBC",
        "GLIBCXX",
        *(f"on {arch}" for arch in archs),
    ]
    table(
        columns,
        (
            [
                library["path"],
                f"{library['size']:,}",
                " ".join(f"{item['arch']}:{_pieces(item)}" for item in library["sass"]) or "-",
                " ".join(f"{item['arch']}:{_pieces(item)} ({item.get('isa')})" for item in library["ptx"]) or "-",
                library["glibc"] or "-",
                library["glibcxx"] or "-",
                *(outcomes.get((library["path"], arch), "-") for arch in archs),
            ]
            for library in report["libraries"]
        ),
    )
    if because := report.get("platform_because"):  # builds of before have none
        raised = f"its tag is for {report['platform']}, newer than GLIBC alone asks for"
        print(f"({raised}, because of {' and '.join(because)})")


def _pieces(item: CodeFacts) -> str:
    """The number of pieces, and how many of them are empty: `35`, `35(-7)`."""
    empty = item["empty"]
    return f"{item['count']}(-{empty})" if empty else str(item["count"])


def savings(report: InspectDocument) -> None:
    """What a wheel would save without each arch."""
    table(
        ("without", "saves", "of the libraries", "pieces", "empty"),
        (
            [
                ("PTX " if item["kind"] == "ptx" else "LTO input " if item["kind"] == "ltoir" else "") + item["arch"],
                f"{item['packed'] / 1e6:,.1f} MB",
                f"{item['size'] / 1e6:,.1f} MB",
                str(item["count"]),
                str(item["empty"] or "-"),
            ]
            for item in report["code"]
        ),
    )


def doubts(report: InspectDocument) -> None:
    """Code with a false label or that cannot be read, and what else is not judged; nothing where there is none."""
    for library in report["libraries"]:
        for pair in library["mislabelled"]:
            print(f"{library['path']}: code for {pair['arch']} is labelled {pair['label']}")
        if unread := library.get("unread"):
            print(f"{library['path']}: {unread} pieces of GPU code cannot be read: their arch is what their labels say")
    if report["unjudged"]:
        print("\nNot judged, and may hold GPU code:")
        facts((item["path"], item["reason"]) for item in report["unjudged"])


def choices(report: InspectDocument) -> None:
    """Of which libraries one is taken when the program runs; nothing where that is not known."""
    for choice in report["choices"]:
        some = [item["path"] + (f" ({item['archs']})" if item["archs"] else "") for item in choice["library"]]
        by = {"gpu": "the GPU", "torch-cuda": "the release of torch's CUDA"}[choice["by"]]
        print(f"\nBy {by} it takes {' or '.join(some)}: {choice['why']}")


def linkage(report: InspectDocument) -> None:
    """What every library needs from the machine, from torch and from Python."""
    table(
        ("library", "needs", "RPATH", "GLIBCXX", "Python", "torch", "torch symbols", "CUDA", "stored"),
        (
            [
                library["path"],
                " ".join(library["needed"]) or "-",
                ":".join(library["rpath"]) or "-",
                library["glibcxx"] or "-",
                library["python_abi"],
                library["torch_abi"],
                str(len(library["torch_symbols"]) or "-"),
                library["toolkit"] or "-",
                " ".join(f"{name}:{count}" for name, count in library["compression"].items()) or "-",
            ]
            for library in report["libraries"]
        ),
    )


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that leaves it to `main` what a broken pipe means; rich's own would end the program with 1."""
    from rich.console import Console

    class Ours(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Ours(stderr=stderr, width=width, highlight=False)
