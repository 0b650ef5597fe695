"""Every source tree that a CMake project would fetch while it is configured, without running CMake.

In: the directory of a project, and variables whose values are given. Out: `Declared` trees, each once, and warnings for
what could not be followed. The files are walked from the top CMakeLists.txt through `include` and `add_subdirectory`,
both ways where a condition is not known, and not at all where it cannot hold (by the project's own defaults). The
declaration without a repository, which names a directory instead, tells how the project lets itself be overridden.
Fails with `SourceError` if there is no top CMakeLists.txt. Sources: CMake's manual, FetchContent and ExternalProject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from wheelsmith.cmake.values import known
from wheelsmith.cmake.walk import Call, Guard, walk
from wheelsmith.errors import SourceError

_DECLARING = ("fetchcontent_declare", "fetchcontent_populate", "externalproject_add")
#: Other ways of fetching, which are pointed out and not read.
_OTHER = re.compile(r"cpm(?:add|find)package|cpm\w*package|hunter_add_package|externaldata_\w+")
_KEYWORDS = frozenset(
    """
    GIT_REPOSITORY GIT_TAG GIT_REMOTE_NAME GIT_SUBMODULES GIT_SUBMODULES_RECURSE GIT_SHALLOW GIT_PROGRESS
    GIT_CONFIG GIT_REMOTE_UPDATE_STRATEGY URL URL_HASH URL_MD5 DOWNLOAD_NAME DOWNLOAD_EXTRACT_TIMESTAMP
    DOWNLOAD_NO_EXTRACT DOWNLOAD_NO_PROGRESS DOWNLOAD_COMMAND DOWNLOAD_DIR TIMEOUT INACTIVITY_TIMEOUT
    HTTP_USERNAME HTTP_PASSWORD HTTP_HEADER TLS_VERSION TLS_VERIFY TLS_CAINFO NETRC NETRC_FILE SVN_REPOSITORY
    SVN_REVISION HG_REPOSITORY HG_TAG CVS_REPOSITORY UPDATE_COMMAND UPDATE_DISCONNECTED PATCH_COMMAND
    CONFIGURE_COMMAND CMAKE_COMMAND CMAKE_GENERATOR CMAKE_ARGS CMAKE_CACHE_ARGS CMAKE_CACHE_DEFAULT_ARGS
    SOURCE_DIR SOURCE_SUBDIR BINARY_DIR BINARY_SUBDIR PREFIX TMP_DIR STAMP_DIR LOG_DIR INSTALL_DIR
    SUBBUILD_DIR BUILD_COMMAND BUILD_IN_SOURCE BUILD_ALWAYS BUILD_BYPRODUCTS INSTALL_COMMAND TEST_COMMAND
    DEPENDS EXCLUDE_FROM_ALL STEP_TARGETS INDEPENDENT_STEP_TARGETS LIST_SEPARATOR COMMAND QUIET SYSTEM
    OVERRIDE_FIND_PACKAGE FIND_PACKAGE_ARGS LOG_DOWNLOAD LOG_CONFIGURE LOG_BUILD LOG_INSTALL
    USES_TERMINAL_DOWNLOAD
    """.split()  # noqa: SIM905 - a list of a hundred quoted words is harder to read
)
#: How variables end that name a directory in place of a tree.
_DIRECTORY = ("_DIR", "_ROOT", "_PATH", "_SOURCE")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Declared:
    """A tree that the build would fetch.

    Attributes:
        name: as the project calls it.
        url: git repository, or archive.
        ref: tag, branch or commit; None for an archive, and where a git declaration names none.
        sha256: of an archive, if the project states it.
        submodules: False if the declaration asks for none.
        inner: the submodules that it asks for by path (GIT_SUBMODULES); empty: it names none.
        subdir: SOURCE_SUBDIR, the part that is used.
        env: environment variables that hand over a directory instead, the project's own way.
        defines: CMake variables that do (-D); the generic FETCHCONTENT_SOURCE_DIR_… is always the last.
        override: what of the tree the variable must name: empty for its top, else `subdir`.
        where: file and line.
        linked: those of `env` and `defines` with which the project installs a symbolic link to the tree, not a copy.
    """

    name: str
    url: str
    ref: str | None
    sha256: str | None
    submodules: bool
    subdir: str
    env: tuple[str, ...]
    defines: tuple[str, ...]
    override: str
    where: str
    linked: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()

    @property
    def commit(self) -> str | None:
        """The commit, if `ref` is one."""
        return self.ref if self.ref is not None and _COMMIT.fullmatch(self.ref) else None

    @property
    def archive(self) -> bool:
        """Whether it is an archive, not a repository."""
        return self.ref is None and re.search(r"\.(?:zip|tar|t[gbx]z|tar\.\w+)$", self.url) is not None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the files of a project tell: its trees in the order of the files, and what could not be followed."""

    trees: tuple[Declared, ...]
    warnings: tuple[str, ...]


