"""Bringing every source of a plan into the store.

In: a plan, a store, and whether the network may be used. Out: one `Fetched` for each source. Fails with `OfflineError`,
which lists all that is missing, and as `git`, `sdist` and `archive` do.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from wheelsmith.config import NO_MIRRORS
from wheelsmith.errors import OfflineError, SourceError
from wheelsmith.events import ignore
from wheelsmith.planning.model import ArchiveSource, GitSource, SdistSource
from wheelsmith.sources import archive, git, sdist
from wheelsmith.sources.crates import Registries, crates_of, sources_of
from wheelsmith.sources.model import Fetched, redact
from wheelsmith.store import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.config import Mirrors
    from wheelsmith.events import Listener
    from wheelsmith.planning.model import Plan, Source
    from wheelsmith.store import Store


def fetch(
    plan: Plan,
    store: Store,
    *,
    offline: bool = False,
    index_url: str | None = None,
    mirrors: Mirrors = NO_MIRRORS,
    listener: Listener = ignore,
) -> tuple[Fetched, ...]:
    """Bring the package's source and every tree of the plan into the store; run nothing of them.

    Args:
        plan: what to fetch; a source that it names twice is fetched once. What crates it has its package's source says.
        store: where to keep it. What it holds already is not fetched again.
        offline: use no network.
        index_url: package index for sdists (PEP 503); default: the one uv or pip would use.
        mirrors: places that stand for the upstream URLs of the plan; its commits and hashes decide all the same.
        listener: receives `Progress`.

    Returns:
        One value for each source, in the order of the plan.

    Raises:
        OfflineError: `offline`, and something is not in the store.
        NetworkError: a host cannot be reached or answers with an error.
        HashMismatchError: the bytes are not those of the plan.
        SourceError: there is no such project, commit, tag, directory or file.
        NoCompilerError: git is needed and not installed.
    """
    sources = tuple(dict.fromkeys((plan.source, *(tree.source for tree in plan.trees))))
    if not offline:
        fetched = [fetch_source(source, store, index_url, mirrors, listener) for source in sources]
        registries = Registries(store, mirrors, listener)
        crates = (_noted(registries.fetch(crate), crate.source, store) for crate in crates_of(plan, store))
        return (*fetched, *crates)
    if plan.crates and present(plan.source, store):
        sources = tuple(sources_of(plan, store))
    missing = [redact(str(source)) for source in sources if not present(source, store)]
    if missing:
        raise OfflineError(
            f"{len(missing)} of {len(sources)} sources of {plan.name} {plan.version} are not in the store"
            f" {store.root}.",
            "Run once without --offline to fetch them.",
            detail="\n".join(missing),
        )
    return tuple(
        Fetched(redact(str(source)), _digest(source), 0, reused=True, served_by=_served_by(source, store))
        for source in sources
    )


def present(source: Source, store: Store) -> bool:
    """Whether the store holds a source whole."""
    return git.present(source, store) if isinstance(source, GitSource) else archive.present(source, store)


def _digest(source: Source) -> str:
    return source.commit if isinstance(source, GitSource) else source.sha256


def fetch_source(
    source: Source,
    store: Store,
    index_url: str | None = None,
    mirrors: Mirrors = NO_MIRRORS,
    listener: Listener = ignore,
) -> Fetched:
    """Bring one source into the store; see `fetch`."""
    if isinstance(source, GitSource) and not source.commit:
        raise SourceError(
            f"The recipe does not say which commit of {redact(source.url)} is wanted{_tagged(source)}.",
            "Run `wheelsmith recipes lock` with --write where it can be reached, or add the commit to your own recipe.",
        )
    match source:
        case GitSource():
            fetched = git.fetch(source, store, listener, mirrors)
        case SdistSource():
            fetched = sdist.fetch(source, store, index_url, listener, mirrors)
        case ArchiveSource():
            fetched = archive.fetch(source, store, listener, mirrors)
    return _noted(fetched, source, store)


def _noted(fetched: Fetched, source: Source, store: Store) -> Fetched:
    """With the place that served it, now or when it was fetched."""
    if fetched.reused:
        return replace(fetched, served_by=_served_by(source, store))
    write_atomic(_note(source, store), fetched.served_by.encode())
    return fetched


def _tagged(source: GitSource) -> str:
    return f": it names the tag {source.tag}" if source.tag else ""


def _note(source: Source, store: Store) -> Path:
    """The file that remembers where a source came from; a git source with and without its tag is the same bytes."""
    same = replace(source, tag=None) if isinstance(source, GitSource) else source
    return store.place("served", hashlib.sha256(str(same).encode()).hexdigest()[:32])


def _served_by(source: Source, store: Store) -> str:
    path = _note(source, store)
    return path.read_text("utf-8") if path.is_file() else ""
