"""`wheelsmith inspect`: what is in a wheel, a directory or a library."""

from __future__ import annotations

import argparse
from typing import Any

from wheelsmith.cli.options import add_json


def configure(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("inspect", help="show the GPU code in a wheel, a directory or a library")
    parser.add_argument("path")
    parser.add_argument(
        "--html", metavar="FILE", help="write a page about it (one file, nothing loaded from elsewhere)"
    )
    add_json(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show

    report = wheelsmith.inspect(options.path)
    if options.html:
        from pathlib import Path

        from wheelsmith.report.wheel_page import wheel_page

        Path(options.html).write_text(wheel_page(report), "utf-8")
    if options.json:
        show.as_json(report.to_dict())
        return 0
    rows = [("file", report.filename), ("size", f"{report.size:,} bytes")]
    if report.name is not None:
        rows += [("package", f"{report.name} {report.version}"), ("tags", ", ".join(report.tags))]
        rows += [("requires", ", ".join(report.requires_dist) or "nothing")]
    if report.sha256 is not None:
        rows.append(("sha256", report.sha256))
    rows.append(("platform", f"{report.platform or 'no manylinux platform'} (from the symbol versions)"))
    data = report.to_dict()
    show.facts(rows)
    print()
    show.proof(data, None)
    if report.code:
        print()
        show.savings(data)
    print()
    show.linkage(data)
    show.doubts(data)
    return 0
