"""What a failed build wanted to fetch, named: a recipe that lacks a source fails with its name.

In: a plan, and the log of its build. Out: the same failure with its log, or a `CompileError` that says what lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wheelsmith.errors import CompileError, WheelsmithError
from wheelsmith.planning.model import Plan

_TAIL = 64 << 20  # bytes at the end of a log that are searched for what a build wanted to fetch


@contextmanager
def naming_gaps(plan: Plan, log: Path) -> Iterator[None]:
    """A build that fails because it wants to fetch something fails with the name of that."""
    try:
        yield
    except WheelsmithError as error:
        error.log = log if log.is_file() else None
        if not isinstance(error, CompileError):
            raise
        from wheelsmith.diagnostics.failures import RUN_MARK
        from wheelsmith.sources.git_shim import refused

        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read(_TAIL).decode("utf-8", "replace")
        wanted = refused(text.rpartition(RUN_MARK)[2])
        if not wanted:
            raise
        gaps = CompileError(
            f"The build of {plan.name} {plan.version} wants to fetch what its recipe does not have:"
            f" {', '.join(map(str, wanted))}.",
            f"Add it to the recipe as a [[tree]]: `wheelsmith recipes lock {plan.name}=={plan.version}` finds it."
            f" The whole log is {log}.",
            detail=error.detail,
        )
        gaps.log = error.log
        raise gaps from error
