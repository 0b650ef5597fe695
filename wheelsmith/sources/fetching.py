"""Bringing every source of a plan into the store.

In: a plan, a store, and whether the network may be used. Out: one `Fetched` for each source. Fails with `OfflineError`,
which lists all that is missing, and as `git`, `sdist` and `archive` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wheelsmith.errors import OfflineError
from wheelsmith.events import ignore
from wheelsmith.plan import GitSource, SdistSource
from wheelsmith.sources import archive, git, sdist
from wheelsmith.sources.model import Fetched, redact

if TYPE_CHECKING:
    from wheelsmith.events import Listener
    from wheelsmith.plan import Plan, Source
    from wheelsmith.store import Store


def fetch(
    plan: Plan,
    store: Store,
    *,
    offline: bool = False,
    index_url: str | None = None,
    listener: Listener = ignore,
) -> tuple[Fetched, ...]:
    """Bring the package's source and every tree of the plan into the store; run nothing of them.

    Args:
        plan: what to fetch; a source that it names twice is fetched once.
        store: where to keep it. What it holds already is not fetched again.
        offline: use no network.
        index_url: package index for sdists (PEP 503); default: the one uv or pip would use.
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
        return tuple(_fetch(source, store, index_url, listener) for source in sources)
    missing = [redact(str(source)) for source in sources if not _present(source, store)]
    if missing:
        raise OfflineError(
            f"{len(missing)} of {len(sources)} sources of {plan.name} {plan.version} are not in the store"
            f" {store.root}.",
            "Run once without --offline to fetch them.",
            detail="\n".join(missing),
        )
    return tuple(Fetched(redact(str(source)), _digest(source), 0, reused=True) for source in sources)


def _present(source: Source, store: Store) -> bool:
    return git.present(source, store) if isinstance(source, GitSource) else archive.present(source, store)


def _digest(source: Source) -> str:
    return source.commit if isinstance(source, GitSource) else source.sha256


def _fetch(source: Source, store: Store, index_url: str | None, listener: Listener) -> Fetched:
    if isinstance(source, GitSource):
        return git.fetch(source, store, listener)
    if isinstance(source, SdistSource):
        return sdist.fetch(source, store, index_url, listener)
    return archive.fetch(source, store, listener)
