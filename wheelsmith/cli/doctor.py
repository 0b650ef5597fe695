"""`wheelsmith doctor`: what this machine has, against what a build needs."""

from __future__ import annotations

import argparse
from typing import Any

from wheelsmith.cli.options import add_json, add_store, add_target, target_arguments


def configure(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="check this machine, for any build or for one package")
    add_target(parser, optional=True)
    add_store(parser)
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the command. The exit code is that of the first thing that is missing."""
    import wheelsmith
    from wheelsmith.cli import show

    target = target_arguments(options) if options.requirement else {}
    checks = wheelsmith.doctor(options.requirement, store=options.store, **target)
    if options.json:
        show.as_json({"schema_version": 1, "checks": [check.to_dict() for check in checks]})
    else:
        words = {True: "ok", False: "MISSING", None: ""}
        show.table(("", "found", "needed", ""), ((c.name, c.found, c.needed, words[c.ok]) for c in checks))
        for check in checks:
            if check.error is not None:
                print(f"\n{check.error.cause}\n  what to do: {check.error.remedy}")
    return next((check.error.exit_code for check in checks if check.error is not None), 0)
