"""Changing the index: records first, by compare-and-swap, then every page that follows from them.

In: a storage and changes of records. Out: a storage whose pages say what its records say. Fails with `BusyError` when
others keep winning, and with the storage's own errors.

Why no update is lost and no page stays old, with any number of writers: a record is replaced only if it still is what
the change was made from. A page is replaced only if it still is what it was *before the records were read*; so if
another writer has meanwhile put a newer page, ours is refused, and we read the records again. Whoever changes a record
brings its pages up to date afterwards.
"""

from __future__ import annotations

import hashlib
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wheelsmith.errors import BusyError, StoreError, UsageError
from wheelsmith.index import keys, site
from wheelsmith.index.location import open_storage
from wheelsmith.index.record import Catalog, ProjectRecord, Publication, from_bytes, to_bytes
from wheelsmith.index.storage import Storage, Stored

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Mapping

_TRIES = 200
_LONGEST = 1.0  # seconds between two tries


def open_index(where: str | os.PathLike[str] | Storage, *, ruins: bool = False) -> Storage:
    """Open an index that exists already; with `ruins`, also one of which only wheels are left.

    Raises:
        UsageError: there is none, or `where` is no location.
    """
    storage = open_storage(where)
    there = storage.read(keys.CATALOG) is not None or any(storage.names("records/"))
    if not there and not (ruins and any(storage.wheels())):
        raise UsageError(f"There is no index at {storage.url}.", "Correct --index, or publish a wheel there first.")
    return storage


def always(before: ProjectRecord) -> bool:
    """For `remember` of `update`: leave a copy."""
    return True


def load(storage: Storage, project: str) -> ProjectRecord:
    """Return a project's record; an empty one if nothing was ever published.

    Raises:
        StoreError: the record is damaged, or gone while its pages are there.
    """
    return _loaded(storage, project, storage.read(keys.project_record(project)))


def load_all(storage: Storage, *, but: Collection[str] = ()) -> dict[str, ProjectRecord]:
    """Return the records of all projects, by name, without those under the keys `but`.

    Raises:
        StoreError: a record is damaged.
    """
    names = [_name(key) for key in storage.names(keys.PROJECTS) if key.endswith(".json") and key not in but]
    stored = _read_each(storage, map(keys.project_record, names))
    return {name: _record(name, stored[keys.project_record(name)]) for name in sorted(names)}


def load_publications(storage: Storage, *, but: Collection[str] = ()) -> tuple[Publication, ...]:
    """Return all publications, by name, without those under the keys `but`.

    Raises:
        StoreError: a record is damaged.
    """
    names = [key for key in storage.names(keys.PUBLICATIONS) if key.endswith(".json") and key not in but]
    stored = _read_each(storage, names)
    return tuple(from_bytes(Publication, one.data, key) for key in names if (one := stored[key]) is not None)


def update(
    storage: Storage,
    project: str,
    change: Callable[[ProjectRecord], ProjectRecord],
    *,
    remember: Callable[[ProjectRecord], bool] = lambda before: False,
) -> ProjectRecord:
    """Replace a project's record by what `change` makes of it, and return the new one. This is the commit.

    A copy is left first where `remember`, which gets the record as it was, says so: for changes that neither wheels nor
    publications could tell, and for those that contradict an older copy (see `recovery`).

    Raises:
        BusyError: other writers won every time.
        StoreError: the record is damaged, or gone while its pages are there.
    """
    key = keys.project_record(project)
    for _ in _tries(key):
        stored = storage.read(key)
        before = _loaded(storage, project, stored)
        after = change(before)
        if after != before and remember(before):
            copy_record(storage, after)
        if after == before or storage.swap(key, to_bytes(after), stored):
            return after
    raise _busy(key)


def copy_record(storage: Storage, record: ProjectRecord) -> None:
    """Leave a copy of a record under `records/history/`; they are only ever added."""
    data = to_bytes(record)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z-{hashlib.sha256(data).hexdigest()[:12]}"
    storage.write(f"{keys.HISTORY}{record.project}/{name}.json", data)


def refresh(
    storage: Storage, projects: Iterable[str], *, publications: Iterable[str] = (), lists: bool = False
) -> None:
    """Bring the pages of `projects` up to date, and what else follows from a change of them.

    Args:
        storage: the index.
        projects: whose records may have changed.
        publications: names of those whose pages may be missing.
        lists: look at the lists of all projects even if no project came or went.
    """
    names = sorted(set(projects))
    catalog = _catalog(storage.read(keys.CATALOG))
    _refresh_projects(storage, names, catalog.places)
    updated = _update_catalog(storage, names)
    for place in set(updated.places) - set(catalog.places):  # also shows what was published before
        _refresh_projects(storage, updated.at(place), (place,))
    if lists or updated != catalog:
        places = {*catalog.places, *updated.places}
        wanted = [keys.page(place, None, kind) for place in ("", *sorted(places)) for kind in keys.KINDS]
        converge(storage, wanted, lambda: site.list_pages(_catalog(storage.read(keys.CATALOG)), places))
    for name in sorted(set(publications)):
        stored = storage.read(keys.publication_record(name))
        if stored is not None:
            refresh_publication(storage, from_bytes(Publication, stored.data, keys.publication_record(name)))


