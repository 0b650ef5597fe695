"""`wheelsmith try`: install from the index into an empty environment, and import."""

from __future__ import annotations

import argparse
from typing import Any

from wheelsmith.cli.options import add_index


def configure(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("try", help="install a wheel from the index into an empty environment and import it")
    parser.add_argument("requirement", help="such as cuvec==6.0.1+cu130")
    parser.add_argument("--import", dest="imports", action="append", default=[], metavar="MODULE")
    parser.add_argument("--python", metavar="X.Y")
    add_index(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli.progress import Reporter

    with Reporter() as listener:
        result = wheelsmith.try_install(
            options.requirement,
            index=options.index,
            imports=options.imports,
            python=options.python,
            listener=listener,
        )
    print(f"installed with pip into an empty environment (Python {result.python}): {', '.join(result.installed)}")
    print(f"imported: {', '.join(result.imported) or 'nothing was named'}")
    return 0
