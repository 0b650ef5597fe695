"""Looking after an index: listing, yanking, project status, removing, collecting what nobody needs.

In: a location and what to do. Out: what was done, or with `dry_run` what would be. Fails with `UsageError` when nothing
is named so, with `IndexConflictError` when a publication pins what is to go, and as `truth` does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import IndexConflictError, UsageError
from wheelsmith.index import keys, recovery
from wheelsmith.index import transactions as truth
from wheelsmith.index.metadata import parse_filename
from wheelsmith.index.publish import settle
from wheelsmith.index.record import STATUSES, ProjectRecord, Status
from wheelsmith.index.retention import Rules, expired, expired_publications
from wheelsmith.index.storage import Storage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from wheelsmith.index.entry import Entry
    from wheelsmith.index.record import Publication

    Location = str | os.PathLike[str] | Storage

_GRACE = timedelta(days=1)  # how long an upload may take from its first byte to its record


@dataclass(frozen=True, slots=True)
class Collected:
    """What `collect` removed, or would remove.

    Attributes:
        entries: published files.
        publications: names of publications, with their paths.
        leftovers: keys of wheels in a bucket that no record names, and names that dead writers left.
        pinned: file names that the rules alone would have let go, but a publication pins.
    """

    entries: tuple[Entry, ...]
    publications: tuple[str, ...]
    leftovers: tuple[str, ...]
    pinned: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the published files."""
        return sum(entry.size for entry in self.entries)


def list_records(where: Location, project: str | None = None) -> tuple[ProjectRecord, ...]:
    """Return the records of all projects, or of one, by name.

    Raises:
        UsageError: there is no such project.
    """
    storage = truth.open_index(where)
    if project is None:
        return tuple(truth.load_all(storage).values())
    record = truth.load(storage, canonicalize_name(project))
    if storage.read(keys.project_record(record.project)) is None:
        raise UsageError(f"The index {storage.url} has no project {project!r}.", "See `wheelsmith index list`.")
    return (record,)


def yank(where: Location, what: str, *, reason: str | None = "", dry_run: bool = False) -> tuple[Entry, ...]:
    """Yank files (PEP 592): resolvers pass them by, exact pins still get them. A `reason` of None takes it back.

    Args:
        where: the index.
        what: `name`, `name==version` with its local part, or a file name.
        reason: for people; may be empty.
        dry_run: change nothing.

    Returns:
        The files whose state changes, as they were.

    Raises:
        UsageError: the index has nothing of this name.
    """
    storage = truth.open_index(where)
    with storage.exclusive():
        chosen = tuple(entry for entry in _select(storage, what) if entry.yanked != reason)
        if chosen and not dry_run:
            _change(storage, chosen[0].project, lambda record: record.with_yanked(_names(chosen), reason))
    return chosen


def set_status(
    where: Location, project: str, status: Status, *, reason: str | None = None, dry_run: bool = False
) -> ProjectRecord:
    """Set a project's status (PEP 792). Quarantined: its files leave every page. Archived: it takes no new files.

    Returns:
        The record as it was.

    Raises:
        UsageError: there is no such project or status.
    """
    if status not in STATUSES:
        raise UsageError(f"{status!r} is no project status.", f"Give one of {', '.join(STATUSES)}.")
    storage = truth.open_index(where)
    with storage.exclusive():
        (record,) = list_records(storage, project)
        if not dry_run:
            _change(storage, record.project, lambda now: replace(now, status=status, status_reason=reason))
            for publication in truth.load_publications(storage):
                if record.project in publication.files:
                    truth.refresh_publication(storage, publication)
    return record


def remove(where: Location, what: str, *, force: bool = False, dry_run: bool = False) -> tuple[Entry, ...]:
    """Take files out of the index, and delete them. Their names stay taken: only the same bytes may come back.

    Args:
        where: the index.
        what: `name`, `name==version` with its local part, or a file name.
        force: also what a publication pins.
        dry_run: change nothing.

    Returns:
        The files that go.

    Raises:
        UsageError: the index has nothing of this name.
        IndexConflictError: a publication pins one of them, and `force` was not given.
    """
    storage = truth.open_index(where)
    with storage.exclusive():
        chosen = _select(storage, what)
        recovery.require_records(storage)
        record = truth.load(storage, chosen[0].project)
        held = sorted(_names(chosen) & _pinned(truth.load_publications(storage), [record]))
        if held and not force:
            raise IndexConflictError(
                f"{held[0]} is pinned by a publication and cannot be removed.",
                "Yank it instead; or say --force, and every client that uses the publication's path loses it.",
            )
        if not dry_run:
            _remove(storage, chosen, ())
    return chosen


