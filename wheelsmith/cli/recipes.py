"""`wheelsmith recipes`: what can be built, and the schema of a recipe."""

from __future__ import annotations

import argparse
from typing import Any

from wheelsmith.cli.options import add_json


def configure(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("recipes", help="list recipes, check them, or print their schema")
    parser.add_argument("action", nargs="?", choices=("list", "schema"), default="list")
    parser.add_argument("--recipes", metavar="DIR", action="append", default=[])
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show

    if options.action == "schema":
        show.as_json(wheelsmith.recipe_schema())
        return 0
    found = [(item.recipe, item.origin) for item in wheelsmith.recipes(recipes=options.recipes)]
    if options.json:
        rows = [
            {
                "name": r.name,
                "releases": list(r.releases),
                "defaults": r.defaults.model_dump(),
                "file": origin,
            }
            for r, origin in found
        ]
        show.as_json({"schema_version": 1, "recipes": rows})
        return 0
    show.table(
        ("name", "pinned", "archs", "CUDA", "torch", "summary", "file"),
        (
            (
                r.name,
                ", ".join(r.releases),
                r.defaults.archs,
                r.defaults.cuda,
                r.defaults.torch or "-",
                r.summary,
                origin,
            )
            for r, origin in found
        ),
    )
    return 0
