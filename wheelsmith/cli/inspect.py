"""`wheelsmith inspect`: what is in a wheel, a directory or a library."""

from __future__ import annotations

import argparse
from pathlib import Path

from wheelsmith.cli.options import Commands, Parser, add_command


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "inspect", execute, "show the GPU code in a wheel, a directory or a library")
    parser.add_argument("path", help="a wheel, a directory, or a library")
    parser.add_argument(
        "--html", metavar="FILE", help="write a page about it (one file, nothing loaded from elsewhere)"
    )


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show

    report = wheelsmith.inspect(options.path)
    if options.html:
        show.write(Path(options.html), wheelsmith.wheel_page(report))
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
    show.choices(data)
    return 0
