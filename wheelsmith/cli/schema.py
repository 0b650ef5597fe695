"""`wheelsmith schema`: the form of what --json prints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wheelsmith.cli.options import Commands, Parser, add_command


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "schema", execute, "print the JSON Schema of what a command prints with --json")
    parser.add_argument("name", nargs="?", metavar="NAME", help="such as plan or index-list (default: list the names)")
    parser.add_argument("--all", metavar="DIR", help="write every schema to a file there")


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show

    if options.all is not None:
        for name in wheelsmith.DOCUMENTS:
            text = json.dumps(wheelsmith.document_schema(name), indent=2, ensure_ascii=False)
            show.write(Path(options.all) / f"{name}.json", f"{text}\n")
    elif options.name is not None:
        show.as_json(wheelsmith.document_schema(options.name))
    elif options.json:
        show.as_json({"documents": list(wheelsmith.DOCUMENTS)})
    else:
        print("\n".join(wheelsmith.DOCUMENTS))
    return 0
