"""Records that are damaged or gone, made again from what is left.

In: a storage. Out: a `Restored` for each record that cannot be read, or that should be there and is not; nothing is
written here. Fails as the storage does.

What is known is taken from, in this order: the newest copy under `records/history/`, which every change leaves there
but a plain publish; the project's merged page, which says hash, upload time, yank and status; publications, which say
hash and time; and the wheels themselves, which say all else. Every wheel is hashed and read again. A wheel counts as
published if one of them names it, or if its METADATA lies beside it, as it does since just before its publication;
where not even a METADATA file is left, every wheel does. In a directory, whose dead writers leave a journal, that holds
for sound records too: a wheel with METADATA that no record names was published, and its record is older than it.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from wheelsmith.attest.pep740 import check_provenance
from wheelsmith.errors import InvalidWheelError, StoreError
from wheelsmith.fsutil import sha256_of
from wheelsmith.index import keys
from wheelsmith.index import transactions as truth
from wheelsmith.index.entry import Entry
from wheelsmith.index.metadata import parse_filename, read_wheel
from wheelsmith.index.record import STATUSES, Catalog, ProjectRecord, Publication, from_bytes, to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wheelsmith.index.storage import Storage, Stored


_TRACES = (".metadata", "/index.json", "/index.html")
_Kind = TypeVar("_Kind", ProjectRecord, Publication, Catalog)


@dataclass(frozen=True, slots=True)
class Restored:
    """A record made again.

    Attributes:
        key: of the record.
        stored: what lies there now; None: nothing.
        record: what should; None where nothing tells.
        text: what was wrong, what came back and what did not, for people.
    """

    key: str
    stored: Stored | None
    record: ProjectRecord | Publication | None
    text: str

    def write(self, storage: Storage) -> bool:
        """Put the record where it belongs, unless somebody else did meanwhile; return whether it was put."""
        return self.record is not None and storage.swap(self.key, to_bytes(self.record), self.stored)


@dataclass(frozen=True, slots=True)
class _Shown:
    """One file as a page shows it."""

    sha256: str
    time: datetime
    yanked: str | None


@dataclass(frozen=True, slots=True)
class _Page:
    """What a project's page says; of a page that is not there or not readable: nothing."""

    files: dict[str, _Shown]
    status: Any = "active"
    reason: str | None = None
    is_there: bool = False


def require_records(storage: Storage) -> None:
    """Make sure that no record is gone or damaged, before pages and files that none names are removed.

    Raises:
        StoreError: one is.
    """
    for one in _Survey(storage).lost_projects():
        if one.stored is None or _read(ProjectRecord, one.stored, one.key) is None:
            raise truth.lost(one.key)


def unpublished(storage: Storage) -> tuple[str, ...]:
    """Wheels that lie in a directory index, and of which nothing says that they were ever published."""
    seen = _Survey(storage)
    return tuple(name for project in seen.projects() for name in seen.unexplained(project))


def survey(storage: Storage) -> tuple[Restored, ...]:
    """Return the records that are damaged or gone, publications first, with what they should be."""
    found = _Survey(storage)
    return (*found.lost_publications(), *found.lost_projects())


