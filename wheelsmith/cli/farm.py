"""`wheelsmith farm`: a matrix on many machines, and what that would bring."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wheelsmith.cli.matrix import add_cells
from wheelsmith.cli.options import (
    Commands,
    Parser,
    add_command,
    add_group,
    add_index,
    add_isolation,
    add_store,
    location,
    natural,
)
from wheelsmith.errors import UsageError

if TYPE_CHECKING:
    from typing import TextIO

    from wheelsmith import FarmResult, Listener


def configure(commands: Commands[Parser]) -> None:
    """Add the commands."""
    group = add_group(commands, "farm", "build a matrix on many machines (Dask)")
    parser = add_command(group, "build", execute, "build a matrix; a long wheel is compiled by many workers")
    parser.add_argument("matrix", metavar="MATRIX", help="as for `build --matrix`")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of Dask (default: a cluster on this machine)")
    parser.add_argument(
        "--workers", type=natural, default=1, metavar="N", help="of the cluster on this machine, or to wait for"
    )
    parser.add_argument("--tls", metavar="DIR", help="encrypt: ca.pem, cert.pem and key.pem are there")
    parser.add_argument("--wait", type=float, default=30.0, metavar="S", help="for a scheduler and so many workers")
    parser.add_argument(
        "--split", choices=("auto", "always", "never"), default="auto", help="one wheel by many workers (default: auto)"
    )
    add_cells(parser)
    parser.add_argument("--skip-refused", action="store_true", help="build the others where cells cannot be built")
    add_index(parser)
    add_store(parser)
    parser.add_argument(
        "--cache",
        metavar="DIR|URL",
        type=location,
        help="where objects are shared, without credentials (default: each worker's WHEELSMITH_CACHE)",
    )
    parser.add_argument(
        "--jobs", type=natural, metavar="N", help="compilers at once on each worker (default: what fits)"
    )
    parser.add_argument(
        "--toolkit", metavar="auto|wheels|DIR", default="auto", help="where the CUDA toolkits come from"
    )
    parser.add_argument(
        "--env",
        choices=("isolated", "current"),
        default="isolated",
        help="build with locked requirements of its own (default), or with the packages of the workers' interpreter",
    )
    parser.add_argument("--index-url", metavar="URL", help="package index for sdists and build requirements")
    parser.add_argument("--offline", action="store_true", help="fetch nothing")
    add_isolation(parser)
    parser.add_argument("--recipes", metavar="DIR", action="append", default=[], help="a directory of your own recipes")
    parser.add_argument("--events", metavar="FILE|-", help="write what every worker tells there, a JSON object a line")

    more = add_command(group, "simulate", simulate, "predict time and cost of a recorded build on farms")
    more.add_argument("record", metavar="TIMELINE|MODEL", help="of a build: `wheelsmith timeline` names it")
    more.add_argument(
        "--workers", type=_numbers, default=(1, 2, 4, 8, 16, 32, 64, 128, 256), metavar="N,N…", help="how many machines"
    )
    more.add_argument("--cores", type=natural, default=1, metavar="N", help="of each worker (default: 1)")
    more.add_argument("--configure", type=float, metavar="S", help="until a worker meets its first unit")
    more.add_argument("--finish", type=float, metavar="S", help="from the last object to the published wheel")
    more.add_argument("--latency", type=float, metavar="S", help="of a request to the cache")
    more.add_argument("--bandwidth", type=float, metavar="BYTES/S", help="of the cache, for all together")
    more.add_argument("--price", type=float, metavar="P", help="of a worker, for an hour")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers, as in 1,2,4") from error


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import contextlib

    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Reporter(quiet=options.quiet))
        sink = _open(options.events, stack)
        result = wheelsmith.farm_build(
            options.matrix,
            scheduler=options.scheduler,
            workers=options.workers,
            tls=options.tls,
            wait=options.wait,
            split=options.split,
            cells=options.cell,
            skip_refused=options.skip_refused,
            index=options.index,
            store=options.store,
            cache=options.cache,
            jobs=options.jobs,
            offline=options.offline,
            require_isolation=options.require_isolation,
            index_url=options.index_url,
            toolkit=options.toolkit,
            environment=options.env,
            recipes=options.recipes,
            listener=listener,
            events=_Teller(listener, sink),
        )
    if options.json:
        show.as_json(result.to_dict())
    else:
        _report(result)
    return result.exit_code


def _open(path: str | None, stack: object) -> TextIO | None:
    import contextlib
    from pathlib import Path

    assert isinstance(stack, contextlib.ExitStack)  # noqa: S101
    if path is None or path == "-":
        return None if path is None else sys.stderr
    try:
        return stack.enter_context(Path(path).open("a", encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from error


class _Teller:
    """Shows what workers tell: as lines for people, and as JSON."""

    def __init__(self, listener: Listener, sink: TextIO | None) -> None:
        self._listener, self._sink = listener, sink

    def __call__(self, message: Mapping[str, object]) -> None:
        from wheelsmith.events import Note

        if self._sink is not None:
            self._sink.write(json.dumps(message, default=str) + "\n")
            self._sink.flush()
        who = f"worker {message.get('worker')}, {message.get('cell')}:"
        match message.get("event"):
            case "UnitDone":
                how = message.get("cache") or "compiled"
                failed = f" FAILED with status {message['status']}" if message.get("status") else ""
                took = float(str(message.get("seconds", 0)))
                self._listener(Note("unit", f"{who} {message.get('name')} {how} [{took:.1f} s]{failed}", bool(failed)))
            case "StageStarted" if message.get("stage") in {"compile", "proof"}:
                self._listener(Note("farm", f"{who} {message.get('task')}: {message.get('stage')}"))
            case "Note":
                self._listener(Note("farm", f"{who} {message.get('text')}", warning=True))


def _report(result: FarmResult) -> None:
    from wheelsmith.cli import show

    document = result.to_dict()
    rows = []
    for cell in document["cells"]:
        asked = cell["hits"] + cell["misses"]
        hits = f"{cell['hits']} of {asked}" if asked else "-"
        how = f"{cell['units']} units in {cell['parts']} parts" if cell["parts"] else "whole"
        names = " ".join(cell["workers"]) or "-"
        rows.append((cell["id"], cell["state"], cell["wheel"] or "-", f"{cell['seconds']:.0f} s", how, hits, names))
    show.table(("cell", "state", "wheel", "took", "how", "from the cache", "workers"), rows)
    for cell in document["cells"]:
        if (error := cell["error"]) is not None:
            print(f"\n{cell['id']}: {error['cause']}")
            for line in error["detail"].splitlines():
                print(f"  | {line}")
            print(f"  what to do: {error['remedy']}")
    print("\n" + ", ".join(f"{count} {state}" for state, count in document["counts"].items()))


def simulate(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show

    document = wheelsmith.farm_simulate(
        options.record,
        workers=options.workers,
        cores=options.cores,
        configure=options.configure,
        finish=options.finish,
        latency=options.latency,
        bandwidth=options.bandwidth,
        price=options.price,
    )
    if options.json:
        show.as_json(document)
        return 0
    print(
        f"{document['units']} units, {document['cpu_seconds']:,.0f} CPU-seconds, the longest {document['longest']:.0f}"
    )
    show.table(
        ("workers", "seconds", "speed-up", "efficiency", "bytes moved", "cost"),
        (
            [
                str(point["workers"]),
                f"{point['seconds']:,.0f}",
                f"{point['speed_up']:.2f}",
                f"{point['efficiency']:.2f}",
                f"{point['bytes']:,}",
                f"{point['cost']:.2f}",
            ]
            for point in document["points"]
        ),
    )
    return 0
