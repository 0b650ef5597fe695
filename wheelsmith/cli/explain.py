"""`wheelsmith explain`: why a log ends as it does."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.cli.options import Commands, Parser, add_command

if TYPE_CHECKING:
    from wheelsmith import Explanation


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "explain", execute, "find the cause in the log of a failed build or run")
    parser.add_argument("log", metavar="LOG", help="a file, or - for standard input")
    parser.add_argument(
        "--annotate",
        choices=("github", "gitlab"),
        help="print what the CI shows beside the code: GitHub's workflow command, or GitLab's code quality report",
    )
    parser.add_argument(
        "--html", metavar="FILE", help="write a page about it (one file, nothing loaded from elsewhere)"
    )


def execute(options: argparse.Namespace) -> int:
    """Run the command. The exit code is 1 if the cause is not known, 0 if it is, or if the log tells no failure."""
    import wheelsmith
    from wheelsmith.cli import show

    found = wheelsmith.explain(sys.stdin.buffer if options.log == "-" else options.log)
    repeat = _repeat(found, options.log)
    if options.html:
        log = "standard input" if options.log == "-" else options.log
        title = "No failure found" if found.outcome == "healthy" else f"Why {Path(log).name} ends in failure"
        show.write(Path(options.html), wheelsmith.failure_page(found, title, log=log, repeat=repeat))
    if options.annotate:
        print(wheelsmith.annotation(found, options.annotate), end="")
    elif options.json:
        show.as_json({"schema_version": 2, **found.to_dict()})
    else:
        _print(found, repeat)
    return 1 if found.outcome == "unknown" else 0


def _repeat(found: Explanation, log: str) -> str:
    """The script that wheelsmith left beside its own log, or the command."""
    script = Path(log).absolute().parent.parent / "work" / Path(log).stem / "repeat.sh"
    return f"sh {shlex.quote(str(script))}" if found.repeat and script.is_file() else found.repeat


def _print(found: Explanation, repeat: str) -> None:
    from wheelsmith.cli import show

    if found.outcome == "healthy":
        print("no failure found; the last lines:\n" if found.excerpt else "no failure found: the log is empty")
    else:
        print(f"line {found.line}:\n")
    for line in found.excerpt.splitlines():
        print(f"  | {line}")
    if found.outcome == "healthy":
        return
    print()
    rows = [("cause", found.cause or "not known")]
    rows += [("what to do", found.remedy)] if found.remedy else []
    rows += [("see", "\n".join(found.links))] if found.links else []
    rows += [("unit", found.unit)] if found.unit else []
    rows += [("repeat", repeat)] if repeat else []
    beside = [f"line {other.line}: {other.cause or other.message}" for other in found.beside]
    rows += [("beside", "\n".join(beside))] if beside else []
    show.facts(rows)
