"""What clients may have, and nothing else: as a directory for any static server, or as a page of signed links.

In: a location, and a directory to write or projects to link. Out: `Exported`, or HTML that pip and uv take with
`--find-links`. An export holds the wheels on pages and what lies beside them, the pages, and the pages for people: no
records, no tokens, nothing of a quarantined project. Files are hard links where that works, else copies. Pages are
written when their files are there, and what is no longer published goes last. Fails with `UsageError` on a directory
that holds something else, and as the storage does.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from wheelsmith.errors import UsageError
from wheelsmith.index import keys, pages
from wheelsmith.index import transactions as truth
from wheelsmith.index.files import storage_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wheelsmith.index.entry import Entry
    from wheelsmith.index.storage import Storage

_MARK = ".wheelsmith-export"
_PEOPLE = ("project/", "index.html", "style.css", "script.js", "home.json")


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did: how many objects it holds, and which keys were written and removed."""

    objects: int
    written: tuple[str, ...]
    removed: tuple[str, ...]


def export(where: str | os.PathLike[str] | Storage, target: Path) -> Exported:
    """Make the directory `target` hold all that clients may have of an index, and nothing else.

    Raises:
        UsageError: there is no such index, or `target` is within it, or holds what no export wrote.
        DiskFullError, StoreError: it cannot be written.
    """
    storage = truth.open_index(where)
    target = target.absolute()
    root = getattr(storage, "root", None)
    if isinstance(root, Path) and (target == root or root in target.parents or target in root.parents):
        raise UsageError(f"{target} and the index {root} lie in each other.", "Export to a directory beside it.")
    if target.is_dir() and any(target.iterdir()) and not (target / _MARK).is_file():
        raise UsageError(f"{target} holds what no export wrote.", "Give an empty directory, or an earlier export.")
    with storage_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        (target / _MARK).touch()
        files = list(_files(storage))
        shown = [key for key in storage.names() if keys.is_page(key) or key.startswith(_PEOPLE)]
        written = [key for key in files if _bring(storage, key, target)]
        for key in sorted(shown, key=lambda key: not key.startswith("pub/")):
            stored = storage.read(key)
            path = target / key
            if stored is not None and not (path.is_file() and path.read_bytes() == stored.data):
                write_atomic(path, stored.data, target, sync=False)
                written.append(key)
        removed = _remove_others(target, {*files, *shown, _MARK})
    return Exported(len(files) + len(shown), tuple(sorted(written)), tuple(sorted(removed)))


def signed_links(where: str | os.PathLike[str] | Storage, projects: Sequence[str], *, hours: float = 1) -> str:
    """Return an HTML page whose links let anybody read the wheels of `projects` from a bucket for some hours.

    pip and uv take it as `--find-links`; the links carry their hashes.

    Raises:
        UsageError: the index is no bucket that signs, has no such project, or `hours` is not between 0 and 168.
    """
    storage = truth.open_index(where)
    sign = getattr(storage, "signed", None)
    if sign is None:
        raise UsageError(f"{storage.url} is no bucket, so its links cannot be signed.", "Serve it, or export it.")
    if not 0 < hours <= 168:
        raise UsageError(f"Links cannot be signed for {hours} hours.", "Give a number above 0, and at most 168.")
    links = []
    for project in projects:
        record = truth.load(storage, canonicalize_name(project))
        if not record.shown:
            raise UsageError(f"The index {storage.url} shows no project {project!r}.", "See `wheelsmith index list`.")
        links += [_link(entry, sign(entry.path, timedelta(hours=hours))) for entry in record.shown if _plain(entry)]
    return pages.page_html("Signed links", links, {}).decode()


def _plain(entry: Entry) -> bool:
    return entry.wheel_variant is None and entry.yanked is None


def _link(entry: Entry, url: str) -> str:
    return pages.link(
        entry.filename, {"href": f"{url}#sha256={entry.sha256}", "data-requires-python": entry.requires_python}
    )


def _files(storage: Storage) -> Iterator[str]:
    """The keys of all wheels that are shown, and of what lies beside them."""
    for record in truth.load_all(storage).values():
        for entry in record.shown:
            for key in (entry.path, *keys.beside(entry.path)):
                if storage.size(key) is not None:
                    yield key


def _bring(storage: Storage, key: str, target: Path) -> bool:
    """Put one file there, if it is not yet; its bytes never change."""
    path = target / key
    with storage.local(key) as source:
        if source is None:
            return False
        if path.is_file() and (path.samefile(source) or path.stat().st_size == source.stat().st_size):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = target / f".{path.name}.tmp"
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, temporary)
        temporary.replace(path)
    return True


def _remove_others(target: Path, wanted: Iterable[str]) -> list[str]:
    kept = set(wanted)
    removed = []
    for folder, _, names in os.walk(target, topdown=False):
        inside = Path(folder).relative_to(target)
        for name in names:
            key = (inside / name).as_posix()
            if key not in kept:
                (target / key).unlink(missing_ok=True)
                removed.append(key)
        if inside != Path():
            with suppress(OSError):  # it holds something
                Path(folder).rmdir()
    return removed
