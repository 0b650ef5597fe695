"""What a machine must have before hours are spent, with the numbers needed and found.

In: a plan and a store. Out: a list of `Check`. It raises nothing itself: a caller that wants to stop raises the error
that the failed check carries.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wheelsmith.compile.memory import GB, available_memory
from wheelsmith.compile.sandbox import isolation_here
from wheelsmith.errors import DiskFullError, NoCompilerError, PythonNotFoundError, ToolkitError, WheelsmithError
from wheelsmith.plan import Plan
from wheelsmith.toolchain import find_host_compiler, find_interpreter, find_toolkits, pick_toolkit


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `wheelsmith doctor`. `ok` is None where it is only information."""

    name: str
    found: str
    needed: str = ""
    ok: bool | None = None
    error: WheelsmithError | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        remedy = self.error.remedy if self.error else ""
        return {
            "name": self.name,
            "found": self.found,
            "needed": self.needed,
            "ok": self.ok,
            "remedy": remedy,
        }


def preflight(plan: Plan | None, store_root: Path) -> tuple[Check, ...]:
    """Look at everything that a build of `plan` (None: any build) needs from the machine."""
    return (
        _compiler(),
        _program("git", "Install it: `apt-get install git` on Debian and Ubuntu."),
        _python(plan),
        _toolkits(plan),
        _disk(plan, store_root),
        _memory(plan),
        Check("isolation", str(isolation_here())),
        _gpu(),
    )


def _compiler() -> Check:
    try:
        compiler = find_host_compiler()
    except NoCompilerError as error:
        return Check("C++ compiler", "none", "g++", False, error)
    return Check("C++ compiler", f"{compiler.path}: {compiler.version}", "g++", True)


def _program(name: str, remedy: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, "none", "on PATH", False, NoCompilerError(f"There is no {name} on PATH.", remedy))
    return Check(name, path, "on PATH", True)


def _python(plan: Plan | None) -> Check:
    if plan is None:
        from wheelsmith.toolchain.python import running_python

        return Check("Python", running_python())
    try:
        found = find_interpreter(plan.target.python)
    except PythonNotFoundError as error:
        return Check("Python", "none", f"{plan.target.python} with headers", False, error)
    return Check("Python", f"{found.version} ({found.executable})", f"{plan.target.python} with headers", True)


def _toolkits(plan: Plan | None) -> Check:
    if plan is None:
        found = ", ".join(f"{t.release} in {t.root} ({t.origin})" for t in find_toolkits()) or "none installed"
        return Check("CUDA toolkit", found)
    try:
        picked = pick_toolkit(plan.target.cuda, math=plan.target.torch is not None, choice="auto")
    except ToolkitError as error:
        return Check("CUDA toolkit", error.cause.rstrip("."), plan.target.cuda, False, error)
    found = f"{picked.release} in {picked.root} ({picked.origin})" if picked else "none; assembled from NVIDIA's wheels"
    return Check("CUDA toolkit", found, plan.target.cuda, True)


def _disk(plan: Plan | None, store_root: Path) -> Check:
    place = store_root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / GB
    if plan is None:
        return Check("disk", f"{free:.1f} GB free for {store_root}")
    need = plan.expect.disk_gb
    if free >= need:
        return Check("disk", f"{free:.1f} GB free for {store_root}", f"{need:g} GB", True)
    error = DiskFullError(
        f"{store_root} has {free:.1f} GB free; {plan.name} {plan.version} needs about {need:g} GB.",
        "Free some space, or put the store elsewhere with --store or WHEELSMITH_STORE.",
    )
    return Check("disk", f"{free:.1f} GB free for {store_root}", f"{need:g} GB", False, error)


def _memory(plan: Plan | None) -> Check:
    free = available_memory() / GB
    if plan is None:
        return Check("memory", f"{free:.1f} GB available")
    # Too little is a warning, not an error: swap may carry it, and the figure is an upper estimate.
    return Check("memory", f"{free:.1f} GB available", f"{plan.expect.memory_gb:g} GB a compiler")


def _gpu() -> Check:
    version = Path("/proc/driver/nvidia/version")
    if not version.is_file():
        return Check("GPU driver", "none (not needed for building)")
    return Check("GPU driver", version.read_text().splitlines()[0])
