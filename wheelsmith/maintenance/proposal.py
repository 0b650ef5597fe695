"""The recipe as it would have to be for another version of the project: what was read, turned into changes of its text.

In: the recipe's text, and a `Reading` of the new version. Out: the new text, and `Change`s: every one with its
reason, and what could not be decided, which is marked in the text as well. Nothing is written to disk. Fails with
`RecipeError` if the recipe cannot be changed line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheelsmith.errors import RecipeError, UnknownGpuError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.facts import known_archs, torch_cuda
from wheelsmith.maintenance.lock import quoted
from wheelsmith.maintenance.lock_text import halves, with_lock, with_release
from wheelsmith.maintenance.recipe_text import (
    BY_HAND,
    Key,
    copied,
    parsed,
    with_mark,
    with_note,
    with_table,
    with_value,
    with_versions,
)
from wheelsmith.recipe.texts import applies

if TYPE_CHECKING:
    from wheelsmith.cmake.extensions import Target
    from wheelsmith.maintenance.declared import Extension, Project
    from wheelsmith.maintenance.lock import Lock
    from wheelsmith.maintenance.needs import Need
    from wheelsmith.maintenance.rehearse import Rehearsed
    from wheelsmith.recipe.contracts import LibraryTable
    from wheelsmith.recipe.schema import Recipe, TreeTable


_Kind = Literal["tree", "library", "patch", "arch list", "requirement", "torch", "CUDA", "Python", "release", "build"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changes: of what kind, what in one sentence, and whether the proposal decides it."""

    kind: _Kind
    text: str
    decided: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a version.

    Attributes:
        version: the version.
        project: what its files say.
        targets: the libraries that CMake makes, by toolkit.
        lock: its trees against the recipe's.
        patches: how the patches fared.
        lists: how the arch lists fared.
        needs: its requirements against the recipe's.
        release: the table of its source behind `source.`, as TOML text; empty: no recipe can name the source.
    """

    version: str
    project: Project
    targets: Mapping[str, Sequence[Target]]
    lock: Lock
    patches: tuple[Rehearsed, ...]
    lists: tuple[Rehearsed, ...]
    needs: tuple[Need, ...]
    release: str


def propose(text: str, reading: Reading) -> tuple[str, tuple[Change, ...]]:
    """The new text of the recipe, and what was found.

    Raises:
        RecipeError: the recipe cannot be changed line by line.
    """
    maker = _Maker(text, reading)
    maker.trees()
    maker.links()
    maker.edits("patch", reading.patches)
    maker.edits("arch_list", reading.lists)
    maker.ranges()
    maker.libraries()
    maker.build()
    maker.release()
    parsed(maker.text)
    return maker.text, tuple(maker.findings)


class _Maker:
    def __init__(self, text: str, reading: Reading) -> None:
        self.text, self.findings = text, list[Change]()
        self._reading, self._version = reading, reading.version
        self._recipe = parsed(text)
        self._others = [version for version in self._recipe.releases if version != self._version]

    def trees(self) -> None:
        """Pins, new trees, and those that are gone."""
        lock = self._reading.lock
        self.text = with_lock(self.text, self._recipe, lock, moved=True)
        for tree in lock.changes:
            where = f" ({tree.where})" if tree.where else ""
            if tree.commit is None and tree.state != "gone":
                note = f"which commit {tree.tag} of {tree.url} is ({tree.name}) is not known here: lock it"
                self.findings.append(Change("tree", f"{note}{where}.", decided=False))
                continue
            says = {"gone": "is not fetched any more", "new": f"is new, at {tree.commit}"}
            said = says.get(tree.state, f"is at {tree.commit} now, no longer {tree.was}")
            by = f", handed over by {', '.join(name for name, _ in tree.env)}" if tree.env else ""
            self._found("tree", f"{tree.name} {said}{by}{where}. {tree.note}".strip())
            if tree.state == "new" and not tree.env and not tree.inside:
                self._leave_open("tree", f"nothing in the environment hands over the tree {tree.name}.")
        for name in lock.unseen:
            self._leave_open("tree", f"the submodules of {name} could not be looked at here: lock them.")
        for place in lock.lacking:
            self._leave_open(
                "tree", f"the submodule {place} is fetched as well, and from where could not be asked here: lock it."
            )

    def links(self) -> None:
        """Variables with which the project now installs a link into the build directory where it else makes a copy."""
        for variable, definition in self._reading.lock.links:
            recipe = parsed(self.text)
            for index, table in enumerate(recipe.tree):
                if variable not in table.env or not applies(table.versions, self._version):
                    continue
                rest = [f"{name} = {quoted(text)}" for name, text in table.env.items() if name != variable]
                flags = [f"CMAKE_ARGS = {quoted(f'-D{definition}={table.env[variable]}')}"]
                self._with_environment(index, table, f"{{ {', '.join((*rest, *flags))} }}")
                why = f"with {variable} the project installs a link to {table.name}, which no wheel can hold"
                self._found("tree", f"{why}: CMake's own {definition} hands it over.")
                break

    def _with_environment(self, index: int, table: TreeTable, environment: str) -> None:
        """A tree's `env` for this version and those behind it."""
        line = re.compile(r"^(\s*env\s*=\s*)\{.*\}", re.MULTILINE)
        whole = copied(self.text, "tree", index)
        block = line.sub(lambda match: f"{match[1]}{environment}", whole, count=1)
        if block == whole:
            raise RecipeError(f"The `env` of the tree {table.name} is not on a line of its own.", BY_HAND)
        others = [version for version in self._others if applies(table.versions, version)]
        if not others:
            self.text = self.text.replace(whole, block, 1)
            return
        theirs, ours = halves(table.versions, self._version, others)
        self.text = with_value(self.text, "tree", index, "versions", quoted(theirs))
        self.text = with_table(self.text, "tree", block)
        self.text = with_value(self.text, "tree", len(parsed(self.text).tree) - 1, "versions", quoted(ours))

    def edits(self, key: Literal["patch", "arch_list"], outcomes: Sequence[Rehearsed]) -> None:
        """Patches or arch lists that do not match any more, or are skipped although their target is there."""
        kind: Literal["patch", "arch list"] = "patch" if key == "patch" else "arch list"
        for index in reversed(range(len(outcomes))):
            outcome = outcomes[index]
            table = getattr(self._recipe, key)[index]
            if outcome.wanted and outcome.matches is False:
                first = outcome.problem.splitlines()[0]
                self._limit(key, index, table.versions)
                self.text = with_mark(self.text, key, index, f"{self._version}: {first}")
                self.findings.append(Change(kind, f"{outcome.what}: {outcome.problem}", decided=False))
            elif outcome.skipped:
                what = f"{outcome.what} is skipped by its versions {table.versions}, and its target is still there"
                if outcome.matches:
                    self._widen(key, index)
                    self._found(kind, f"{what}: it matches, and is taken for this version too.")
                else:
                    self.text = with_mark(self.text, key, index, f"{self._version}: {what}. {outcome.note}")
                    self.findings.append(Change(kind, f"{what}. {outcome.note}", decided=False))
            elif outcome.note and outcome.wanted:
                self._found(kind, f"{outcome.what}: {outcome.note}")

    def ranges(self) -> None:
        """torch, CUDA, Python and build requirements of this version, as a [[range]]."""
        base, project = self._recipe.at(self._version), self._reading.project
        lines: list[str] = []
        if project.torch and base.defaults.torch and project.torch != base.defaults.torch:
            lines.append(f"torch = {quoted(project.torch)}")
            self._found("torch", f"torch {project.torch}, no longer {base.defaults.torch}.")
            cuda = torch_cuda(project.torch)
            if cuda is None:
                self._leave_open("CUDA", f"with which CUDA torch {project.torch} is built is not known here.")
            elif cuda.partition(".")[0] != base.defaults.cuda.partition(".")[0]:
                lines.append(f"cuda = {quoted(cuda)} # torch {project.torch} of the default index is built with it")
                self._found("CUDA", f"CUDA {cuda}, as torch {project.torch} is built with it.")
        python = next((need for need in self._reading.needs if need.name == "Python" and need.state == "differs"), None)
        if python is not None:
            lines.append(f"python = {quoted(python.project)}")
            self._found("Python", f"Python {python.project}, no longer {python.recipe}.")
            default = base.defaults.python
            if default is not None and not SpecifierSet(python.project).contains(default):
                lines.append(f"default_python = {quoted(_lowest(python.project))}")
        if project.gcc and Version(project.gcc) > Version(base.build.gcc or "0"):
            lines.append(f"gcc = {quoted(project.gcc)}")
            self._found("build", f"GCC {project.gcc} or newer: CMake ends with an error before it.")
        differ = [n for n in self._reading.needs if n.state == "differs" and n.name not in {"Python", "torch"}]
        if differ:
            lines += ["requires = [", *(f"  {quoted(item)}," for item in self._requires(base)), "]"]
            for need in differ:
                self._found("requirement", f"{need.project}: the recipe has {need.recipe}.")
        if lines:
            versions = f"versions = {quoted(f'>={self._version}')}"
            self.text = with_table(self.text, "range", "\n".join(["[[range]]", versions, *lines]))

    def _requires(self, base: Recipe) -> list[str]:
        """The project's requirements, and those of ours that it does not name."""
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        wanted = ((canonicalize_name(item.name), str(item)) for item in self._reading.project.requires)
        theirs = {name: text for name, text in wanted if name != "torch"}
        ours = [text for text in base.build.requires if canonicalize_name(Requirement(text).name) not in theirs]
        return [*theirs.values(), *ours]

    def libraries(self) -> None:
        """New libraries, renamed ones, and those that are not built any more."""
        extensions = self._reading.project.extensions
        cuda = parsed(self.text).at(self._version).defaults.cuda
        built = {item.name: item for item in extensions if item.built(cuda) is not False}
        if not built:
            return
        paths = {name: f"{self._place(item)}{'' if item.program else '.abi3.so'}" for name, item in built.items()}
        rules = [
            (index, rule)
            for index, rule in enumerate(self._recipe.library)
            if (applies(rule.versions, self._version) and not rule.path.endswith("*"))
            or (rule.path.endswith(".*") and applies(rule.versions, self._version))
        ]
        gone = [(i, rule) for i, rule in rules if not any(fnmatchcase(path, rule.path) for path in paths.values())]
        named = {path for path in paths.values() if any(fnmatchcase(path, rule.path) for _, rule in rules)}
        fresh = [item for name, item in built.items() if paths[name] not in named]
        tables = [table for item in fresh for table in self._table(item, gone)]
        # Last first: what is limited keeps its number, what is added stands behind it.
        for index, rule in reversed(gone):
            if self._is_library(rule.path):
                continue
            self._limit("library", index, rule.versions)
            self._found("library", f"{rule.path} is not built any more.")
        for table in tables:
            self.text = with_table(self.text, "library", table)

    def _place(self, item: Extension) -> str:
        """The path of an extension in the wheel without an ending."""
        short = item.name.rpartition(".")[2]
        made = (target for targets in self._reading.targets.values() for target in targets if target.name == short)
        return next((target.installed for target in made if target.installed), item.name.replace(".", "/"))

    def _is_library(self, path: str) -> bool:
        """Whether CMake makes it with any of the toolkits, whatever setup.py says."""
        stem = path.rpartition("/")[2].split(".")[0]
        return any(target.name == stem for targets in self._reading.targets.values() for target in targets)

    def _table(self, item: Extension, gone: Sequence[tuple[int, LibraryTable]]) -> Iterator[str]:
        """The [[library]] tables of an extension that no rule names."""
        short = item.name.rpartition(".")[2]
        path = f"{self._place(item)}.*"
        if item.rust:
            path = self._place(item) if item.program else path
            yield self._lines(path, f'code = "none" # {"a program" if item.program else "a module"} that cargo makes')
            says = "it is optional, and would silently be missing" if item.optional is not False else "it is required"
            self._found("library", f"{item.name} is new: cargo makes it; {says}.")
            return
        by_cuda = {cuda: {t.name: t for t in targets} for cuda, targets in self._reading.targets.items()}
        found = [targets[short] for targets in by_cuda.values() if short in targets]
        if not found:
            self._found("library", f"{item.name} is new: an external tree or a script makes it, so it has no rule.")
            return
        old = [(i, rule) for i, rule in gone if short.startswith(f"{rule.path.rpartition('/')[2].split('.')[0]}_")]
        kept = [
            (i, rule)
            for i, rule in enumerate(self._recipe.library)
            if short.startswith(f"{rule.path.rpartition('/')[2].split('.')[0]}_")
            and applies(rule.versions, self._version)
            and not rule.path.endswith("/*")
        ]
        if found[0].gpu and (old or kept):
            for index, rule in old or kept:
                copy = copied(self.text, "library", index)
                copy = copy.replace(quoted(rule.path), quoted(path), 1)
                if rule.versions is None:
                    head, _, rest = copy.partition("\n")
                    first, _, rest = rest.partition("\n")
                    copy = "\n".join(filter(None, (head, first, f"versions = {quoted(f'>={self._version}')}", rest)))
                yield copy
            self._found("library", f"{item.name} is new: by its name it has code of {(old or kept)[0][1].path}.")
            return
        archs = sorted({arch for target in found for arch in _capabilities(target.archs or ())})
        for_archs = [f"archs = {quoted(';'.join(map(str, archs)))}"] if archs else []
        if not found[0].gpu:
            yield self._lines(path, 'code = "none"', *for_archs)
            self._found("library", f"{item.name} is new: {found[0].where}, without GPU code.")
            return
        with_code = [
            cuda
            for cuda, targets in by_cuda.items()
            if short in targets and targets[short].archs != () and item.built(cuda) is not False
        ]
        lines = for_archs
        if len(with_code) < len(by_cuda) and with_code:
            lines.append(f"cuda = {quoted(f'>={min(with_code, key=Version)}')}")
        yield self._lines(path, *lines)
        says = f"for {', '.join(map(str, archs))}" if archs else "for every arch"
        self._found("library", f"{item.name} is new: {found[0].where}, {says}.")

    def _lines(self, path: str, *lines: str) -> str:
        versions = f"versions = {quoted(f'>={self._version}')}"
        return "\n".join(["[[library]]", f"path = {quoted(path)}", versions, *lines])

    def build(self) -> None:
        """What no table of the recipe holds, but a build depends on."""
        project = self._reading.project
        if project.cuda_packages:
            named = ", ".join(project.cuda_packages)
            self._found("requirement", f"the wheel's own requirements name a CUDA release: {named}.")
        if project.crates and not any(applies(t.versions, self._version) for t in self._recipe.crates):
            crates = project.crates
            table = f"[[crates]]\nversions = {quoted(f'>={self._version}')}\nlock = {quoted(crates.lock)}"
            if crates.toolchain and re.fullmatch(r"\d+(\.\d+)+", crates.toolchain):
                table += f"\nrust = {quoted(crates.toolchain)}"
            self.text = with_table(self.text, "crates", table)
            toolchain = f", Rust {crates.toolchain}" if crates.toolchain else ""
            self._found("build", f"{crates.lock}: {crates.packages} crates, {crates.git} of them from git{toolchain}.")
        for place in project.hard_coded:
            self._found("build", f"{place}: archs of its own, whatever is asked for, where no patch takes them out.")

    def release(self) -> None:
        """The version among those that the recipe is meant for, and its release."""
        if not SpecifierSet(self._recipe.versions).contains(self._version, prereleases=True):
            widened = _widened(self._recipe.versions, self._version)
            if widened is None:
                self._leave_open("release", f"the recipe is meant for versions {self._recipe.versions}.")
            else:
                self.text = with_versions(self.text, widened)
                self._found("release", f"versions {widened}, no longer {self._recipe.versions}.")
        if self._version in self._recipe.releases:
            return
        if self._reading.release:
            self.text = with_release(self.text, self._version, self._reading.release)
            self._found("release", f"{self._version} is added.")
        else:
            self._leave_open("release", "a directory of this machine is no source that a recipe can name.")

    def _found(self, kind: _Kind, text: str) -> None:
        self.findings.append(Change(kind, text))

    def _leave_open(self, kind: _Kind, note: str) -> None:
        """What is not decided stands in the recipe as well, for whoever reads it."""
        self.text = with_note(self.text, f"{self._version}: {note}")
        self.findings.append(Change(kind, note, decided=False))

    def _limit(self, key: Key, index: int, versions: str | None) -> None:
        theirs = halves(versions, self._version, self._others)[0] if self._others else f"!={self._version}"
        self.text = with_value(self.text, key, index, "versions", quoted(theirs))

    def _widen(self, key: Key, index: int) -> None:
        mine = [v for v in self._others if applies(getattr(self._recipe, key)[index].versions, v)]
        bounds = sorted([*mine, self._version], key=Version)
        self.text = with_value(self.text, key, index, "versions", quoted(f">={bounds[0]},<={bounds[-1]}"))


def _capabilities(items: Sequence[str]) -> Iterator[Arch]:
    """The compute capabilities that the entries of an arch list give machine code."""
    for item in items:
        try:
            arch = Arch.parse(item.partition("+")[0])
        except UnknownGpuError:
            continue
        same = [cc for cc in known_archs() if cc.major == arch.major and cc.minor >= arch.minor]
        yield from [arch.base] if arch.suffix == "a" else same


def _widened(versions: str, version: str) -> str | None:
    """`versions` with the upper bound that admits `version`; None: its bounds have another form."""
    parts = [part.strip() for part in versions.split(",")]
    upper = [part for part in parts if re.match(r"<[^=]", part)]
    if len(upper) != 1 or Version(version) < Version(upper[0][1:]):
        return None
    release = Version(version).release
    depth = len(Version(upper[0][1:]).release)
    bound = (*release[: depth - 1], (release + (0,) * depth)[depth - 1] + 1)
    return ",".join(f"<{'.'.join(map(str, bound))}" if part == upper[0] else part for part in parts)


def _lowest(specifier: str) -> str:
    return next((text for text in (f"3.{minor}" for minor in range(9, 40)) if text in SpecifierSet(specifier)), "3.12")
