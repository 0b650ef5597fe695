"""`wheelsmith timeline`: where the hours of a build went."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wheelsmith.cli.options import Commands, Parser, add_command, add_store


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "timeline", execute, "where a build's time and memory went, unit by unit")
    parser.add_argument("what", help="a build's log, its timeline (….timeline.json), or a package such as vllm==0.15.1")
    parser.add_argument(
        "--trace", metavar="FILE", help="write a Chrome trace, for ui.perfetto.dev, chrome://tracing or speedscope.app"
    )
    parser.add_argument("--html", metavar="FILE", help="write the build's report: one page that loads nothing")
    add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show

    record = wheelsmith.timeline(options.what, store=options.store)
    if options.html:
        show.write(Path(options.html), wheelsmith.build_page(options.what, store=options.store))
    if options.trace:
        show.write(Path(options.trace), json.dumps(wheelsmith.timeline_trace(record)))
    if options.json:
        show.as_json(record)
        return 0
    for number, run in enumerate(record["runs"], 1):
        facts = run["summary"]
        print(
            f"{run['name']} {run['version']}, run {number}: {facts['units']} units in {facts['seconds']:.1f} s,"
            f" {facts['cpu_seconds']:.1f} CPU-seconds, {run['host']['cpus']} processors {facts['busy']:.0%} busy,"
            f" {facts['peak'] / 1e9:.2f} GB at the most, {facts['deaths']} died of memory,"
            f" {facts['hits']} from the cache"
        )
    units = [unit for run in record["runs"] for unit in run["units"]]
    units.sort(key=lambda unit: unit["start"] - unit["end"])
    print()
    show.table(
        ("the longest units", "archs", "seconds", "CPU-s", "GB", "waited s", "end"),
        (
            [
                unit["name"],
                " ".join(unit["archs"]),
                f"{unit['end'] - unit['start']:.1f}",
                f"{unit['cpu_seconds']:.1f}",
                f"{unit['peak'] / 1e9:.2f}",
                f"{unit['start'] - unit['asked']:.1f}",
                unit["death"] or (unit["cache"] if unit["status"] == 0 else f"status {unit['status']}"),
            ]
            for unit in units[:20]
        ),
    )
    return 0
