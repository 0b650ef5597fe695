"""What a project's build would fetch, against what its recipe pins.

In: a recipe, a version, the directory of that version's source, and somebody who asks upstream. Out: a `Lock`: every
tree with its commit, how it stands to the recipe, and what could not be found out. Nothing is written. Fails with
`SourceError`, as asking does. Offline, nobody asks: tags are compared by name, and submodules are not looked at; so it
is with a host that cannot be reached, and with that tree alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, cast

from wheelsmith.cmake.trees import Declared, read_trees
from wheelsmith.errors import NetworkError, OfflineError
from wheelsmith.recipe.texts import applies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wheelsmith.documents.recipes import LockDocument, LockedTreeFacts
    from wheelsmith.recipe.schema import GitTable, Recipe, TreeTable

SCHEMA_VERSION = 1

#: Folders whose scripts a build runs, by custom.
_SCRIPTS = ("cmake", "csrc", "scripts")
_CLONE = re.compile(r"""\bgit["',\s]+(?:clone|submodule["',\s]+update)\b""")

T = TypeVar("T")
State = Literal["same", "changed", "new", "gone", "left out", "not checked"]


class Inner(Protocol):
    """A submodule: its path, where it comes from, and its commit."""

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def url(self) -> str: ...  # noqa: D102
    @property
    def commit(self) -> str: ...  # noqa: D102


class Asks(Protocol):
    """Asks upstream."""

    def commit_of(self, url: str, ref: str) -> str:
        """The commit that a tag or branch is now."""

    def submodules(self, url: str, commit: str, tag: str | None = None) -> Sequence[Inner]:
        """The submodules of a commit."""


def quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class LockedTree:
    """A tree that the build would fetch, and how the recipe has it.

    Attributes:
        name: its name in the recipe, or the one that it would get.
        state: `same`; `changed`: the recipe pins something else; `new`: the recipe lacks it; `gone`: the project does
            not fetch it any more; `left out`: a submodule that the recipe leaves out on purpose; `not checked`.
        url: where it comes from.
        commit: what the project wants; None: not found out.
        tag: the tag or branch that the project names instead of a commit.
        was: the commit of the recipe; None: the recipe has none.
        inside: where a submodule belongs, `TREE/path`; empty for a tree of its own.
        env: variables that would hand it over, for a new tree.
        sparse: directories that would do, for a new tree.
        where: the place in the project that says so.
        note: one more sentence, or empty.
        index: position among the recipe's [[tree]] tables; None: it has no table.
    """

    name: str
    state: State
    url: str
    commit: str | None
    tag: str | None
    was: str | None
    inside: str
    env: tuple[tuple[str, str], ...]
    sparse: tuple[str, ...]
    where: str
    note: str
    index: int | None

    def table(self, versions: str | None = None) -> str:
        """The `[[tree]]` table of a tree, as text."""
        lines = ["[[tree]]", f"name = {quoted(self.name)}"]
        if versions:
            lines.append(f"versions = {quoted(versions)}")
        if self.inside:
            lines.append(f"inside = {quoted(self.inside)}")
        if self.env:
            inner = ", ".join(f"{name} = {quoted(value)}" for name, value in self.env)
            lines.append(f"env = {{ {inner} }}")
        lines += ["[tree.git]", f"url = {quoted(self.url)}"]
        if self.commit:
            lines.append(f"commit = {quoted(self.commit)}")
        if self.tag:
            lines.append(f"tag = {quoted(self.tag)}")
        if self.sparse:
            lines.append(f"sparse = [{', '.join(map(quoted, self.sparse))}]")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Lock:
    """Every tree of a version, in the order of the project's files."""

    name: str
    version: str
    trees: tuple[LockedTree, ...]
    warnings: tuple[str, ...]
    unseen: tuple[str, ...] = ()  # new or changed trees whose submodules could not be looked at
    links: tuple[tuple[str, str], ...] = ()  # variables that make a link of a tree, and what -D hands it over without
    unreached: tuple[str, ...] = ()  # why a host could not be asked, a sentence for each tree or submodule
    lacking: tuple[str, ...] = ()  # submodules, TREE/path, that the project names and the recipe lacks

    @property
    def changes(self) -> tuple[LockedTree, ...]:
        """What the recipe would have to change."""
        return tuple(tree for tree in self.trees if tree.state in {"changed", "new", "gone"})

    def to_dict(self) -> LockDocument:
        """JSON-ready form."""
        trees = [{**asdict(tree), "env": dict(tree.env)} for tree in self.trees]
        for tree in trees:
            del tree["index"]
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "version": self.version,
            "trees": cast("list[LockedTreeFacts]", trees),
            "warnings": list(self.warnings),
        }


