"""What this machine has, and what wheelsmith knows: recipes and GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wheelsmith.door.building import plan
from wheelsmith.door.common import PathLike, book, store_root

if TYPE_CHECKING:
    from wheelsmith.compile import Check
    from wheelsmith.gpu import Gpu
    from wheelsmith.plan import Plan
    from wheelsmith.recipe import LoadedRecipe


def doctor(what: str | Plan | None = None, *, store: PathLike | None = None, **target: Any) -> tuple[Check, ...]:
    """What this machine has, against what a build of `what` needs (None: any build)."""
    from wheelsmith.compile import preflight

    made = plan(what, **target) if isinstance(what, str) else what
    return preflight(made, store_root(store))


def recipes(*, recipes: Sequence[PathLike] = ()) -> tuple[LoadedRecipe, ...]:
    """Every recipe that is found, by name."""
    from wheelsmith.recipe import load_recipe

    return tuple(load_recipe(path) for path in book(recipes).names().values())


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of a recipe file."""
    from wheelsmith.recipe import json_schema

    return json_schema()


def gpus() -> tuple[Gpu, ...]:
    """Every GPU that wheelsmith knows by name."""
    from wheelsmith.gpu import all_gpus

    return all_gpus()
