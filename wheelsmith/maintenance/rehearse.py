"""Would a recipe's patches match another version of the source? Tried on a copy, in order.

In: a recipe and the directories of the source and its trees. Out: one `Rehearsed` for each patch. The directories are
changed by the patches that a build would apply, as later ones may build on them: give copies. Nothing can fail: that a
patch does not match is the answer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from wheelsmith.errors import PatchError
from wheelsmith.planning.model import DiffPatch, EditPatch
from wheelsmith.sources.patches import apply, changed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wheelsmith.documents.recipes import PatchFacts
    from wheelsmith.planning.model import Patch
    from wheelsmith.recipe.loader import LoadedRecipe
    from wheelsmith.recipe.schema import OptionTable, PatchTable


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

    def to_dict(self) -> PatchFacts:
        """JSON-ready form."""
        return cast("PatchFacts", asdict(self))


def rehearse(
    loaded: LoadedRecipe, wanted: Mapping[int, bool], source: Path, trees: Mapping[str, Path | str]
) -> tuple[Rehearsed, ...]:
    """Try every patch of a recipe.

    Those that a build would apply are applied, in order. The others (for other versions, or for an option that is not
    on by default) are tried on the files as they came, and leave no trace: two may be for the same line.

    Args:
        loaded: the recipe.
        wanted: for the position of each patch, whether it is meant for the new version.
        source: a copy of the new source.
        trees: a copy of each tree that can be had, by its name, or the reason why it cannot.
    """
    options = loaded.recipe.options
    tables = tuple(enumerate(loaded.recipe.patch))
    built = {index for index, table in tables if wanted[index] and _by_default(table.when, options)}
    result: dict[int, Rehearsed] = {}
    for index, table in sorted(tables, key=lambda item: item[0] in built):
        what = table.diff or table.file or ""
        place = source if table.tree is None else trees.get(table.tree, f"the tree {table.tree} is not in the closure")
        matches, problem = (None, place) if isinstance(place, str) else _try(loaded, table, place, index in built)
        result[index] = Rehearsed(what, table.tree, table.why, wanted[index], matches, problem)
    return tuple(result[index] for index, _ in tables)


def _by_default(when: str | None, options: Mapping[str, OptionTable]) -> bool:
    return when is None or options[when.removeprefix("!")].default is not when.startswith("!")


def _patch(loaded: LoadedRecipe, table: PatchTable) -> Patch:
    if table.diff is not None:
        return DiffPatch("", table.diff, loaded.diffs[table.diff], table.why)
    return EditPatch("", table.file or "", table.find or "", table.replace or "", table.count, table.why)


def _try(loaded: LoadedRecipe, table: PatchTable, root: Path, keep: bool) -> tuple[bool, str]:
    try:
        (apply if keep else changed)(_patch(loaded, table), root)
    except PatchError as error:
        return False, f"{error.cause}\n{error.detail}".strip()
    return True, ""