def lock_trees(
    recipe: Recipe,
    version: str,
    project: Path,
    *,
    ask: Asks | None,
    submodules: Sequence[Inner] | None,
    given: Mapping[str, str] | None = None,
) -> Lock:
    """Compare what a project would fetch with the trees that its recipe has for this version.

    Args:
        recipe: the recipe.
        version: the version whose source `project` is; the recipe need not pin it.
        project: the directory of the source.
        ask: asks upstream; None: offline.
        submodules: those of the source itself; None: not known.
        given: CMake variables, as -D would set them.

    Raises:
        SourceError: as asking does, or there is no CMakeLists.txt to read.
    """
    return _Locking(recipe, version, ask).lock(project, submodules, given or {})


class _Locking:
    def __init__(self, recipe: Recipe, version: str, ask: Asks | None) -> None:
        self._recipe, self._version, self._ask = recipe, version, ask
        self._left = {index: table for index, table in enumerate(recipe.tree) if applies(table.versions, version)}
        self._warnings: list[str] = []
        self._unseen: list[str] = []
        self._lacking: list[str] = []
        self._unreached: dict[str, str] = {}  # by URL
        self._links: list[tuple[str, str]] = []

    def lock(self, project: Path, submodules: Sequence[Inner] | None, given: Mapping[str, str]) -> Lock:
        trees: list[LockedTree] = []
        if (project / "CMakeLists.txt").is_file():
            reading = read_trees(project, given)
            self._warnings += reading.warnings
            for declared in reading.trees:
                trees += self._declared(declared)
        if submodules is not None:
            trees += self._inner("source", submodules, pinned=False, sparse=())
        self._warnings += _cloning(project)
        if submodules is None and (project / ".gitmodules").is_file():
            self._warnings.append(".gitmodules: the source is no git checkout, so its submodules' commits are unknown.")
        trees += [self._gone(index, table) for index, table in self._left.items()]
        unreached = tuple(dict.fromkeys(self._unreached.values()))
        warnings = (*self._warnings, *unreached)
        unseen, links = tuple(self._unseen), tuple(self._links)
        lacking = tuple(self._lacking)
        return Lock(self._recipe.name, self._version, tuple(trees), warnings, unseen, links, unreached, lacking)

    def _hear(self, url: str, question: Callable[[Asks], T]) -> T | None:
        """The answer; None: nobody may be asked, or nobody answers there. A host is tried once for each URL."""
        if self._ask is None or url in self._unreached:
            return None
        try:
            return question(self._ask)
        except NetworkError as error:
            self._unreached[url] = error.cause
        except OfflineError:
            pass
        return None

    def _why(self, url: str) -> str:
        return "not reached" if url in self._unreached else "offline"

    def _declared(self, declared: Declared) -> Iterator[LockedTree]:
        if declared.archive:
            digest = f", sha256 {declared.sha256}" if declared.sha256 else ""
            self._warnings.append(
                f"{declared.where}: {declared.name} is an archive, {declared.url}{digest}: pin it by hand."
            )
            return
        index, table = self._table_of(declared)
        self._links += [(name, declared.defines[-1]) for name in declared.env if name in declared.linked]
        git = None if table is None else table.git
        url = _spelled(declared.url, git)
        commit, note = self._commit(declared, table, url)
        was = None if git is None else git.commit
        tag = None if declared.commit else declared.ref
        state: State = "new" if table is None else "same" if commit == was else "changed"
        if table is not None and git is None:
            state, note = "not checked", "the recipe has it as an archive"
        elif commit is None and table is not None and (was is None or declared.ref is None):
            state = "not checked"
        if state == "changed" and git is not None and tag and git.tag == tag:
            note = f"the tag {tag} was another commit when it was locked: somebody moved it" if commit else note
        if git is not None and url != git.url:
            note = "; ".join(filter(None, (note, f"the recipe has it from {git.url}")))
        name = table.name if table is not None else _plain(declared.name)
        env, sparse = self._handing(declared) if table is None else ((), git.sparse if git else ())
        yield LockedTree(name, state, url, commit, tag, was, "", env, sparse, declared.where, note, index)
        if commit is None or not declared.submodules:
            return
        found = self._hear(url, lambda ask: ask.submodules(url, commit, tag))
        before = self._hear(url, lambda ask: ask.submodules(url, was)) if was and found and state == "changed" else ()
        if found is None:
            if state != "same":
                self._unseen.append(name)
            self._look_for(name, declared)
            yield from self._unchecked(name, self._why(url))
        else:
            known = frozenset(item.path for item in before or ())
            if declared.inner:
                found = [item for item in found if item.path in declared.inner]
            yield from self._inner(name, found, pinned=state == "same", sparse=sparse, before=known)

    def _look_for(self, name: str, declared: Declared) -> None:
        """Submodules that the project names and the recipe has no tree for, where nobody could be asked about them."""
        had = {table.inside for table in self._left.values()}
        for place in (f"{name}/{path}" for path in declared.inner):
            if place not in had:
                self._lacking.append(place)
                self._warnings.append(f"{declared.where}: {place} is fetched as well, and the recipe has no such tree.")

    def _commit(self, declared: Declared, table: TreeTable | None, url: str) -> tuple[str | None, str]:
        """The commit that the project wants, and a note."""
        if declared.commit or declared.ref is None:
            return declared.commit, "" if declared.commit else "the project names no commit and no tag"
        ref = declared.ref
        if found := self._hear(url, lambda ask: ask.commit_of(url, ref)):
            return found, ""
        why = self._why(url)
        if table is not None and table.git is not None and table.git.tag == ref:
            return table.git.commit, f"{why}: {ref} is taken for what the recipe says"
        return None, f"{why}: which commit {ref} is was not asked"

    def _handing(self, declared: Declared) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
        """How a new tree would be handed over."""
        path = f"{{tree}}/{declared.override}" if declared.override else "{tree}"
        if declared.env[:1] == declared.linked[:1] and declared.linked:
            return (("CMAKE_ARGS", f"-D{declared.defines[-1]}={path}"),), (declared.subdir,) if declared.subdir else ()
        if not declared.env:
            self._warnings.append(
                f"{declared.where}: {declared.name} has no variable of the environment that hands it over; pass"
                f" -D{declared.defines[0]}=… on to CMake (with setuptools often by CMAKE_ARGS)."
            )
        return tuple((name, path) for name in declared.env[:1]), (declared.subdir,) if declared.subdir else ()

    def _inner(
        self,
        outer: str,
        found: Sequence[Inner],
        *,
        pinned: bool,
        sparse: Sequence[str],
        before: frozenset[str] = frozenset(),
    ) -> Iterator[LockedTree]:
        """The submodules of a tree, with those inside them.

        Args:
            outer: the tree, or `TREE/path` of a submodule.
            found: its submodules.
            pinned: the recipe has this tree at this commit: what it lacks of it, it leaves out on purpose.
            sparse: the parts of the tree that are wanted; empty: all.
            before: the submodules of the commit that the recipe has: what it lacks of them, it leaves out as well.
        """
        for item in found:
            place = f"{outer}/{item.path}"
            index, table = next(((i, t) for i, t in self._left.items() if t.inside == place), (None, None))
            if index is not None:
                del self._left[index]
            was = table.git.commit if table is not None and table.git is not None else None
            apart = bool(sparse) and not any(f"{item.path}/".startswith(f"{part}/") for part in sparse)
            state: State = "same" if was == item.commit else "changed"
            if table is None:
                state = "left out" if pinned or apart or item.path in before else "new"
            url = _spelled(item.url, None if table is None else table.git)
            name = table.name if table is not None else _plain(f"{outer.replace('/', '-')}-{Path(item.path).name}")
            yield LockedTree(
                name, state, url, item.commit, None, was, place, (), (), f"submodule {item.path}", "", index
            )
            if state == "left out":
                continue
            if (inner := self._submodules(url, item.commit)) is None:
                if state != "same" and url in self._unreached:
                    self._unseen.append(name)
                continue
            kept = table.git.sparse if table and table.git else ()
            yield from self._inner(place, inner, pinned=state == "same", sparse=kept)

    def _submodules(self, url: str, commit: str) -> Sequence[Inner] | None:
        return self._hear(url, lambda ask: ask.submodules(url, commit))

    def _unchecked(self, outer: str, why: str) -> Iterator[LockedTree]:
        for index, table in [(i, t) for i, t in self._left.items() if (t.inside or "").startswith(f"{outer}/")]:
            del self._left[index]
            if table.git is not None:
                note = f"{why}: submodules are not looked at"
                yield _of_table(index, table, "not checked", note)

    def _gone(self, index: int, table: TreeTable) -> LockedTree:
        return _of_table(index, table, "gone", "the project does not fetch it")

    def _table_of(self, declared: Declared) -> tuple[int | None, TreeTable | None]:
        """The recipe's tree for a declaration: it sets its variable, comes from the same place, or has its name."""
        outer = [(index, table) for index, table in self._left.items() if table.inside is None]
        for index, table in (
            *((i, t) for i, t in outer if t.env.keys() & {*declared.env, *declared.defines}),
            *((i, t) for i, t in outer if t.git is not None and same_place(t.git.url, declared.url)),
            *((i, t) for i, t in outer if t.name.lower() == _plain(declared.name).lower()),
        ):
            del self._left[index]
            return index, table
        return None, None