def collect(where: Location, rules: Rules, *, dry_run: bool = False, now: datetime | None = None) -> Collected:
    """Remove what no rule keeps, publications that are too old, and what interrupted uploads left.

    Args:
        where: the index.
        rules: what to keep.
        dry_run: change nothing.
        now: the time, in UTC; default: the clock's.
    """
    now = now or datetime.now(UTC)
    storage = truth.open_index(where)
    with storage.exclusive():
        recovery.require_records(storage)
        publications = truth.load_publications(storage)
        records = truth.load_all(storage)
        old = [*expired_publications(publications, rules, now), *_unborn(publications, records, now)]
        pins = _pinned((one for one in publications if one not in old), records.values())
        loose = [entry for record in records.values() for entry in expired(record.entries, rules, now, ())]
        going = tuple(entry for entry in loose if entry.filename not in pins)
        leftovers = (*storage.leftovers(), *_orphans(storage, records.values(), now))
        if not dry_run:
            settle(storage)
            if going or old:
                _remove(storage, going, {one.name for one in old})
            _delete_wheels(storage, [key for key in leftovers if key.startswith(keys.FILES)])
    return Collected(
        entries=going,
        publications=tuple(sorted({one.name for one in old})),
        leftovers=leftovers,
        pinned=tuple(entry.filename for entry in loose if entry.filename in pins),
    )


def _select(storage: Storage, what: str) -> tuple[Entry, ...]:
    """The files that `what` names."""
    if what.endswith(".whl"):
        record = truth.load(storage, parse_filename(what)[0])
        found = [entry for entry in record.entries if entry.filename == what]
    else:
        name, equal, version = what.partition("==")
        record = truth.load(storage, canonicalize_name(name.strip()))
        try:
            wanted = Version(version) if equal else None
        except InvalidVersion as error:
            raise UsageError(f"{version!r} is no version.", "Write it as in cuvec==6.0.1+cu130.") from error
        found = [entry for entry in record.entries if wanted is None or Version(entry.version) == wanted]
    if not found:
        near = ", ".join(dict.fromkeys(entry.version for entry in record.entries))
        raise UsageError(
            f"The index {storage.url} has no file for {what!r}.",
            f"It has these versions: {near}." if near else "See `wheelsmith index list`.",
        )
    return tuple(found)


def _change(storage: Storage, project: str, change: Callable[[ProjectRecord], ProjectRecord]) -> None:
    truth.update(storage, project, change, remember=truth.always)
    truth.refresh(storage, {project}, lists=True)


def _remove(storage: Storage, entries: Iterable[Entry], publications: Iterable[str]) -> None:
    """Records first, then pages, then bytes: no page names a file that is gone."""
    going = tuple(entries)
    names = _names(going)
    for project in sorted({entry.project for entry in going}):
        truth.update(storage, project, lambda record: record.without(names), remember=truth.always)
    dropped = set(publications)
    told = {name for one in truth.load_publications(storage) if one.name in dropped for name in one.files}
    for project in sorted(told):  # when its files came, only the dropped publications said
        truth.copy_record(storage, truth.load(storage, project))
    storage.delete(*map(keys.publication_record, dropped))
    truth.refresh_everything(storage)
    _delete_wheels(storage, [entry.path for entry in going])


def _delete_wheels(storage: Storage, paths: Iterable[str]) -> None:
    for path in paths:
        storage.delete(path, *keys.beside(path))


def _orphans(storage: Storage, records: Iterable[ProjectRecord], now: datetime) -> tuple[str, ...]:
    """Uploads that no record names and that are too old to be on their way."""
    named = {entry.path for record in records for entry in record.entries}
    return tuple(
        path
        for path, since in storage.wheels()
        if path.startswith(keys.FILES) and path not in named and now - since > _GRACE
    )


def _names(entries: Iterable[Entry]) -> set[str]:
    return {entry.filename for entry in entries}


def _pinned(publications: Iterable[Publication], records: Iterable[ProjectRecord]) -> set[str]:
    """Names of the published files that publications name."""
    by_name = {record.project: record for record in records}
    return {
        entry.filename
        for one in publications
        for project in one.files
        if project in by_name
        for entry in one.of_project(by_name[project])
    }


def _unborn(
    publications: Iterable[Publication], records: Mapping[str, ProjectRecord], now: datetime
) -> Iterable[Publication]:
    """Publications whose files never were published, or are all gone, and that are too old to be on their way."""
    for one in publications:
        shown = any(one.of_project(records[project]) for project in one.files if project in records)
        if not shown and now - one.time > _GRACE:
            yield one
