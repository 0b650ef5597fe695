"""Copy the sources of a plan from the store to a directory that stands for upstream where there is no network.

In: a plan whose sources the store holds, and a directory. Out: bare git repositories with the plan's commits alone,
archives under the path of their URL, sdists as a package index (PEP 503), and a configuration file that names them
all. The directory can be carried anywhere, and served by any web or git server. Fails with `StoreError` (the store
does not hold a source) and `SourceError`.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from wheelsmith.config import CONFIG_NAME, load_config
from wheelsmith.errors import SourceError
from wheelsmith.fsutil import sha256_of
from wheelsmith.planning.model import ArchiveSource, GitSource, SdistSource
from wheelsmith.sources import git
from wheelsmith.sources.crates import sources_of
from wheelsmith.sources.model import redact
from wheelsmith.sources.safe_paths import below
from wheelsmith.store import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.planning.model import Plan
    from wheelsmith.store import Store


@dataclass(frozen=True, slots=True)
class Mirrored:
    """One source in the mirror: what it is, where, and the size of that place in bytes."""

    what: str
    place: Path
    size: int


def copy_sources(plan: Plan, store: Store, into: Path, index_url: str | None = None) -> tuple[Mirrored, ...]:
    """Write the mirror, or add to the one that is there.

    Args:
        plan: whose sources are copied; `fetch` was called for it.
        store: where they are.
        into: the directory of the mirror.
        index_url: the package index that sdists are asked of, and that the mirror stands for.

    Raises:
        SourceError: a URL has no path that a directory could have.
    """
    into.mkdir(parents=True, exist_ok=True)
    index = index_url or PYPI_SIMPLE_ENDPOINT
    prefixes: dict[str, str] = {}
    result = []
    for source in sources_of(plan, store):
        if isinstance(source, SdistSource):
            place = _copy_sdist(source, store, into / "simple")
            prefixes[index] = "simple/"
        else:
            place = _place(source, into)
            prefixes[_prefix(source.url)] = f"{place.relative_to(into).parts[0]}/"
            _copy(source, store, place)
        size = sum(path.stat().st_size for path in (place, *place.rglob("*")) if path.is_file())
        result.append(Mirrored(redact(str(source)), place, size))
    _write_config(into, prefixes)
    return tuple(result)


def _prefix(url: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme:
        raise SourceError(
            f"{redact(url)} has no place in a mirror: it is no URL.", "Write it as ssh://user@host/path in the recipe."
        )
    return f"{parts.scheme}://{parts.netloc}/"


def _place(source: GitSource | ArchiveSource, into: Path) -> Path:
    """The path of a URL below the mirror: host, then path."""
    parts = urlsplit(source.url)
    host = (parts.hostname or "localhost") + (f"_{parts.port}" if parts.port else "")
    try:
        place = below(into, f"{host}/{parts.path.strip('/')}")
    except ValueError as error:
        raise SourceError(f"{redact(source.url)} has no place in a mirror: {error}.", "Mirror it by hand.") from error
    if isinstance(source, GitSource) and place.suffix != ".git":
        place = place.with_name(f"{place.name}.git")  # git looks for both
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _copy(source: GitSource | ArchiveSource, store: Store, place: Path) -> None:
    if isinstance(source, GitSource):
        git.copy_commit(source, store, place)
    elif not place.is_file():
        write_atomic(place, store.blob(source.sha256).read_bytes())


def _copy_sdist(source: SdistSource, store: Store, simple: Path) -> Path:
    """Copy an sdist into `simple/PROJECT/` and write the page of the project."""
    name = canonicalize_name(source.project)
    folder = simple / name
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name.replace('-', '_')}-{source.version}.tar.gz"
    write_atomic(place, store.blob(source.sha256).read_bytes())
    links = "".join(
        f'<a href="{html.escape(path.name)}#sha256={sha256_of(path)}">{html.escape(path.name)}</a><br>\n'
        for path in sorted(folder.glob("*.tar.gz"))
    )
    write_atomic(folder / "index.html", f"<!DOCTYPE html>\n{links}".encode())
    return place


def _write_config(into: Path, prefixes: dict[str, str]) -> None:
    """A configuration file with relative places, and what a former call wrote into it."""
    path = into / CONFIG_NAME
    table = dict(prefixes)
    if path.is_file():
        for prefix, (place, *_) in load_config(path).mirrors.places:
            table.setdefault(prefix, f"{urlsplit(place).path.rstrip('/').rpartition('/')[2]}/")
    lines = [f"{json.dumps(prefix)} = {json.dumps(place)}" for prefix, place in sorted(table.items())]
    write_atomic(path, ("[mirrors]\n" + "\n".join(lines) + "\n").encode())