def refresh_publication(storage: Storage, publication: Publication) -> None:
    """Bring the pages of one publication up to date: written once, changed only if files are removed or quarantined."""
    place = keys.publication_place(publication.name)
    wanted = {keys.page(place, project, kind) for project in (None, *publication.files) for kind in keys.KINDS}

    def render() -> dict[str, bytes]:
        return site.publication_pages(publication, {name: load(storage, name) for name in publication.files})

    converge(storage, wanted | render().keys(), render)


def refresh_everything(storage: Storage) -> tuple[str, ...]:
    """Make every page of the index anew from the records, remove pages that follow from none; return what changed."""
    changed: set[str] = set()
    for _ in _tries(storage.url):
        present = _read_each(storage, _page_keys(storage))
        made = site.whole_site(load_all(storage), load_publications(storage))
        old = [key for key in {**present, **made} if (now := present.get(key)) is None or now.data != made.get(key)]
        changed.update(old)
        if not _put(storage, sorted(old), made, present):
            return tuple(sorted(changed))
    raise _busy(storage.url)


def stale_pages(
    storage: Storage,
    records: Mapping[str, ProjectRecord] | None = None,
    publications: Iterable[Publication] | None = None,
) -> tuple[str, ...]:
    """Return the keys of pages that are not what the records (default: the stored ones) say: missing, other, too many.

    Raises:
        StoreError: a record is damaged.
    """
    records = load_all(storage) if records is None else records
    made = site.whole_site(records, load_publications(storage) if publications is None else publications)
    present = _read_each(storage, {*_page_keys(storage), *made})
    return tuple(sorted(key for key, now in present.items() if now is None or now.data != made.get(key)))


def converge(storage: Storage, wanted: Iterable[str], render: Callable[[], Mapping[str, bytes]]) -> None:
    """Make every key of `wanted` hold what `render` returns for it, or nothing if it returns nothing.

    `render` reads the records itself, and is asked again whenever another writer was faster.

    Raises:
        BusyError: other writers won every time.
    """
    pending = sorted(wanted)
    for _ in _tries(storage.url):
        present = _read_each(storage, pending)
        pending = _put(storage, pending, render(), present)
        if not pending:
            return
    raise _busy(storage.url)


def _read_each(storage: Storage, names: Iterable[str]) -> dict[str, Stored | None]:
    """Return what is stored under each key."""
    found: dict[str, Stored | None] = {}
    storage.each(lambda key: found.__setitem__(key, storage.read(key)), names)
    return found


def _put(
    storage: Storage, names: Iterable[str], made: Mapping[str, bytes], present: Mapping[str, Stored | None]
) -> list[str]:
    """Replace what is `present` by what was `made`, and return the keys that must be looked at again, sorted."""
    again: list[str] = []

    def put(key: str) -> None:
        now, data = present.get(key), made.get(key)
        if data is None:
            if now is not None:  # a bucket cannot delete on condition: look once more afterwards
                storage.delete(key)
                again.append(key)
        elif (now is None or now.data != data) and not storage.swap(key, data, now):
            again.append(key)

    storage.each(put, names)
    return sorted(again)


def _refresh_projects(storage: Storage, projects: Iterable[str], places: Iterable[str]) -> None:
    names, fixed = list(projects), set(places)
    records = [load(storage, name) for name in names]
    every = sorted(fixed | {place for record in records for place in record.variants} - {""})

    def render() -> dict[str, bytes]:
        made: dict[str, bytes] = {}
        for name in names:
            made |= site.project_pages(load(storage, name), every)
        return made

    converge(storage, {key for record in records for key in site.page_keys(record, every)}, render)


def _update_catalog(storage: Storage, projects: Iterable[str]) -> Catalog:
    names = list(projects)
    for _ in _tries(keys.CATALOG):
        stored = storage.read(keys.CATALOG)
        before = after = _catalog(stored)
        for name in names:
            after = after.with_record(load(storage, name))
        if (after == before and stored is not None) or storage.swap(keys.CATALOG, to_bytes(after), stored):
            return after
    raise _busy(keys.CATALOG)


def _page_keys(storage: Storage) -> list[str]:
    return [key for key in storage.names() if keys.is_page(key) or key == keys.CATALOG]


def _record(project: str, stored: Stored | None) -> ProjectRecord:
    if stored is None:
        return ProjectRecord(project)
    return from_bytes(ProjectRecord, stored.data, keys.project_record(project))


def _loaded(storage: Storage, project: str, stored: Stored | None) -> ProjectRecord:
    """The record; a new one only where no page says that there was one before: records come before pages."""
    if stored is None and storage.read(keys.page("", project, "json")) is not None:
        raise lost(keys.project_record(project))
    return _record(project, stored)


def lost(key: str) -> StoreError:
    """The error for a record that is gone: going on would take off the pages what it named."""
    return StoreError(
        f"The index record {key} is gone, and what it named is still there.",
        "Run `wheelsmith index verify --repair`: it makes records again from the wheels. Nothing was changed.",
    )


def _catalog(stored: Stored | None) -> Catalog:
    return Catalog() if stored is None else from_bytes(Catalog, stored.data, keys.CATALOG)


def _name(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")


def _tries(what: str) -> Iterable[int]:
    """Count tries, with pauses of random length between them that grow (full jitter)."""
    for number in range(_TRIES):
        yield number
        time.sleep(random.uniform(0, min(_LONGEST, 0.005 * 2 ** min(number, 10))))  # noqa: S311  no secret


def _busy(what: str) -> BusyError:
    return BusyError(f"Other writers were faster {_TRIES} times in a row at {what}.", "Run it again.")
