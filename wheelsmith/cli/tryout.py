"""`wheelsmith try`: install from the index into an empty environment, and import."""

from __future__ import annotations

import argparse

from wheelsmith.cli.options import Commands, Parser, add_command, add_index


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(
        commands, "try", execute, "install a wheel from the index into an empty environment and import it"
    )
    parser.add_argument("requirement", help="such as cuvec==6.0.1+cu130, or a wheel")
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="what to import (default: what its recipe names)",
    )
    parser.add_argument("--python", metavar="X.Y", help="Python of that environment")
    parser.add_argument(
        "--env",
        choices=("isolated", "current"),
        default="isolated",
        help="what the wheel depends on is installed as well (default), or is the running interpreter's packages",
    )
    parser.add_argument("--recipes", metavar="DIR", action="append", default=[], help="a directory of your own recipes")
    add_index(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with Reporter(quiet=options.quiet) as listener:
        result = wheelsmith.try_install(
            options.requirement,
            index=options.index,
            imports=options.imports,
            python=options.python,
            environment=options.env,
            recipes=options.recipes,
            listener=listener,
        )
    if options.json:
        show.as_json(
            {
                "schema_version": 1,
                "requirement": options.requirement,
                "python": result.python,
                "installed": list(result.installed),
                "imported": list(result.imported),
                "smoke": result.smoke,
            }
        )
        return 0
    where = "an empty environment" if options.env == "isolated" else "an environment over this interpreter's packages"
    print(f"installed with pip into {where} (Python {result.python}): {', '.join(result.installed)}")
    print(f"imported: {', '.join(result.imported) or 'nothing was named'}")
    if result.smoke:
        print("ran on a GPU: the recipe's smoke test, which agrees with its reference")
    return 0
