"""`wheelsmith advise`: do you need a source build at all?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wheelsmith.cli.fits import add_machine, print_fits
from wheelsmith.cli.options import Commands, Parser, add_command, add_store

if TYPE_CHECKING:
    from wheelsmith import Advice

_WORDS = {
    "install": "install the published wheel",
    "build": "build from source",
    "not judged": "not judged: nothing says that the published wheel runs, or that it does not",
}


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "advise",
        execute,
        "say whether a package needs a source build, or its published wheel runs",
        description="Judge the wheel that pip would install on a machine (default: this one), and name the build"
        " command where it does not fit.",
    )
    parser.add_argument("requirement", help="package and version, such as vllm==0.15.1")
    add_machine(parser)
    parser.add_argument("--python", metavar="X.Y", help="default: the running interpreter's")
    parser.add_argument("--recipes", metavar="DIR", action="append", default=[], help="a directory of your own recipes")
    add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with Reporter(quiet=options.quiet) as listener:
        advice = wheelsmith.advise(
            options.requirement,
            gpu=options.gpu,
            driver=options.driver,
            python=options.python,
            dependencies=options.with_dependencies,
            recipes=options.recipes,
            store=options.store,
            index_url=options.index_url,
            offline=options.offline,
            listener=listener,
        )
    if options.json:
        show.as_json(advice.to_dict())
        return _code(advice)
    if advice.fits:
        print_fits(advice.fits)
        print()
    rows = [("package", advice.package), ("advice", _WORDS[advice.answer]), ("because", advice.why)]
    if advice.command:
        rows.append(("command", advice.command))
    elif advice.answer == "install":
        rows.append(("command", f"pip install '{advice.package}'"))
    show.facts(rows)
    if advice.rules:
        print("\nthis wheel:")
    for rule in advice.rules:
        print(f"  {rule}.")
    return _code(advice)


def _code(advice: Advice) -> int:
    """An advice is an answer; only that there is none has a code of its own."""
    return advice.fits.exit_code if advice.fits and advice.answer == "not judged" else 0