def read_trees(project: Path, given: Mapping[str, str] | None = None) -> Reading:
    """Read a project's CMake files.

    Args:
        project: the directory with the top CMakeLists.txt.
        given: CMake variables and their values, as -D would set them.

    Raises:
        SourceError: there is no CMakeLists.txt, or it is not CMake.
    """
    if not (project / "CMakeLists.txt").is_file():
        raise SourceError(
            "The project has no CMakeLists.txt at its top.", "What it fetches, if anything, must be found by reading."
        )
    calls, warnings = walk(project, given or {})
    declared: dict[str, list[_Fields]] = {}
    for call in calls:
        if call.name in _DECLARING and call.arguments:
            fields = _fields(call)
            declared.setdefault(fields.name.lower(), []).append(fields)
        elif _OTHER.fullmatch(call.name):
            warnings.append(f"{call.where}: {call.name} fetches in a way that is not read here.")
        elif _fetches(call):
            warnings.append(f"{call.where}: {call.name} fetches something by itself.")
    trees = []
    linking = {name for call in calls if _links(call) for guard in call.guards if guard.holds for name in _named(guard)}
    for fields_of_one in declared.values():
        tree, problems = _merged(fields_of_one)
        warnings += problems
        if tree is not None:
            linked = tuple(name for name in dict.fromkeys((*tree.env, *tree.defines)) if name in linking)
            trees.append(replace(tree, linked=linked))
    return Reading(tuple(trees), tuple(dict.fromkeys(warnings)))


def _links(call: Call) -> bool:
    """Whether it makes a symbolic link, while CMake runs or when the project is installed."""
    text = " ".join(text for argument in call.arguments for text in argument)
    return call.name in {"file", "install", "execute_process"} and bool(re.search(r"CREATE_LINK|create_symlink", text))


def _named(guard: Guard) -> tuple[str, ...]:
    return (*guard.names, *guard.environment)


