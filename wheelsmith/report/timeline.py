"""The timeline of a build for a viewer: Chrome's Trace Event Format, which Perfetto and chrome://tracing read.

In: a record that `wheelsmith.compile.timeline` has read. Out: a JSON-ready value. Pure; nothing fails.

Each slot is a row on which units lie one after the other; memory and the numbers of running and waiting units are
curves. Runs of a build that was continued are processes of their own. Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wheelsmith.documents.builds import RunFacts, TimelineDocument, TraceDocument

_MICRO = 1_000_000


def chrome_trace(record: TimelineDocument) -> TraceDocument:
    """The record as a trace."""
    runs = record["runs"]
    first = min((run["started"] for run in runs), default=0.0)
    events = [event for number, run in enumerate(runs, 1) for event in _run(run, number, run["started"] - first)]
    kept = ("name", "version", "key", "started", "host", "summary")
    heads = [{key: value for key, value in run.items() if key in kept} for run in runs]
    return {"displayTimeUnit": "ms", "traceEvents": events, "otherData": {"runs": heads}}


def _run(run: RunFacts, number: int, offset: float) -> Iterator[dict[str, object]]:
    name = f"{run['name']} {run['version']}, run {number}"
    yield {"ph": "M", "name": "process_name", "pid": number, "args": {"name": name}}
    ends: list[float] = []
    for unit in sorted(run["units"], key=lambda unit: (unit["start"], unit["end"])):
        row = next((row for row, end in enumerate(ends) if end <= unit["start"]), len(ends))
        ends[row : row + 1] = [unit["end"]]
        yield {
            "ph": "X",
            "name": unit["name"],
            "cat": unit["kind"],
            "pid": number,
            "tid": row + 1,
            "ts": round((offset + unit["start"]) * _MICRO),
            "dur": round((unit["end"] - unit["start"]) * _MICRO),
            "args": {key: value for key, value in unit.items() if key not in ("name", "kind", "start", "end")},
        }
    for row in range(len(ends)):
        yield {"ph": "M", "name": "thread_name", "pid": number, "tid": row + 1, "args": {"name": f"slot {row + 1}"}}
    for sample in run["samples"]:
        place: dict[str, object] = {"ph": "C", "pid": number, "ts": round((offset + sample["at"]) * _MICRO)}
        yield place | {"name": "memory, GB", "args": {"used": sample["used"] / 1e9, "free": sample["free"] / 1e9}}
        yield place | {
            "name": "units",
            "args": {"running": sample["running"], "waiting": sample["waiting"], "slots": sample["slots"]},
        }
