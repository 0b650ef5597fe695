"""What a failed build really lacked: a source that its recipe does not name, or a CUDA compiler that it never called.

In: a plan, and what its build left. Out: the same failure with its log, or one that says what lacked: `CompileError`,
and `ContractError` for a build that quietly fell back to the CPU, told from one whose GPU code is not as promised.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.errors import CompileError, ContractError, WheelsmithError
from wheelsmith.planning.model import Plan

if TYPE_CHECKING:
    from wheelsmith.compile.run import Compiled

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


@contextmanager
def naming_fallbacks(plan: Plan, compiled: Compiled) -> Iterator[None]:
    """A wheel without GPU code of a build that never called a CUDA compiler fails with that cause."""
    from wheelsmith.compat.verdict import NoGpuCodeError

    try:
        yield
    except NoGpuCodeError as error:
        runs = json.loads(compiled.timeline.read_text("utf-8"))["runs"]
        if any(unit["kind"] == "cuda" for run in runs for unit in run["units"]):
            raise
        from wheelsmith.sources.switches import find_switches

        names = [switch.name for switch in find_switches(compiled.wheel.parent.parent / "src")]
        known = f"Its source reads {', '.join(names)}: set what is meant" if names else "Find its switch, and set it"
        raise ContractError(
            f"The build of {plan.name} {plan.version} never called a CUDA compiler: it fell back to the CPU, and its"
            " wheel holds no GPU code.",
            f"{known} in the recipe's [build.env]; the log says what it looked for: {compiled.log}. A package that has"
            ' no GPU code says so in its recipe: [[library]] path = "*", code = "none".',
            detail=error.detail,
        ) from error
