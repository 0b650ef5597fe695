"""`wheelsmith doctor`: what this machine has, against what a build needs."""

from __future__ import annotations

import argparse

from wheelsmith.cli.options import Commands, Parser, add_command, add_store, add_target, target_arguments


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "doctor", execute, "check this machine, for any build or for one package")
    add_target(parser, optional=True)
    add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the command. The exit code is that of the first thing without which no build begins."""
    import wheelsmith
    from wheelsmith.cli import show

    target = target_arguments(options) if options.requirement else {}
    checks = wheelsmith.doctor(options.requirement, store=options.store, **target)
    failed = [(check, check.error) for check in checks if check.error is not None]
    if options.json:
        show.as_json({"schema_version": 2, "checks": [check.to_dict() for check in checks]})
    else:
        words = {(True, True): "ok", (True, False): "ok", (False, True): "MISSING", (False, False): "warning"}
        rows = ((c.name, c.found, c.needed, "" if c.ok is None else words[c.ok, c.stops]) for c in checks)
        show.table(("", "found", "needed", ""), rows)
        for _, error in failed:
            print(f"\n{error.cause}\n  what to do: {error.remedy}")
    return next((error.exit_code for check, error in failed if check.stops), 0)