def _of_table(index: int, table: TreeTable, state: State, note: str) -> LockedTree:
    git = table.git
    url = git.url if git else table.archive.url if table.archive else ""
    was = git.commit if git else None
    return LockedTree(
        table.name, state, url, None, git.tag if git else None, was, table.inside or "", (), (), "", note, index
    )


def _cloning(project: Path) -> Iterator[str]:
    """Scripts that a build may run and that clone by themselves: pointed out, not read."""
    for path in sorted([*project.glob("*"), *(p for name in _SCRIPTS for p in (project / name).rglob("*"))]):
        if path.suffix not in {".py", ".sh", ".mk"} and path.name != "Makefile":
            continue
        if path.is_symlink() or not path.is_file():
            continue
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
            if _CLONE.search(line) and not line.lstrip().startswith("#"):
                yield f"{path.relative_to(project)}:{number}: clones by itself: {line.strip()[:100]}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "tree"


def _spelled(url: str, git: GitTable | None) -> str:
    """A place as the recipe spells it, if it has the same: that is the spelling that mirrors know."""
    return git.url if git is not None and same_place(git.url, url) else url


def same_place(one: str, other: str) -> bool:
    """Whether two URLs name one repository: hosts of git do not care for case and `.git`."""
    first, second = (re.sub(r"(?:\.git)?/*$", "", url.lower()) for url in (one, other))
    return first == second
