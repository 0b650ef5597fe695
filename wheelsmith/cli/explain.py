"""`wheelsmith explain`: why a log ends as it does."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from wheelsmith.cli.options import Commands, Parser, add_command


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "explain", execute, "find the cause in the log of a failed build or run")
    parser.add_argument("log", metavar="LOG", help="a file, or - for standard input")


def execute(options: argparse.Namespace) -> int:
    """Run the command. The exit code is 0 if the cause is known, 1 if only the error could be cut out."""
    import wheelsmith
    from wheelsmith.cli import show

    if options.log == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
        found = wheelsmith.explain(f"{text}\n")
    else:
        found = wheelsmith.explain(options.log)
    if options.json:
        show.as_json({"schema_version": 1, **found.to_dict()})
        return 0 if found.id else 1
    place = f"line {found.line}" if found.line else "no error found; the last lines"
    print(f"{place}:\n")
    for line in found.excerpt.splitlines():
        print(f"  | {line}")
    print()
    rows = [("cause", found.cause or "not known")]
    rows += [("what to do", found.remedy)] if found.remedy else []
    rows += [("see", "\n".join(found.links))] if found.links else []
    rows += [("unit", found.unit)] if found.unit else []
    script = Path(options.log).absolute().parent.parent / "work" / Path(options.log).stem / "repeat.sh"
    repeat = f"sh {shlex.quote(str(script))}" if script.is_file() else found.repeat
    rows += [("repeat", repeat)] if found.repeat else []
    show.facts(rows)
    return 0 if found.id else 1
