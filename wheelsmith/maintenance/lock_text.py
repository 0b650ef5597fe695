"""Change the pins in a recipe's text and nothing else: comments, order and line ends stay.

In: the text of a recipe, its model, and a `Lock`. Out: the new text. Pins that other releases share are not changed for
them: the table is limited by `versions`, and one beside it serves the new version. Fails with `RecipeError` if the text
is written in a way that cannot be changed line by line; the result is read again before it is handed out.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import msgspec
from msgspec import ValidationError
from packaging.version import Version

from wheelsmith.errors import RecipeError
from wheelsmith.maintenance.lock import Lock, LockedTree, quoted, same_place
from wheelsmith.recipe.schema import Recipe
from wheelsmith.recipe.texts import Url, applies
from wheelsmith.schema import read
from wheelsmith.tomlfile import line_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_BY_HAND = "Change the recipe by hand: `wheelsmith recipes lock` prints the tables."


def with_lock(text: str, recipe: Recipe, lock: Lock, *, moved: bool = False) -> str:
    """The recipe's text with every pin that the lock changes.

    `moved`: a tree may come from another place now, and one whose commit was not found out loses the one it had.

    Raises:
        RecipeError: a commit was not found out, or the text cannot be changed line by line.
    """
    unknown = [tree.name for tree in lock.changes if tree.commit is None and tree.state != "gone"]
    if unknown and not moved:
        raise RecipeError(
            f"The commits of {', '.join(unknown)} are not known, so they cannot be pinned.",
            "Run it without --offline, where upstream or a mirror can be asked.",
        )
    editor = _Editor(text, recipe, lock.version, moved=moved)
    for tree in reversed([tree for tree in lock.changes if tree.index is None]):
        editor.insert(tree)
    for tree in sorted(lock.changes, key=lambda tree: tree.index or 0, reverse=True):
        if tree.index is not None:
            editor.change(tree, tree.index)
    result = "\n".join(editor.lines)
    _compare(recipe, _checked(result), lock)
    return result


def with_release(text: str, version: str, source: str) -> str:
    """The recipe's text with a release added at its end; `source` is the table's body behind `source.`, as text."""
    result = f'{text.rstrip()}\n\n[releases."{version}".source.{source}\n'
    _checked(result)
    return result


class _Editor:
    """Works from the last table to the first, so that the positions found in the text stay true."""

    def __init__(self, text: str, recipe: Recipe, version: str, *, moved: bool) -> None:
        self._text, self._recipe, self._version, self._moved = text, recipe, version, moved
        self.lines = text.split("\n")

    def change(self, tree: LockedTree, index: int) -> None:
        """Change, double or remove the table `index`."""
        table = self._recipe.tree[index]
        others = [v for v in self._recipe.releases if v != self._version and applies(table.versions, v)]
        first, last = self._block(index)
        if not others:
            if tree.state == "gone":
                del self.lines[first : last + 1]
            else:
                self._set_commit(tree, index, first)
            return
        theirs, ours = halves(table.versions, self._version, others)
        copy = [] if tree.state == "gone" else ["", *self.lines[first : last + 1]]
        self.lines[last + 1 : last + 1] = copy
        if copy:
            self._set_commit(tree, index, last + 2)
            self._set_versions(index, last + 2, ours)
        self._set_versions(index, first, theirs)

    def insert(self, tree: LockedTree) -> None:
        """Put a new table behind the last one."""
        others = [v for v in self._recipe.releases if v != self._version]
        versions = halves(None, self._version, others)[1] if others else None
        if self._recipe.tree:
            at = self._block(len(self._recipe.tree) - 1)[1] + 1
        else:
            at = next((n for n, line in enumerate(self.lines) if line.startswith("[releases")), len(self.lines))
        table = tree.table(versions).split("\n")
        self.lines[at:at] = ["", *table] if self._recipe.tree else [*table, ""]

    def _block(self, index: int) -> tuple[int, int]:
        """First and last line (from 0) of a [[tree]] table, without the comments that belong to what follows."""
        first = line_of(self._text, ("tree", index)) - 1
        if not re.match(r"\s*\[\[\s*tree\s*\]\]", self.lines[first]):
            raise RecipeError(f"The tree {self._recipe.tree[index].name!r} is not written as [[tree]].", _BY_HAND)
        total = self._text.count("\n") + 1
        following = [line_of(self._text, ("tree", index + 1)) - 1] if index + 1 < len(self._recipe.tree) else []
        headers = (n for n in range(first + 1, total) if re.match(r"\[(?!\s*tree\s*\.)", self.lines[n]))
        last = min([*following, next(headers, total)]) - 1
        while last > first and (not self.lines[last].strip() or self.lines[last].lstrip().startswith("#")):
            last -= 1
        return first, last

    def _set_commit(self, tree: LockedTree, index: int, first: int) -> None:
        offset = first - self._block_start(index)
        old = self._recipe.tree[index].git
        at, offset = self._pinned(tree, index, offset)
        if old is not None and not same_place(old.url, tree.url):
            line = line_of(self._text, ("tree", index, "git", "url")) - 1 + offset
            if self._moved and quoted(old.url) in self.lines[line]:
                self.lines[line] = self.lines[line].replace(quoted(old.url), quoted(tree.url))
                old = msgspec.structs.replace(old, url=Url(tree.url))
        if old is not None and not same_place(old.url, tree.url):
            raise RecipeError(f"The tree {tree.name!r} comes from {tree.url} now, no longer from {old.url}.", _BY_HAND)
        if old is None or old.tag == tree.tag:
            return
        if old.tag is not None:
            line = line_of(self._text, ("tree", index, "git", "tag")) - 1 + offset
            assignment = re.compile(rf"\btag\s*=\s*{re.escape(quoted(old.tag))},?\s*")
            new = "" if tree.tag is None else f"tag = {quoted(tree.tag)}"
            self.lines[line] = assignment.sub(new, self.lines[line])
            if not self.lines[line].strip():
                del self.lines[line]
        elif self.lines[at].lstrip().startswith(("commit", "url")):
            self.lines.insert(at + 1, f"tag = {quoted(tree.tag or '')}")

    def _pinned(self, tree: LockedTree, index: int, offset: int) -> tuple[int, int]:
        """Write the commit; the line that it stands on (or would), and how far what follows has moved."""
        key = "url" if tree.was is None else "commit"  # the first time that somebody asks, there is none
        at = line_of(self._text, ("tree", index, "git", key)) - 1 + offset
        alone = self.lines[at].lstrip().startswith(key)
        if tree.was is None and tree.commit is not None and alone:
            self.lines.insert(at + 1, f"commit = {quoted(tree.commit)}")
            return at + 1, offset + 1
        if tree.was is not None and tree.commit is not None and tree.was in self.lines[at]:
            self.lines[at] = self.lines[at].replace(tree.was, tree.commit)
            return at, offset
        if tree.was is not None and tree.commit is None and alone and tree.was in self.lines[at]:
            del self.lines[at]  # known by its tag alone: the old commit must not stay
            return at - 1, offset - 1
        if tree.was is None and tree.commit is None:
            return at, offset
        raise RecipeError(f"The commit of the tree {tree.name!r} is not on a line of its own.", _BY_HAND)

    def _set_versions(self, index: int, first: int, versions: str) -> None:
        offset = first - self._block_start(index)
        if self._recipe.tree[index].versions is None:
            at = line_of(self._text, ("tree", index, "name")) - 1 + offset
            self.lines.insert(at + 1, f"versions = {quoted(versions)}")
            return
        at = line_of(self._text, ("tree", index, "versions")) - 1 + offset
        self.lines[at] = re.sub(
            r"""(versions\s*=\s*)(?:"[^"]*"|'[^']*')""", rf"\g<1>{quoted(versions)}", self.lines[at]
        )

    def _block_start(self, index: int) -> int:
        return line_of(self._text, ("tree", index)) - 1