def _fetches(call: Call) -> bool:
    words = [text for argument in call.arguments for text in argument]
    if call.name == "file":
        return bool(words) and words[0] == "DOWNLOAD"
    return call.name == "execute_process" and any(
        re.search(r"(?i)git\b", a) and b in {"clone", "fetch", "pull", "submodule"} for a, b in pairwise(words)
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """One declaration: what may stand behind each keyword."""

    name: str
    values: Mapping[str, tuple[tuple[str, ...], ...]]
    where: str
    guards: tuple[Guard, ...] = ()

    def all(self, keyword: str) -> tuple[str, ...]:
        """Every possible first value."""
        values = self.values.get(keyword, ())
        return values[0] if values else ()

    def one(self, keyword: str) -> str | None:
        """The first value, if there is one and only one."""
        found = self.all(keyword)
        return found[0] if len(found) == 1 else None

    @property
    def remote(self) -> bool:
        return "GIT_REPOSITORY" in self.values or "URL" in self.values


def _fields(call: Call) -> _Fields:
    values: dict[str, tuple[tuple[str, ...], ...]] = {}
    keyword: str | None = None
    for argument in call.arguments[1:]:
        if len(argument) == 1 and argument[0] in _KEYWORDS:
            keyword = argument[0]
            values.setdefault(keyword, ())
        elif keyword is not None:
            values[keyword] += (argument,)
    return _Fields(call.arguments[0][0], values, call.where, call.guards)


def _merged(found: Sequence[_Fields]) -> tuple[Declared | None, list[str]]:
    """One tree from every declaration of a name: those with a repository say what, those with a directory how else."""
    remote = [fields for fields in found if fields.remote]
    if not remote:
        return None, []  # only ever handed over
    first = remote[0]
    problems = [
        f"{fields.where}: {fields.name} is declared again with another source; which one counts depends on conditions."
        for fields in remote[1:]
        if any(fields.all(key) != first.all(key) for key in ("GIT_REPOSITORY", "GIT_TAG", "URL"))
    ]
    git = "GIT_REPOSITORY" in first.values
    url = first.one("GIT_REPOSITORY" if git else "URL")
    if url is None or not known(url) or not known(first.name):
        shown = " or ".join(first.all("GIT_REPOSITORY" if git else "URL"))
        return None, [f"{first.where}: where {first.name} comes from is not known: {shown}."]
    ref = None
    if git and "GIT_TAG" in first.values:
        ref = first.one("GIT_TAG")
        if ref is None or not known(ref):
            shown = " or ".join(first.all("GIT_TAG"))
            return None, [*problems, f"{first.where}: the tag of {first.name} is not known: {shown}."]
    elif git:
        problems.append(f"{first.where}: {first.name} names no tag: it follows whatever {url} has now.")
    env, defines = _overrides(found)
    generic = f"FETCHCONTENT_SOURCE_DIR_{first.name.upper()}"
    subdir = first.one("SOURCE_SUBDIR") or ""
    handed = [fields for fields in found if not fields.remote]
    kept = all("SOURCE_SUBDIR" in fields.values for fields in handed)
    digest = (first.one("URL_HASH") or "").partition("=")
    return Declared(
        name=first.name,
        url=url,
        ref=ref,
        sha256=digest[2].lower() if digest[0].upper() == "SHA256" else None,
        submodules=not ("GIT_SUBMODULES" in first.values and first.one("GIT_SUBMODULES") in {None, ""}),
        subdir=subdir,
        env=env,
        defines=(*(name for name in defines if name != generic), generic),
        override="" if kept else subdir,
        where=first.where,
        inner=_submodules(first),
    ), problems


def _submodules(fields: _Fields) -> tuple[str, ...]:
    """The paths that are named; none where one of them is not known."""
    named = fields.values.get("GIT_SUBMODULES", ())
    if not all(len(paths) == 1 and paths[0] and known(paths[0]) for paths in named):
        return ()
    return tuple(path.strip("/") for (path,) in named)


def _overrides(found: Sequence[_Fields]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Environment variables and CMake variables that a declaration takes its SOURCE_DIR from."""
    texts = [text for fields in found if not fields.remote for text in fields.all("SOURCE_DIR")]
    # Fetched only where a variable is not set that the environment may give: that one names the directory instead.
    unless = [
        guard
        for fields in found
        if fields.remote
        for guard in fields.guards
        if not guard.holds and guard.environment and any(name.endswith(_DIRECTORY) for name in guard.environment)
    ]
    texts += [f"$ENV{{{name}}}" for guard in unless for name in guard.environment if name.endswith(_DIRECTORY)]
    texts += [f"${{{name}}}" for guard in unless for name in guard.names if name.endswith(_DIRECTORY)]
    return tuple(dict.fromkeys(_names(texts, r"\$ENV\{(\w+)\}"))), tuple(
        dict.fromkeys(_names(texts, r"\$\{([\w-]+)\}"))
    )


def _names(texts: Sequence[str], pattern: str) -> Iterator[str]:
    for text in texts:
        if match := re.fullmatch(pattern, text):
            yield match[1]
