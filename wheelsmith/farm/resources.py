"""What a machine offers to a farm, and what a plan needs, in the words of Dask's worker resources.

In: this machine; or a plan. Out: quantities by name: `build` (one at a time), `cpus`, `memory`, `disk`, `confined`,
`engine`, and `cuda-13.0` for each toolkit that is there or can be assembled. Nothing can fail.

Source: Dask distributed, "Worker Resources".
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from wheelsmith.planning.model import Plan

_GB = 10**9
#: What a task takes of a thing that is there or not: so little that nobody is kept from it.
_TOUCH = 1e-9


def offered(store: Path, toolkit: str = "auto") -> dict[str, float]:
    """What this machine has. `toolkit`: where the CUDA toolkit shall come from, as for a build."""
    from wheelsmith.compile.memory import available_memory, usable_cpus
    from wheelsmith.compile.sandbox import isolation_here
    from wheelsmith.toolchain.cuda import find_toolkits, inspect_toolkit, versions_in_wheels

    place = store
    while not place.exists():
        place = place.parent
    found: dict[str, float] = {
        "build": 1.0,
        "cpus": float(usable_cpus()),
        "memory": available_memory() / _GB,
        "disk": shutil.disk_usage(place).free / _GB,
    }
    if isolation_here().confined:
        found["confined"] = 1.0
    if any(shutil.which(name) for name in ("docker", "podman", "buildah")):
        found["engine"] = 1.0
    if toolkit not in {"auto", "wheels"}:
        here = inspect_toolkit(Path(toolkit).resolve(), "--toolkit")
        versions = {here.version} if here is not None else set()
    else:
        versions = {one.version for one in find_toolkits()} if toolkit == "auto" else set()
    for version in versions or (versions_in_wheels() if toolkit in {"auto", "wheels"} else ()):
        found[f"cuda-{version}"] = 1.0
    return found


def needed(plan: Plan) -> dict[str, float]:
    """What a build of the plan, or of a part of it, takes."""
    return {
        "build": 1.0,
        "memory": plan.expect.memory_gb,
        "disk": plan.expect.disk_gb,
        "confined": _TOUCH,
        f"cuda-{plan.target.cuda}": _TOUCH,
    }


def lacking(plan: Plan, resources: Mapping[str, float]) -> str:
    """Why a worker cannot take a plan, in words; empty: it can."""
    for name, quantity in needed(plan).items():
        has = resources.get(name, 0.0)
        if has < quantity:
            if name.startswith("cuda-"):
                return f"it has no CUDA toolkit {name[5:]}"
            if name == "confined":
                return "it cannot confine a build, so its objects would be of no use to others"
            if name == "build":
                return "it was not started for wheelsmith"
            return f"it has {has:.1f} GB of {name}, and {quantity:.1f} GB are needed"
    return ""
