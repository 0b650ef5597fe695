"""`wheelsmith fetch`: bring in all that a build needs from outside."""

from __future__ import annotations

import argparse
from typing import Any

from wheelsmith.cli.options import add_network, add_store, add_target, target_arguments


def configure(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("fetch", help="fetch sources and toolchain, so that build --offline works")
    add_target(parser)
    add_store(parser)
    add_network(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli.progress import Reporter

    with Reporter() as listener:
        size = wheelsmith.fetch(
            options.requirement,
            store=options.store,
            index_url=options.index_url,
            torch_index=options.torch_index,
            toolkit=options.toolkit,
            listener=listener,
            **target_arguments(options),
        )
    print(f"{size:,} bytes of sources fetched; `wheelsmith build {options.requirement} --offline` needs no network.")
    return 0
