"""`wheelsmith recipes catalogue` and `support`: what was built of the recipes, as the records of builds say."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from wheelsmith.cli.options import Commands, Parser, add_command


def configure(actions: Commands[Parser], add_recipes: Callable[[Parser], None]) -> None:
    """Add both commands to `recipes`."""
    one = add_command(actions, "catalogue", _catalogue, "the table of all recipes and of what was built of them")
    add_recipes(one)
    one.add_argument("--records", metavar="DIR", help="records of builds (default: records/ beside the recipes)")
    one.add_argument("--add", metavar="FILE", action="append", default=[], help="first keep what build --json told")
    one.add_argument("--where", metavar="TEXT", default="", help="of --add: the machine, in words")
    one.add_argument(
        "--ran",
        metavar="TEXT",
        action="append",
        default=[],
        help='of --add: what a GPU said of it, as in "H100, 580.95.05: 11 of 11 results agree"',
    )
    one.add_argument("--when", metavar="DAY", help="of --add: the day of the build and the runs (default: today)")
    one.add_argument("--write", metavar="FILE", help="write the table there")

    one = add_command(actions, "support", _support, "for each GPU what was built, proved and run, from the records")
    one.add_argument("--records", metavar="DIR", help="records of builds (default: records/ beside the recipes)")
    one.add_argument("--write", metavar="FILE", help="write the page there")


def _catalogue(options: argparse.Namespace) -> int:
    from pathlib import Path

    import wheelsmith
    from wheelsmith.cli import show

    records = options.records or "recipes/records"
    for file in options.add:
        wheelsmith.recipe_record(file, where=options.where, records=records, ran=options.ran, when=options.when)
    text = wheelsmith.recipe_catalogue(recipes=getattr(options, "recipes", []), records=options.records)
    if options.write:
        show.write(Path(options.write), text)
    if options.json:
        show.as_json({"schema_version": 1, "markdown": text})
    elif not options.write:
        print(text, end="")
    return 0


def _support(options: argparse.Namespace) -> int:
    from pathlib import Path

    import wheelsmith
    from wheelsmith.cli import show

    matrix = wheelsmith.support_matrix(records=options.records)
    if options.write:
        show.write(Path(options.write), matrix.markdown())
    if options.json:
        show.as_json(matrix.to_dict())
    elif not options.write:
        print(matrix.markdown(), end="")
    return 0
