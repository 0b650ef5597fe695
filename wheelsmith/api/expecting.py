"""What the first build of a recipe took, written into the recipe: nobody has to guess it before.

In: a finished build and the store. Out: an `[expect]` table in the recipe's file, if that has none and is not ours.
Nothing fails: a file that cannot be written stays as it is.
"""

from __future__ import annotations

import contextlib
import math
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.errors import WheelsmithError
from wheelsmith.events import Listener, Note

if TYPE_CHECKING:
    from wheelsmith.builder.model import BuildResult


def fill_expectation(result: BuildResult, store: Path, listener: Listener) -> None:
    """Add what was measured to a recipe that does not say what its build takes."""
    from wheelsmith.recipe.loader import shipped_directory
    from wheelsmith.store import write_atomic

    path = Path(result.plan.recipe)
    if result.reused or result.plan.expect.cpu_minutes or not path.is_file() or result.log is None:
        return
    if path.resolve().is_relative_to(shipped_directory().resolve()):
        return
    with contextlib.suppress(OSError, ValueError, WheelsmithError):
        text = path.read_text("utf-8")
        if "expect" in tomllib.loads(text):
            return
        table = measured(result, store)
        first = text.find("\n[releases.")
        text = f"{text.rstrip()}\n\n{table}" if first < 0 else f"{text[:first]}\n{table}{text[first:]}"
        write_atomic(path, text.encode())
        listener(Note("index", f"{path}: [expect] says now what this build took"))


def measured(result: BuildResult, store: Path) -> str:
    """The table: the largest compiler, the CPU time of all, and room for environment, sources and objects."""
    from wheelsmith.compile.timeline import find_record, read_record

    runs = read_record(find_record(str(result.log), store / "logs"))["runs"]
    peak = max((unit["peak"] for run in runs for unit in run["units"]), default=0)
    seconds = sum(unit["cpu_seconds"] for run in runs for unit in run["units"])
    disk = 12.0 if result.plan.target.torch else 3.0
    disk += 4 * result.record["wheel"]["size"] / 1e9
    where = f"{result.plan.target.archs}, CUDA {result.plan.target.cuda}"
    return (
        f"[expect] # measured: {where}\n"
        f"memory_gb = {max(0.1, math.ceil(peak / 1e8) / 10):g}\n"
        f"disk_gb = {math.ceil(disk)}\n"
        f"cpu_minutes = {max(0.1, math.ceil(seconds / 6) / 10):g}\n"
    )