class _Survey:
    """One look at a storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._names = list(storage.names())
        self._half_done = set(storage.leftovers())
        self._is_bare = not any(name.startswith("records/") or name.endswith(_TRACES) for name in self._names)
        self._publications: dict[str, Publication] = {}
        self._known = {name: record for name in self._projects() if (record := self._sound(name)) is not None}
        self._wheels: dict[str, list[tuple[str, str, datetime]]] | None = None

    def lost_publications(self) -> Iterator[Restored]:
        """Publications, whose pages tell which files they named: their name is a digest of those."""
        places = {key.split("/")[1] for key in self._names if key.startswith("pub/") and key.endswith("index.json")}
        for name in sorted(places | self._recorded(keys.PUBLICATIONS)):
            key = keys.publication_record(name)
            stored = self._storage.read(key)
            if sound := _read(Publication, stored, key):
                self._publications[name] = sound
                continue
            publication = self._publication(name)
            if publication is not None:
                self._publications[name] = publication
            elif stored is None:
                continue  # pages that follow from nothing
            if publication is None:
                came = f"what it named is not known; /pub/{name}/ goes"
            else:
                came = "it came back" if _is_whole(publication) else "it came back, without files removed since"
            yield Restored(key, stored, publication, f"{_what(stored)}: {came}")

    def lost_projects(self) -> Iterator[Restored]:
        """Projects that have a damaged record, or pages or a history, but no record."""
        for project in self.projects():
            key = keys.project_record(project)
            stored = self._storage.read(key)
            if (sound := _read(ProjectRecord, stored, key)) is not None:
                if (missed := self._missed(project, sound)) is not None:
                    yield Restored(key, stored, *missed)
                continue
            restored = self._project(project, stored)
            if stored is not None or restored.record != ProjectRecord(project):
                yield restored

    def _missed(self, project: str, record: ProjectRecord) -> tuple[ProjectRecord, str] | None:
        """A sound record with the published wheels that it does not name, and a sentence; None: it names all."""
        found: list[Entry] = []
        for filename, places in sorted(self._unnamed(project, record).items()):
            made = [one[0] for key, since in places if (one := self._entry(project, filename, key, since))]
            found += made[:1]
        if not found:
            return None
        names = ", ".join(entry.filename for entry in found)
        entries = tuple(sorted((*record.entries, *found), key=lambda entry: entry.order))
        return replace(record, entries=entries), f"it does not name {names}, which was published"

    def _unnamed(self, project: str, record: ProjectRecord) -> dict[str, list[tuple[str, datetime]]]:
        """Stored wheels that a record does not name, in a directory: in a bucket they may be on their way."""
        return {
            filename: places
            for filename, places in self._stored(project).items()
            if self._storage.stored_at(filename, "") is None
            and record.claimed(filename) is None
            and filename not in record.removed
            and filename not in self._half_done
        }

    def unexplained(self, project: str) -> list[str]:
        """Wheels that nothing says were published."""
        record = self._known.get(project, ProjectRecord(project))
        found = self._unnamed(project, record)
        return sorted(
            name
            for name, places in found.items()
            if not any(self._entry(project, name, key, since) for key, since in places)
        )

    def projects(self) -> list[str]:
        """Every project that has a record, a page, a history, a publication or a wheel; sorted."""
        in_bucket = self._storage.stored_at("", "") is not None  # where a wheel may be on its way, or left behind
        told = any(name.startswith("records/") or keys.is_page(name) for name in self._names)
        return self._projects(() if in_bucket and told else self._wheels_by_project())

    def _projects(self, more: Iterable[str] = ()) -> list[str]:
        """Every project that has a record, a merged page or a history, or that the catalog names; sorted."""
        names = self._recorded(keys.PROJECTS)
        names |= {key.split("/")[1] for key in self._names if key.startswith("simple/") and key.count("/") == 2}
        names |= {key.split("/")[2] for key in self._names if key.startswith(keys.HISTORY)}
        catalog = _read(Catalog, self._storage.read(keys.CATALOG), keys.CATALOG)
        return sorted(names | set(catalog.projects if catalog else ()) | set(more))

    def _sound(self, project: str) -> ProjectRecord | None:
        """A project's record, or the newest copy of it."""
        key = keys.project_record(project)
        return _read(ProjectRecord, self._storage.read(key), key) or self._history(project)

    def _recorded(self, prefix: str) -> set[str]:
        return {
            key.removeprefix(prefix).removesuffix(".json")
            for key in self._names
            if key.startswith(prefix) and key.endswith(".json")
        }

    def _publication(self, name: str) -> Publication | None:
        """What a publication named, as its own pages and the records of projects tell."""
        place = keys.publication_place(name)
        shown = {key.split("/")[3] for key in self._names if key.startswith(f"{place}/simple/") and key.count("/") == 4}
        found: dict[tuple[str, str], tuple[str, datetime]] = {}
        for project in shown:
            for filename, file in self._page(place, project).files.items():
                found[project, filename] = file.sha256, file.time
        for record in self._known.values():
            for entry in record.entries:
                if entry.publication == name:
                    found[record.project, entry.filename] = entry.sha256, entry.upload_time
        if not found:
            return None
        files = ((project, filename, sha256) for (project, filename), (sha256, _) in found.items())
        return replace(Publication.of(files, max(time for _, time in found.values())), name=name)

    def _project(self, project: str, stored: Stored | None) -> Restored:
        history = self._history(project)
        page = self._page("", project)
        before = history or ProjectRecord(project, status=page.status, status_reason=page.reason)
        entries = {entry.filename: entry for entry in before.entries}
        guessed = skipped = 0
        for filename, found in sorted(self._stored(project).items()):
            made = list(filter(None, (self._entry(project, filename, key, since) for key, since in found)))
            known = entries.get(filename) or page.files.get(filename)
            wanted = known.sha256 if known else None
            chosen = min(made, key=lambda one: (one[0].sha256 != wanted, one[0].upload_time), default=None)
            if chosen is None:
                skipped += 1
                continue
            alive = filename in page.files and page.files[filename].sha256 == chosen[0].sha256
            if before.removed.get(filename) == chosen[0].sha256 and not alive:
                continue  # a page is younger than the copy: it was published again
            entry, told = chosen
            if filename in entries and entries[filename].sha256 == entry.sha256:
                continue  # history knows more
            shown = page.files.get(filename)
            if shown and shown.sha256 == entry.sha256:
                entry, told = replace(entry, upload_time=shown.time, yanked=shown.yanked), True
            guessed += not told
            entries[filename] = entry
        record = replace(
            before,
            entries=tuple(sorted(entries.values(), key=lambda entry: entry.order)),
            removed={name: sha256 for name, sha256 in before.removed.items() if name not in entries},
        )
        text = [f"{_what(stored)}: made again with {len(record.entries)} files"]
        text += [f"{skipped} wheels that cannot be read are left out"] if skipped else []
        text += [f"the upload times of {guessed} are those of the stored files"] if guessed else []
        if history is None:
            text += ["names of removed files are free again"]
            text += [] if page.is_there else ["yanks and the project's status are not known"]
        return Restored(keys.project_record(project), stored, record, "; ".join(text))

    def _history(self, project: str) -> ProjectRecord | None:
        for key in sorted((key for key in self._names if key.startswith(f"{keys.HISTORY}{project}/")), reverse=True):
            if record := _read(ProjectRecord, self._storage.read(key), key):
                return record
        return None

    def _page(self, place: str, project: str) -> _Page:
        stored = self._storage.read(keys.page(place, project, "json"))
        try:
            page = json.loads(stored.data) if stored else {}
            status = page.get("project-status", {})
            files = {file["filename"]: _shown(file) for file in page["files"]}
            known = status.get("status", "active")
            return _Page(files, known if known in STATUSES else "active", status.get("reason"), is_there=True)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # not a page that we wrote
            return _Page({})

    def _stored(self, project: str) -> dict[str, list[tuple[str, datetime]]]:
        """Where wheels of a project are, by file name; in a bucket a name may have been uploaded twice."""
        found: dict[str, list[tuple[str, datetime]]] = {}
        for filename, key, since in self._wheels_by_project().get(project, ()):
            found.setdefault(filename, []).append((key, since))
        return found

    def _wheels_by_project(self) -> dict[str, list[tuple[str, str, datetime]]]:
        if self._wheels is None:
            self._wheels = {}
            for key, since in self._storage.wheels():
                filename = key.rpartition("/")[2]
                with suppress(InvalidWheelError):
                    self._wheels.setdefault(parse_filename(filename)[0], []).append((filename, key, since))
        return self._wheels

    def _entry(self, project: str, filename: str, key: str, since: datetime) -> tuple[Entry, bool] | None:
        """The entry of a stored wheel, and whether its upload time is known; None: it is no wheel of ours."""
        with self._storage.local(key) as path:
            if path is None:
                return None
            sha256, size = sha256_of(path), path.stat().st_size
            try:
                facts = read_wheel(path, filename)
            except InvalidWheelError:
                return None
        brought = sorted(
            (one for one in self._publications.values() if one.files.get(project, {}).get(filename) == sha256),
            key=lambda one: one.time,
        )
        if self._storage.stored_at(filename, sha256) not in {None, key}:
            return None
        if not brought and not self._is_bare and self._storage.size(keys.metadata(key)) is None:
            shown = self._page("", project).files.get(filename)
            if shown is None or shown.sha256 != sha256:
                return None
        entry = Entry(
            filename=filename,
            project=project,
            version=facts.version,
            sha256=sha256,
            size=size,
            metadata_sha256=hashlib.sha256(facts.metadata).hexdigest(),
            requires_python=facts.requires_python,
            upload_time=brought[0].time if brought else since.astimezone(UTC),
            variant=facts.variant,
            provenance_sha256=self._provenance(key, filename, sha256),
            publication=brought[0].name if brought else None,
            stored_at=self._storage.stored_at(filename, sha256),
            wheel_variant=facts.wheel_variant,
        )
        return entry, bool(brought)

    def _provenance(self, key: str, filename: str, sha256: str) -> str | None:
        stored = self._storage.read(keys.provenance(key))
        if stored is None:
            return None
        try:
            check_provenance(stored.data, filename, sha256)
        except InvalidWheelError:
            return None
        return hashlib.sha256(stored.data).hexdigest()


def _read(kind: type[_Kind], stored: Stored | None, key: str) -> _Kind | None:
    """A record, or None if it is not there or damaged."""
    try:
        return None if stored is None else from_bytes(kind, stored.data, key)
    except StoreError:
        return None


def _is_whole(publication: Publication) -> bool:
    """Whether all files are there: the name is a digest of them."""
    files = ((project, name, sha) for project, found in publication.files.items() for name, sha in found.items())
    return Publication.of(files, publication.time).name == publication.name


def _shown(file: dict[str, Any]) -> _Shown:
    yanked = file.get("yanked", False)
    return _Shown(
        sha256=str(file["hashes"]["sha256"]),
        time=datetime.strptime(file["upload-time"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC),
        yanked=yanked if isinstance(yanked, str) else "" if yanked else None,
    )


def _what(stored: Stored | None) -> str:
    return "it is gone" if stored is None else "it is damaged"


def restored_records(found: Iterable[Restored]) -> tuple[dict[str, ProjectRecord], tuple[Publication, ...]]:
    """The project records and the publications among what was found, for pages as they should be."""
    records = [one.record for one in found]
    return (
        {record.project: record for record in records if isinstance(record, ProjectRecord)},
        tuple(record for record in records if isinstance(record, Publication)),
    )
