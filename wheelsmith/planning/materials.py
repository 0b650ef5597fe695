"""What a plan is made from: the project, the trees beside it, and what is changed in them.

In: the tables of a recipe, a version, a toolkit. Out: sources, trees and patches of the plan, and what of them nobody
has pinned yet. Pure. Fails with `RecipeError` on a tree that is to lie in one that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from wheelsmith.errors import RecipeError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.facts import toolkit_facts
from wheelsmith.planning.model import (
    CANONICAL,
    ArchiveSource,
    ArchPatch,
    DiffPatch,
    EditPatch,
    GitSource,
    Patch,
    SdistSource,
    Source,
    Tree,
    is_fixed,
)
from wheelsmith.recipe.texts import applies, holds

if TYPE_CHECKING:
    from wheelsmith.recipe.changes import ArchListTable
    from wheelsmith.recipe.loader import LoadedRecipe
    from wheelsmith.recipe.schema import SourceTable, TreeTable


def source(loaded: LoadedRecipe, table: SourceTable, version: str) -> Source:
    """The project itself."""
    if table.sdist is not None:
        return SdistSource(loaded.recipe.name, version, table.sdist.sha256)
    if table.directory is not None:
        return ArchiveSource(*loaded.directories[version])
    return _git_or_archive(table)


def _git_or_archive(table: SourceTable | TreeTable) -> GitSource | ArchiveSource:
    if table.git is not None:
        return GitSource(table.git.url, table.git.commit or "", table.git.tag, table.git.sparse)
    assert table.archive is not None, "the schema demands one of the two"  # noqa: S101
    return ArchiveSource(table.archive.url, table.archive.sha256)


def trees(tables: tuple[TreeTable, ...]) -> Iterator[Tree]:
    """Outer trees before the ones placed inside them, whatever the order in the recipe."""
    names = {table.name for table in tables}
    for table in sorted(tables, key=lambda t: t.inside is not None):
        if table.inside is None:
            path = f"{CANONICAL}/trees/{table.name}"
        else:
            outer, _, rest = table.inside.partition("/")
            if not rest or (outer not in names and outer != "source"):
                raise RecipeError(
                    f"The tree {table.name!r} is to be placed inside {table.inside!r}, which names no tree.",
                    "Write inside as TREE/path, or source/path for the package itself.",
                )
            base = f"{CANONICAL}/src" if outer == "source" else f"{CANONICAL}/trees/{outer}"
            path = f"{base}/{rest}"
        yield Tree(table.name, _git_or_archive(table), path)


def patches(
    loaded: LoadedRecipe, version: str, paths: Mapping[str, str], options: Mapping[str, bool], cuda: str
) -> Iterator[Patch]:
    """Patches, text edits and edits of arch lists that count for this version; `paths`: where each tree will lie."""
    for table in loaded.recipe.patch:
        if not applies(table.versions, version) or not holds(table.when, options):
            continue
        if table.tree is not None and table.tree not in paths:
            continue
        path = f"{CANONICAL}/src" if table.tree is None else paths[table.tree]
        if table.diff is not None:
            yield DiffPatch(path, table.diff, loaded.diffs[table.diff], table.why)
        else:
            yield EditPatch(path, table.file or "", table.find or "", table.replace or "", table.count, table.why)
    for item in loaded.recipe.arch_list:
        wanted = applies(item.versions, version) and applies(item.cuda, cuda) and holds(item.when, options)
        if wanted and (item.tree is None or item.tree in paths):
            yield arch_patch(item, cuda, f"{CANONICAL}/src" if item.tree is None else paths[item.tree])


def arch_patch(table: ArchListTable, cuda: str, path: str) -> ArchPatch:
    """The edit of an arch list for one toolkit: families in the forms that its nvcc knows.

    Source: NVIDIA, "CUDA Compiler Driver NVCC", family-specific targets: from CUDA 12.9 on.
    """
    able = toolkit_facts(cuda).archs
    also: list[Arch] = []
    for arch in table.also or ():
        members = [cc for cc in able if cc.major == arch.major and cc.minor >= arch.minor]
        if arch.suffix == "f" and not applies(">=12.9", cuda):
            also += [Arch(cc.major, cc.minor, "a") for cc in members]
        else:
            also.append(arch)
    majors = {arch.major for arch in also}
    known = tuple(str(cc) for cc in able if cc.major in majors)
    wish = (tuple(map(str, also)), known, table.ptx, table.exact)
    return ArchPatch(path, table.file, table.variable, *wish, table.why)


def not_fixed(source: Source, trees: Sequence[Tree], requirement: str) -> Iterator[str]:
    """What will not be fetched, as nobody has said yet which bytes it is."""
    given = {f"{requirement}'s source": source} | {f"the tree {tree.name}": tree.source for tree in trees}
    for what, one in given.items():
        pin = one.commit if isinstance(one, GitSource) else one.sha256
        if pin and not is_fixed(one):
            yield f"{what} is pinned by a placeholder, all zeros: fetching refuses it until the recipe has the real one"
    for tree in trees:
        if isinstance(tree.source, GitSource) and not tree.source.commit:
            which = f"which commit {tree.source.tag} is" if tree.source.tag else "its commit"
            yield (
                f"the tree {tree.name} is not locked: nobody has asked {tree.source.url} for {which}. Fetching refuses"
                f" it until `wheelsmith recipes lock {requirement} --write` has, where that can be reached."
            )
