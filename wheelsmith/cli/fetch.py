"""`wheelsmith fetch`: bring in all that a build needs from outside."""

from __future__ import annotations

import argparse

from wheelsmith.cli.options import Commands, Parser, add_command, add_network, add_store, add_target, target_arguments


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "fetch", execute, "fetch sources and toolchain, so that build --offline works")
    add_target(parser)
    add_store(parser)
    add_network(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with Reporter(quiet=options.quiet) as listener:
        size = wheelsmith.fetch(
            options.requirement,
            store=options.store,
            index_url=options.index_url,
            torch_index=options.torch_index,
            toolkit=options.toolkit,
            listener=listener,
            **target_arguments(options),
        )
    if options.json:
        show.as_json({"schema_version": 1, "requirement": options.requirement, "bytes_fetched": size})
        return 0
    print(f"{size:,} bytes of sources fetched; `wheelsmith build {options.requirement} --offline` needs no network.")
    return 0
