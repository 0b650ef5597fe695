"""What this machine has, the GPUs that wheelsmith knows, and what the logs of builds tell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from wheelsmith.api.building import TargetOptions, plan
from wheelsmith.api.defaults import PathLike, store_root

if TYPE_CHECKING:
    from wheelsmith.compile.checks import Check
    from wheelsmith.diagnostics.diagnose import Explanation
    from wheelsmith.documents.builds import TimelineDocument, TraceDocument
    from wheelsmith.gpu.facts import Gpu
    from wheelsmith.planning.model import Plan


def doctor(
    what: str | Plan | None = None, *, store: PathLike | None = None, **target: Unpack[TargetOptions]
) -> tuple[Check, ...]:
    """What this machine has, against what a build of `what` needs (None: any build)."""
    from wheelsmith.compile.preflight import preflight

    made = plan(what, **target) if isinstance(what, str) else what
    return preflight(made, store_root(store))


def gpus() -> tuple[Gpu, ...]:
    """Every GPU that wheelsmith knows by name."""
    from wheelsmith.gpu.facts import all_gpus

    return all_gpus()


def explain(log: PathLike) -> Explanation:
    """The first real error of a log, its cause and remedy if they are known, and how to repeat what failed.

    Args:
        log: a path, or the text itself (anything with a line break). Logs of builds and of runs, by wheelsmith or not.

    Raises:
        UsageError: there is no such file.
    """
    from wheelsmith.diagnostics.diagnose import diagnose
    from wheelsmith.errors import UsageError

    if isinstance(log, str) and "\n" in log:
        return diagnose(log)
    try:
        return diagnose(Path(log).read_text("utf-8", errors="replace"))
    except (OSError, ValueError) as error:
        raise UsageError(f"The log {os.fspath(log)!r} cannot be read: {error}.", "Name a file, or `-`.") from error


def timeline(what: PathLike, *, store: PathLike | None = None) -> TimelineDocument:
    """The record of a build: its runs, each with every unit (times in s, memory in bytes) and the state over time.

    Args:
        what: a log, a timeline file, or a requirement such as `vllm==0.15.1`: the newest build of it.
        store: directory of the store; default: WHEELSMITH_STORE, else the user's cache directory.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    from wheelsmith.compile.timeline import find_record, read_record

    return read_record(find_record(str(what), Path(store_root(store)) / "logs"))


def timeline_trace(record: TimelineDocument) -> TraceDocument:
    """The same record for a viewer: Chrome's Trace Event Format, which Perfetto and speedscope read."""
    from wheelsmith.report.timeline import chrome_trace

    return chrome_trace(record)
