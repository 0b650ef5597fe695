"""A build that quietly fell back to the CPU, told from one whose GPU code is not as promised.

In: a plan, and what its build left. Out: nothing. Fails with `ContractError`, which says it and names the switches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wheelsmith.errors import ContractError

if TYPE_CHECKING:
    from wheelsmith.compile.run import Compiled
    from wheelsmith.planning.model import Plan


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
