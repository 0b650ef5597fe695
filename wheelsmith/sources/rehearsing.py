"""Would a recipe's patches match another version of the source? Tried on a copy, in order, each for itself.

In: a recipe and the directories of the source and its trees. Out: one `Rehearsed` for each patch. The directories are
changed by the patches that match, as later ones may build on them: give copies. Nothing can fail: that a patch does not
match is the answer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from wheelsmith.errors import PatchError
from wheelsmith.plan import DiffPatch, EditPatch
from wheelsmith.sources.patches import apply

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wheelsmith.plan import Patch
    from wheelsmith.recipe import LoadedRecipe
    from wheelsmith.recipe.schema import PatchTable


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How a patch fares.

    Attributes:
        what: the diff's or the file's name.
        tree: the tree that it patches; None: the package itself.
        why: the recipe's reason for it.
        wanted: whether the recipe's `versions` means it for the new version.
        matches: whether it matches exactly; None: not tried.
        problem: why it does not match, or was not tried, with the nearest place in the file.
    """

    what: str
    tree: str | None
    why: str
    wanted: bool
    matches: bool | None
    problem: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def rehearse(
    loaded: LoadedRecipe, wanted: Mapping[int, bool], source: Path, trees: Mapping[str, Path | str]
) -> tuple[Rehearsed, ...]:
    """Try every patch of a recipe.

    Args:
        loaded: the recipe.
        wanted: for the position of each patch, whether it is meant for the new version.
        source: a copy of the new source.
        trees: a copy of each tree that can be had, by its name, or the reason why it cannot.
    """
    result = []
    for index, table in enumerate(loaded.recipe.patch):
        what = table.diff or table.file or ""
        place = source if table.tree is None else trees.get(table.tree, f"the tree {table.tree} is not in the closure")
        matches, problem = (None, place) if isinstance(place, str) else _try(_patch(loaded, table), place)
        result.append(Rehearsed(what, table.tree, table.why, wanted[index], matches, problem))
    return tuple(result)


def _patch(loaded: LoadedRecipe, table: PatchTable) -> Patch:
    if table.diff is not None:
        return DiffPatch("", table.diff, loaded.diffs[table.diff], table.why)
    return EditPatch("", table.file or "", table.find or "", table.replace or "", table.count, table.why)


def _try(patch: Patch, root: Path) -> tuple[bool, str]:
    try:
        apply(patch, root)
    except PatchError as error:
        return False, f"{error.cause}\n{error.detail}".strip()
    return True, ""
