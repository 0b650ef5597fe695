"""`wheelsmith matrix`: the cells of a matrix, each planned or refused; jobs for a CI system; what became of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.cli.options import Commands, Parser, add_command, location

if TYPE_CHECKING:
    from wheelsmith import Matrix
    from wheelsmith.documents.matrices import MatrixDocument


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "matrix", execute, "list the cells of a matrix, or make CI jobs of them")
    parser.add_argument("file", nargs="?", metavar="FILE", help="packages × Python × CUDA × torch × GPUs (TOML)")
    parser.add_argument(
        "--index",
        metavar="DIR|URL",
        type=location,
        help="where to look for wheels: cells that it has are no jobs (default: nowhere)",
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--github", action="store_true", help="print the cells to build as the value of strategy.matrix (JSON)"
    )
    group.add_argument(
        "--gitlab",
        action="store_true",
        help="print them as jobs that extend .wheelsmith-cell (YAML), for a child pipeline",
    )
    group.add_argument("--schema", action="store_true", help="print the JSON Schema of a matrix file")
    add_cells(parser)
    parser.add_argument("--recipes", metavar="DIR", action="append", default=[], help="a directory of your own recipes")


def add_cells(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """`--cell`."""
    parser.add_argument(
        "--cell",
        metavar="ID",
        action="append",
        default=[],
        help="this cell only (repeat for more; `matrix` lists them)",
    )


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.errors import UsageError

    if options.schema:
        show.as_json(wheelsmith.matrix_schema())
        return 0
    if options.file is None:
        raise UsageError("No matrix is named.", "Give a file, as in `wheelsmith matrix wheels.toml`.")
    made = wheelsmith.matrix(options.file, cells=options.cell, index=options.index, recipes=options.recipes)
    if options.github or options.gitlab:
        print(wheelsmith.matrix_jobs(made, "github" if options.github else "gitlab").rstrip("\n"))
        return 0
    if options.json:
        show.as_json(made.to_dict())
    else:
        listing(made)
    return made.exit_code


def listing(made: Matrix) -> None:
    """Print the cells, and the reasons of those that have no wheel."""
    from wheelsmith.cli import show

    document = made.to_dict()
    rows = []
    for cell in document["cells"]:
        wheel = cell["wheel"] or (f"{cell['requirement']} {cell['wheel_version']}" if cell["wheel_version"] else "-")
        took = f"{cell['seconds']:.0f} s" if cell["seconds"] >= 0.5 else "-"
        rows.append((cell["id"], cell["state"], wheel, took, cell["cached"] or "-"))
    show.table(("cell", "state", "wheel", "took", "from the cache"), rows)
    for cell in document["cells"]:
        if (error := cell["error"]) is not None:
            print(f"\n{cell['id']}: {error['cause']}\n  what to do: {error['remedy']}")
    print("\n" + ", ".join(f"{count} {state}" for state, count in document["counts"].items()))


def tell_ci(document: MatrixDocument, report: str | None, environment: Mapping[str, str] = os.environ) -> None:
    """Write the reports: into a directory that is named, with the logs, and where GitHub reads them."""

    import wheelsmith
    from wheelsmith.cli import show

    if report is not None:
        place = Path(report)
        show.write(place / "matrix.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        show.write(place / "summary.md", wheelsmith.matrix_report(document, "markdown"))
        show.write(place / "junit.xml", wheelsmith.matrix_report(document, "junit"))
        show.write(place / "outputs.env", wheelsmith.matrix_report(document, "outputs"))
        for cell in document["cells"]:
            for log in (Path(cell["log"]), Path(cell["log"]).with_suffix(".html")) if cell["log"] else ():
                with contextlib.suppress(OSError):  # one that was compiled elsewhere has none
                    shutil.copyfile(log, place / f"{cell['id']}{log.suffix}")
    if environment.get("GITHUB_ACTIONS"):
        sys.stderr.write(wheelsmith.matrix_report(document, "github"))
        _append(environment.get("GITHUB_STEP_SUMMARY"), wheelsmith.matrix_report(document, "markdown"))
        _append(environment.get("GITHUB_OUTPUT"), wheelsmith.matrix_report(document, "outputs"))


def _append(path: str | None, text: str) -> None:
    """To a file of the CI system; a build does not fail for want of it."""
    if path:
        with contextlib.suppress(OSError), Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
