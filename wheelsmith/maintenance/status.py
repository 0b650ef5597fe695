"""How each recipe stands to its upstream: what is newest, how far behind it is, what was rehearsed, what blocks.

In: recipes, and who tells the versions of upstream. Out: `RecipeStatus`, JSON-ready. What a rehearsal (`recipes bump`)
found is kept in the store, one file for each recipe. Where upstream cannot be asked, that is the answer; nothing fails.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from packaging.version import InvalidVersion, Version

from wheelsmith.errors import WheelsmithError
from wheelsmith.maintenance.recipe_text import undecided
from wheelsmith.recipe.texts import applies
from wheelsmith.store import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wheelsmith.documents.recipes import RecipeStatusFacts
    from wheelsmith.maintenance.update import Bumps
    from wheelsmith.recipe.loader import LoadedRecipe
    from wheelsmith.store import Store


@dataclass(frozen=True, slots=True)
class RecipeStatus:
    """A recipe against its upstream.

    Attributes:
        name: the package.
        pinned: the newest version that the recipe pins.
        newest: the newest final version of upstream; None: not known.
        behind: versions of upstream that are newer than what is pinned, the oldest first.
        rehearsed: the last version that was rehearsed; None: none was, with this store.
        rehearsed_at: when (ISO 8601, UTC).
        rehearsal: what came of it: a verdict.
        blocks: what keeps the newest pinned version from being built, or the rehearsed one from being taken.
        problem: why upstream is not known; empty: it is.
    """

    name: str
    pinned: str
    newest: str | None
    behind: tuple[str, ...]
    rehearsed: str | None
    rehearsed_at: str | None
    rehearsal: str
    blocks: tuple[str, ...]
    problem: str

    def to_dict(self) -> RecipeStatusFacts:
        """JSON-ready form."""
        facts = asdict(self)
        return cast("RecipeStatusFacts", {**facts, "behind": list(self.behind), "blocks": list(self.blocks)})


def status_of(loaded: LoadedRecipe, text: str, store: Store, upstream: Callable[[], Sequence[str]]) -> RecipeStatus:
    """How a recipe stands.

    Args:
        loaded: the recipe.
        text: its text, for what bump left open in it.
        store: where rehearsals are kept.
        upstream: asks for the final versions, the oldest first.
    """
    pinned = max(loaded.recipe.releases, key=Version)
    versions: Sequence[str] = ()
    problem = ""
    try:
        versions = upstream()
    except WheelsmithError as error:
        problem = error.cause
    behind = tuple(one for one in versions if Version(one) > Version(pinned))
    kept = _kept(loaded.recipe.name, store)
    blocks = [*_unlocked(loaded, pinned), *(line.removeprefix("# UNDECIDED").strip() for line in undecided(text))]
    if kept.version in behind:
        blocks += [f"{kept.version}: {said}" for said in kept.open]
    return RecipeStatus(
        loaded.recipe.name,
        pinned,
        versions[-1] if versions else None,
        behind,
        kept.version or None,
        kept.at or None,
        kept.verdict,
        tuple(dict.fromkeys(blocks)),
        problem,
    )


def keep(made: Bumps, store: Store) -> None:
    """Remember what the last step of a rehearsal found."""
    if not made.steps:
        return
    last = made.steps[-1]
    facts = {
        "version": last.version,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": last.verdict,
        "open": [finding.text for finding in last.open],
    }
    write_atomic(store.place("rehearsed", f"{made.name}.json"), json.dumps(facts).encode())


@dataclass(frozen=True, slots=True)
class _Kept:
    version: str = ""
    at: str = ""
    verdict: str = ""
    open: tuple[str, ...] = ()


def _kept(name: str, store: Store) -> _Kept:
    """What `keep` wrote; anything else counts as nothing."""
    with suppress(OSError, ValueError, KeyError, TypeError, InvalidVersion):
        facts = json.loads(store.place("rehearsed", f"{name}.json").read_text("utf-8"))
        Version(facts["version"])
        return _Kept(facts["version"], str(facts["at"]), str(facts["verdict"]), tuple(map(str, facts["open"])))
    return _Kept()


def _unlocked(loaded: LoadedRecipe, version: str) -> list[str]:
    tables = [tree for tree in loaded.recipe.tree if applies(tree.versions, version)]
    return [
        f"{version}: the tree {tree.name} is not locked"
        for tree in tables
        if tree.git is not None and tree.git.commit is None
    ]
