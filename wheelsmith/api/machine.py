"""What this machine has, and the GPUs that wheelsmith knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wheelsmith.api.building import plan
from wheelsmith.api.defaults import PathLike, store_root

if TYPE_CHECKING:
    from wheelsmith.compile.checks import Check
    from wheelsmith.gpu.facts import Gpu
    from wheelsmith.planning.model import Plan


def doctor(what: str | Plan | None = None, *, store: PathLike | None = None, **target: Any) -> tuple[Check, ...]:
    """What this machine has, against what a build of `what` needs (None: any build)."""
    from wheelsmith.compile.preflight import preflight

    made = plan(what, **target) if isinstance(what, str) else what
    return preflight(made, store_root(store))


def gpus() -> tuple[Gpu, ...]:
    """Every GPU that wheelsmith knows by name."""
    from wheelsmith.gpu.facts import all_gpus

    return all_gpus()
