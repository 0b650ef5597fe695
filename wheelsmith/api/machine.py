"""What this machine has, the GPUs that wheelsmith knows, and what the logs of builds tell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Unpack

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
    """What this machine has, against what a build of `what` needs (None: any build); before it what a report of a fault
    must say: versions, system, which variables are set."""
    from wheelsmith.compile.about import about
    from wheelsmith.compile.preflight import preflight

    made = plan(what, **target) if isinstance(what, str) else what
    return (*about(), *preflight(made, store_root(store)))


def refuse_other_machine() -> None:
    """Refuse a machine on which nothing can be built.

    Raises:
        TargetError: it is no Linux on x86-64.
    """
    from wheelsmith.toolchain.host import refuse_other_machine as refuse

    refuse()


def gpus() -> tuple[Gpu, ...]:
    """Every GPU that wheelsmith knows by name."""
    from wheelsmith.gpu.facts import all_gpus

    return all_gpus()


def toolkits(*, in_wheels: bool = False) -> tuple[str, ...]:
    """CUDA releases that wheelsmith knows, oldest first.

    Args:
        in_wheels: only those that are assembled from NVIDIA's wheels where there is no toolkit.
    """
    from wheelsmith.gpu.facts import known_toolkits
    from wheelsmith.toolchain.cuda import versions_in_wheels

    return versions_in_wheels() if in_wheels else known_toolkits()


def torches() -> tuple[str, ...]:
    """The first release of each torch that wheelsmith knows (`2.11.0`), oldest first."""
    from wheelsmith.gpu.facts import known_torches

    return known_torches()


def explain(log: PathLike | IO[bytes]) -> Explanation:
    """The first real failure of a log, its cause and remedy if they are known, and how to repeat what failed.

    Args:
        log: a path, the text itself (anything with a line break), or a binary stream, which is read once to its end.
            Logs of builds and of runs, by wheelsmith or not, of any size.

    Raises:
        UsageError: there is no such file, it cannot be read, or the user's own signatures are wrong.
    """
    from wheelsmith.diagnostics.diagnose import diagnose, diagnose_stream
    from wheelsmith.errors import UsageError

    if isinstance(log, str) and "\n" in log:
        return diagnose(log)
    name = os.fspath(log) if isinstance(log, str | os.PathLike) else "-"
    try:
        if not isinstance(log, str | os.PathLike):
            return diagnose_stream(log.read)
        with Path(log).open("rb") as file:
            return diagnose_stream(file.read)
    except (OSError, ValueError) as error:
        raise UsageError(f"The log {name!r} cannot be read: {error}.", "Name a file, or `-`.") from error


def annotation(explanation: Explanation, ci: Literal["github", "gitlab"]) -> str:
    """An explanation as a CI shows it beside the code.

    Args:
        explanation: of a log.
        ci: `github`: a workflow command, to be printed; `gitlab`: a code quality report, to be kept as an artifact.
    """
    from wheelsmith.diagnostics.annotations import github, gitlab

    return github(explanation) if ci == "github" else gitlab(explanation)


def failure_page(explanation: Explanation, title: str, *, log: PathLike, repeat: str = "") -> str:
    """A self-contained HTML page about a failure.

    Args:
        explanation: of a log.
        title: what failed.
        log: what the log is called.
        repeat: a command that makes the unit again, instead of the explanation's own.
    """
    from wheelsmith.report.failure import failure_page as page

    return page(explanation, title, log=os.fspath(log), repeat=repeat)


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


def build_page(what: PathLike, *, store: PathLike | None = None) -> str:
    """A self-contained HTML page about a build: when each unit ran, memory, warnings, the wheel, what it was made of.

    Args:
        what: as for `timeline`.
        store: directory of the store; default: WHEELSMITH_STORE, else the user's cache directory.

    Raises:
        UsageError: there is no such build, or its record cannot be read.
    """
    from wheelsmith.builder.page import page_of
    from wheelsmith.compile.timeline import find_record

    root = Path(store_root(store))
    return page_of(find_record(str(what), root / "logs"), root / "wheels")


def timeline_trace(record: TimelineDocument) -> TraceDocument:
    """The same record for a viewer: Chrome's Trace Event Format, which Perfetto and speedscope read."""
    from wheelsmith.report.timeline import chrome_trace

    return chrome_trace(record)