def halves(versions: str | None, version: str, others: Sequence[str]) -> tuple[str, str]:
    """`versions` for the other releases, and for this one."""
    now, rest = Version(version), [Version(other) for other in others]
    if now > max(rest):
        theirs, ours = f"<{version}", f">={version}"
    elif now < min(rest):
        theirs, ours = f">={min(rest)}", f"<{min(rest)}"
    else:
        theirs, ours = f"!={version}", f"=={version}"
    if not versions:
        return theirs, ours
    # A lower bound that says nothing more is left away.
    kept = [part for part in versions.split(",") if not (ours.startswith(">=") and part.strip().startswith(">="))]
    return f"{versions},{theirs}", ",".join((*kept, ours))


def _compare(before: Recipe, after: Recipe, lock: Lock) -> None:
    """The new version has what the lock says, and every other release has what it had."""

    def pins(recipe: Recipe, version: str) -> set[tuple[str, str | None, str]]:
        tables = (table for table in recipe.tree if applies(table.versions, version) and table.git is not None)
        return {(table.name, table.inside, table.git.commit or "") for table in tables if table.git is not None}

    wanted = pins(before, lock.version)
    for tree in lock.changes:
        wanted = {pin for pin in wanted if pin[:2] != (tree.name, tree.inside or None)}
        wanted |= {(tree.name, tree.inside or None, tree.commit or "")} if tree.state != "gone" else set()
    same = all(pins(before, other) == pins(after, other) for other in before.releases if other != lock.version)
    if not same or pins(after, lock.version) != wanted:
        raise RecipeError("The recipe is written in a way that cannot be changed line by line.", _BY_HAND)


def _checked(text: str) -> Recipe:
    try:
        return read(Recipe, tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise RecipeError(f"The recipe would not be valid any more: {first}.", _BY_HAND) from error
