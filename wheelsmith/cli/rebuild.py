"""`wheelsmith rebuild`: build a wheel again from its provenance, and say where the result differs."""

from __future__ import annotations

import argparse

from wheelsmith.cli.options import Commands, Parser, add_command, add_isolation, add_jobs, add_network, add_store
from wheelsmith.cli.verify import add_origin
from wheelsmith.errors import VerificationError


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "rebuild",
        execute,
        "build a wheel again from its provenance and compare",
        description="The provenance says what is fetched and run: rebuild only what you trust, or give --key."
        f" Exit code 0: the same bytes; {VerificationError.exit_code}: others.",
    )
    add_origin(parser)
    add_store(parser)
    add_network(parser)
    parser.add_argument("--offline", action="store_true", help="fetch nothing")
    add_isolation(parser)
    add_jobs(parser)
    parser.add_argument("--verbose", action="store_true", help="show the compilers' output")


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with Reporter(verbose=options.verbose, quiet=options.quiet) as listener:
        result = wheelsmith.rebuild(
            options.wheel,
            provenance=options.provenance,
            key=options.key,
            store=options.store,
            jobs=options.jobs,
            offline=options.offline,
            require_isolation=options.require_isolation,
            index_url=options.index_url,
            torch_index=options.torch_index,
            toolkit=options.toolkit,
            listener=listener,
        )
    if options.json:
        show.as_json(result.to_dict())
    else:
        rows = [("wheel", result.wheel.name), ("sha256", result.sha256)]
        if result.identical:
            how = "" if result.packing == "blocks" else ", compressed as an older wheelsmith did"
            rows.append(("rebuilt", f"identical, every byte{how} ({result.seconds:.0f} s of backend)"))
        else:
            rows += [("rebuilt", f"{result.sha256_again}, kept at {result.again}")]
            rows += [("differs", "\n".join(map(str, result.differences)))]
        if result.tools:
            rows.append(("tools", "\n".join(f"{name}: then {then}, now {now}" for name, then, now in result.tools)))
        show.facts(rows)
    return 0 if result.identical else VerificationError.exit_code
