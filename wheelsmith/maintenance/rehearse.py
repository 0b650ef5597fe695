"""Would a recipe's patches match another version of the source? Tried on a copy, in order.

In: a recipe and the directories of the source and its trees. Out: one `Rehearsed` for each patch and each arch list.
The directories are changed by what a build would apply, as later ones may build on it: give copies. Nothing can fail:
that a patch does not match is the answer. What is skipped by its `versions` is tried on the result: its target may
still be there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, cast

from wheelsmith.errors import PatchError
from wheelsmith.planning.materials import arch_patch
from wheelsmith.planning.model import DiffPatch, EditPatch
from wheelsmith.recipe.texts import applies
from wheelsmith.sources.patches import apply, changed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wheelsmith.documents.recipes import PatchFacts
    from wheelsmith.planning.model import Patch
    from wheelsmith.recipe.changes import ArchListTable
    from wheelsmith.recipe.loader import LoadedRecipe
    from wheelsmith.recipe.schema import OptionTable, PatchTable

#: Of the telling lines of a patch that is for other versions, the share that makes one look.
_MOST_OF_IT = 0.5
_TELLING = 3  # characters: a bracket alone tells nothing


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
        skipped: its `versions` leave the new version out although what it changes is still there; then `matches` says
            whether it would match.
        note: one more sentence, or empty: upstream does by itself what an arch list asks for.
    """

    what: str
    tree: str | None
    why: str
    wanted: bool
    matches: bool | None
    problem: str
    skipped: bool = False
    note: str = ""

    def to_dict(self) -> PatchFacts:
        """JSON-ready form."""
        return cast("PatchFacts", asdict(self))


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How the patches and the arch lists of a recipe fare, in its order."""

    patches: tuple[Rehearsed, ...]
    lists: tuple[Rehearsed, ...]


def rehearse(
    loaded: LoadedRecipe, version: str, source: Path, trees: Mapping[str, Path | str], cuda: str | None = None
) -> Rehearsal:
    """Try every patch and every arch list of a recipe.

    Those that a build would apply are applied, in order. The others (for other versions, or for an option that is not
    on by default) are tried on the files as they came, and leave no trace: two may be for the same line.

    Args:
        loaded: the recipe.
        version: the new version.
        source: a copy of the new source.
        trees: a copy of each tree that can be had, by its name, or the reason why it cannot.
        cuda: the toolkit; default: the recipe's for this version.
    """
    recipe = loaded.recipe
    cuda = cuda or recipe.at(version).defaults.cuda

    def place_of(tree: str | None) -> Path | str:
        return source if tree is None else trees.get(tree, f"the tree {tree} is not in the closure")

    def wanted(table: PatchTable | ArchListTable) -> bool:
        return applies(table.versions, version)

    def is_built(table: PatchTable | ArchListTable) -> bool:
        return wanted(table) and _by_default(table.when, recipe.options)

    found: dict[int, Rehearsed] = {}
    for index, table in sorted(enumerate(recipe.patch), key=lambda item: is_built(item[1])):
        place, what = place_of(table.tree), table.diff or table.file or ""
        if isinstance(place, str):
            found[index] = Rehearsed(what, table.tree, table.why, wanted(table), None, place)
            continue
        matches, problem = _try(_patch(loaded, table), place, is_built(table))
        found[index] = Rehearsed(what, table.tree, table.why, wanted(table), matches, problem)
    lists = []
    for item in recipe.arch_list:
        place, what = place_of(item.tree), f"{item.variable} in {item.file}"
        if isinstance(place, str):
            lists.append(Rehearsed(what, item.tree, item.why, wanted(item), None, place))
            continue
        edit = arch_patch(item, cuda, "")
        matches, problem = _try(edit, place, False)
        note = ""
        if matches and not changed(edit, place):
            note = "upstream says by itself what it asks for: it can go."
        if is_built(item) and applies(item.cuda, cuda):
            _try(edit, place, True)
        lists.append(Rehearsed(what, item.tree, item.why, wanted(item), matches, problem, note=note))
    for index, table in enumerate(recipe.patch):
        place = place_of(table.tree)
        if not wanted(table) and not isinstance(place, str):
            found[index] = _skipped(found[index], _patch(loaded, table), place)
    return Rehearsal(tuple(found[index] for index in range(len(found))), tuple(lists))


def _skipped(outcome: Rehearsed, patch: DiffPatch | EditPatch, root: Path) -> Rehearsed:
    """The outcome of a patch for other versions, held against the files as a build would leave them."""
    there, total = _target(patch, root)
    matches, problem = _try(patch, root, False)
    if not matches and (not total or there / total < _MOST_OF_IT):
        return outcome
    note = "" if matches else f"{there} of the {total} lines that it takes out are there. {problem.splitlines()[0]}"
    return replace(outcome, skipped=True, matches=matches, problem=problem, note=note)


def _target(patch: DiffPatch | EditPatch, root: Path) -> tuple[int, int]:
    """How many of the telling lines that a patch takes out are in its files, and how many there are."""
    if isinstance(patch, EditPatch):
        wanted = {patch.file: patch.find.splitlines()}
    else:
        wanted = {}
        file = ""
        for line in patch.text.splitlines():
            if line.startswith("--- "):
                file = line[4:].split("\t")[0].partition("/")[2]
            elif line.startswith("-"):
                wanted.setdefault(file, []).append(line[1:])
    there = total = 0
    for file, lines in wanted.items():
        path = root / file
        text = path.read_text("utf-8", "replace") if path.is_file() and not path.is_symlink() else ""
        have = {line.strip() for line in text.splitlines()}
        telling = {line.strip() for line in lines if len(line.strip()) > _TELLING}
        total += len(telling)
        there += sum(line in have or (isinstance(patch, EditPatch) and line in text) for line in telling)
    return there, total


def _by_default(when: str | None, options: Mapping[str, OptionTable]) -> bool:
    return when is None or options[when.removeprefix("!")].default is not when.startswith("!")


def _patch(loaded: LoadedRecipe, table: PatchTable) -> DiffPatch | EditPatch:
    if table.diff is not None:
        return DiffPatch("", table.diff, loaded.diffs[table.diff], table.why)
    return EditPatch("", table.file or "", table.find or "", table.replace or "", table.count, table.why)


def _try(patch: Patch, root: Path, keep: bool) -> tuple[bool, str]:
    try:
        (apply if keep else changed)(patch, root)
    except PatchError as error:
        return False, f"{error.cause}\n{error.detail}".strip()
    return True, ""
