"""What travels to a worker: a plan with all that proves it, and how to build. Nothing secret is in it.

In: a `Plan`, and settings of the coordinator. Out: `PlanTask`, which a worker turns into the same plan, digest and all,
or refuses with `VerificationError`. Where the index and the cache are travels; who may write there does not: a worker
has credentials and the cache's key in its own environment.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from wheelsmith.builder.model import Settings
from wheelsmith.errors import UsageError, VerificationError
from wheelsmith.planning.model import Plan
from wheelsmith.planning.planfile import read_plan
from wheelsmith.store import Store, write_atomic


@dataclass(frozen=True, slots=True)
class Way:
    """How workers build. None: as each worker's own environment says.

    Attributes:
        index: where finished wheels are published.
        cache: where objects are shared: a directory or a URL without credentials.
        store: directory of the store, on every worker.
        jobs: compilers at once on each worker.
        toolkit: as for a build.
        offline: fetch nothing.
        index_url: of the package index.
        require_isolation: refuse a worker that confines nothing.
    """

    index: str
    cache: str | None = None
    store: str | None = None
    jobs: int | None = None
    toolkit: str = "auto"
    offline: bool = False
    index_url: str | None = None
    require_isolation: bool = False

    def settings(self, environment: dict[str, str]) -> Settings:
        """The same for one build on a worker with these variables."""
        from wheelsmith.config import load_config

        config = load_config()
        return Settings(
            self.index,
            self.jobs,
            self.offline,
            self.index_url or environment.get("WHEELSMITH_INDEX_URL"),
            self.toolkit,
            mirrors=config.mirrors,
            torch_index=environment.get("WHEELSMITH_TORCH_INDEX"),
            cache=self.cache or environment.get("WHEELSMITH_CACHE"),
            require_isolation=self.require_isolation or config.require_isolation,
        )


@dataclass(frozen=True, slots=True)
class PlanTask:
    """A plan as text, its digest and lock, and its recipe byte for byte, which is whose objects it may take. `run`: who
    hears of it."""

    run: str
    cell: str
    plan: str
    digest: str
    lock: str | None
    recipe: bytes
    recipe_sha256: str


def pack(run: str, cell: str, plan: Plan) -> PlanTask:
    """Make a plan ready to travel.

    Raises:
        UsageError: its recipe cannot be read.
    """
    try:
        recipe = Path(plan.recipe).read_bytes()
    except OSError as error:
        raise UsageError(f"The recipe {plan.recipe} cannot be read: {error.strerror}.", "Check the file.") from error
    text = json.dumps(plan.to_dict())
    return PlanTask(run, cell, text, plan.digest, plan.lock, recipe, hashlib.sha256(recipe).hexdigest())


def unpack(task: PlanTask, store: Store) -> Plan:
    """The plan, verified; its recipe is a file of this machine's store now.

    Raises:
        VerificationError: the plan or the recipe is not what its digest says.
    """
    if hashlib.sha256(task.recipe).hexdigest() != task.recipe_sha256:
        raise VerificationError(f"The recipe of {task.cell} has another digest.", "Send it again.")
    plan = read_plan(json.loads(task.plan), task.digest, task.lock)
    place = store.place("recipes", f"{task.recipe_sha256}.toml")
    if not place.is_file() or place.read_bytes() != task.recipe:
        write_atomic(place, task.recipe)
    return replace(plan, recipe=str(place))
