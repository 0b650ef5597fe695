"""`wheelsmith gpus`: the GPUs that wheelsmith knows by name."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wheelsmith.cli.options import Commands, Parser, add_command

if TYPE_CHECKING:
    from wheelsmith.documents.machines import GpuRow


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    add_command(
        commands,
        "gpus",
        execute,
        "list GPUs and their compute capability",
        description="List the GPUs that are known by name, with the Linux drivers that know them. To add yours, write"
        " a gpus.toml into the directory WHEELSMITH_FACTS (default: facts, beside the configuration file). It holds"
        " only what is added: schema_version = 1, and a table such as"
        ' [arch."13.0"] with cuda = "13.5" and gpus = ["RTX 9090"].',
    )


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show

    rows: list[GpuRow] = [
        {
            "gpu": gpu.name,
            "compute_capability": str(gpu.arch),
            "sm": gpu.arch.sm,
            "family": gpu.family,
            "machine": gpu.machine,
            "driver": str(wheelsmith.gpu_driver(gpu.arch)),
        }
        for gpu in wheelsmith.gpus()
    ]
    if options.json:
        show.as_json({"schema_version": 1, "gpus": rows})
    else:
        titles = ("GPU", "compute capability", "name", "family", "machines", "driver")
        show.table(titles, ([str(value or "-") for value in row.values()] for row in rows))
    return 0
