"""`wheelsmith publish`: put wheels into an index."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wheelsmith.cli.options import Commands, Parser, add_command, add_index

if TYPE_CHECKING:
    from wheelsmith.documents.indexes import PublishedFacts


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "publish", execute, "put finished wheels into a package index")
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="their files")
    parser.add_argument("--variant", metavar="NAME", help="the path that shows them, such as cu128-torch2.9")
    parser.add_argument(
        "--wheel-variants", action="store_true", help="also take variant wheels, a draft; /variants/simple/ shows them"
    )
    parser.add_argument(
        "--overlap", action="store_true", help="also take wheels for tags that another one of their version serves"
    )
    add_index(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show

    published = wheelsmith.publish(
        options.wheels,
        index=options.index,
        variant=options.variant,
        wheel_variants=options.wheel_variants,
        overlap=options.overlap,
    )
    if options.json:
        rows: list[PublishedFacts] = [
            {"filename": p.filename, "sha256": p.sha256, "size": p.size, "already_there": p.already_there}
            for p in published
        ]
        show.as_json({"schema_version": 1, "index": options.index, "published": rows})
        return 0
    show.table(
        ("file", "bytes", "sha256", ""),
        ((p.filename, f"{p.size:,}", p.sha256, "was there" if p.already_there else "new") for p in published),
    )
    return 0
