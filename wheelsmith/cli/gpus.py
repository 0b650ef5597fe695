"""`wheelsmith gpus`: the GPUs that wheelsmith knows by name."""

from __future__ import annotations

import argparse
from typing import Any

from wheelsmith.cli.options import add_json


def configure(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("gpus", help="list GPUs and their compute capability")
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.gpu.drivers import gpu_driver

    rows = [
        {
            "gpu": gpu.name,
            "compute_capability": str(gpu.arch),
            "sm": gpu.arch.sm,
            "family": gpu.family,
            "machine": gpu.machine,
            "driver": str(gpu_driver(gpu.arch)),
        }
        for gpu in wheelsmith.gpus()
    ]
    if options.json:
        show.as_json({"schema_version": 1, "gpus": rows})
    else:
        titles = ("GPU", "compute capability", "name", "family", "machines", "driver")
        show.table(titles, (tuple(value or "any" for value in row.values()) for row in rows))
    return 0
