"""Proving an index: every published file whole, every page what the records say, nothing half done.

In: a location. Out: `IndexVerification`: what was looked at and what is wrong. With `repair` whatever can be mended is,
and what cannot leaves the pages: afterwards each wheel is published, whole, or not at all. A damaged record is a
finding like any other. Fails as the storage does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wheelsmith.errors import InvalidWheelError
from wheelsmith.events import Listener, Progress, ignore
from wheelsmith.fsutil import sha256_of
from wheelsmith.index import keys, recovery
from wheelsmith.index import transactions as truth
from wheelsmith.index.metadata import read_wheel
from wheelsmith.index.publish import settle
from wheelsmith.index.storage import Storage

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from wheelsmith.index.entry import Entry
    from wheelsmith.index.record import ProjectRecord
    from wheelsmith.index.recovery import Restored

Kind = Literal[
    "interrupted", "record", "unpublished", "missing", "damaged", "refused", "metadata", "provenance", "page"
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: `interrupted` a writer died; `record` the truth about a project or a publication; `unpublished` a
            wheel that lies there and was not; `missing`, `damaged` a published wheel; `refused` one that is whole and
            that `publish` would not take today; `metadata`, `provenance` the file beside one; `page` a page that is not
            what they say.
        key: what it is about: a key, or a file name.
        text: what is wrong, for people.
        repaired: it no longer is.
    """

    kind: Kind
    key: str
    text: str
    repaired: bool


@dataclass(frozen=True, slots=True)
class IndexVerification:
    """What `verify` saw.

    Attributes:
        files: published wheels that were read to the end.
        size: their bytes.
        pages: pages that should be there.
        findings: what was wrong.
    """

    files: int
    size: int
    pages: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong now."""
        return all(finding.repaired for finding in self.findings)


def verify(
    where: str | os.PathLike[str] | Storage, *, repair: bool = False, listener: Listener = ignore
) -> IndexVerification:
    """Read every published file to the end and compare every page with the records. Publishing may go on meanwhile.

    Args:
        where: the index.
        repair: make damaged and missing records again (see `recovery` for what comes back), roll back what dead writers
            left, write METADATA and pages again, take off the pages attestations that are not what was published, and
            wheels that are missing or damaged (those are moved to `.wheelsmith/damaged/`; their names stay their own).
        listener: hears `Progress` of the stage `index` after each file.

    Raises:
        StoreError: the storage fails.
    """
    storage = truth.open_index(where, ruins=True)
    findings: list[Finding] = []
    with storage.exclusive():
        lost = recovery.survey(storage)
        findings += [Finding("record", one.key, one.text, repair and _put_back(storage, one)) for one in lost]
        if repair:
            lost = ()
        for name in storage.leftovers():
            text = "its writer died: it is published if its project's record names it, and else not"
            findings.append(Finding("interrupted", name, text, repair))
        if repair:
            settle(storage)
        text = "no record names it, and nothing says that it was published: publish it, or move it away"
        findings += [Finding("unpublished", name, text, False) for name in recovery.unpublished(storage)]
    virtual = recovery.restored_records(lost)[0]
    entries = [entry for record in _records(storage, lost).values() for entry in record.entries]
    for number, entry in enumerate(entries, 1):
        for kind, key, text in _problems(storage, entry):
            if entry.project not in virtual and not _still_published(storage, entry):
                break
            findings.append(Finding(kind, key, text, repair and _mend(storage, entry, kind)))
        listener(Progress("index", entry.filename, number, len(entries), "files"))
    with storage.exclusive():
        old = _stale_pages(storage, lost)
        if old and not repair:
            old &= _stale_pages(storage, lost)  # in a bucket another writer may have been between two pages
        if repair:
            old.update(truth.refresh_everything(storage))
        findings += [Finding("page", key, "it is not what the records say", repair) for key in sorted(old)]
    return IndexVerification(
        files=len(entries),
        size=sum(entry.size for entry in entries),
        pages=sum(1 for key in storage.names() if keys.is_page(key)),
        findings=tuple(findings),
    )


def rebuild(where: str | os.PathLike[str] | Storage, *, dry_run: bool = False) -> tuple[str, ...]:
    """Write every page again from the records and the stored files, and return the keys of pages that changed.

    Records that are gone or damaged are made again first, and named too (see `recovery`). Files that are no longer
    stored leave their records; pages that follow from none are removed.

    Raises:
        StoreError: the storage cannot be written, or a record is damaged.
    """
    storage = truth.open_index(where, ruins=True)
    with storage.exclusive():
        lost = recovery.survey(storage)
        if dry_run:
            return (*(one.key for one in lost), *sorted(_stale_pages(storage, lost)))
        for one in lost:
            _put_back(storage, one)
        for record in truth.load_all(storage).values():
            _forget(storage, *(entry for entry in record.entries if storage.size(entry.path) is None))
            for entry in record.entries:
                if storage.size(keys.metadata(entry.path)) is None:
                    _write_metadata(storage, entry)
        return (*(one.key for one in lost), *truth.refresh_everything(storage))


def _problems(storage: Storage, entry: Entry) -> Iterator[tuple[Kind, str, str]]:
    with storage.local(entry.path) as path:
        if path is None:
            yield "missing", entry.path, "the wheel is not there"
            return
        size, digest = path.stat().st_size, sha256_of(path)
        if (size, digest) != (entry.size, entry.sha256):
            yield (
                "damaged",
                entry.path,
                f"it has {size} bytes and the SHA-256 {digest}, not {entry.size} and {entry.sha256}",
            )
            return
        try:
            facts = read_wheel(path, entry.filename)
        except InvalidWheelError as error:  # it was published before this was refused
            yield "refused", entry.path, f"{error.cause} Take it away with `wheelsmith index rm {entry.filename}`."
            return
        beside: list[tuple[Kind, str, str]] = [("metadata", keys.metadata(entry.path), entry.metadata_sha256)]
        if entry.provenance_sha256:
            beside.append(("provenance", keys.provenance(entry.path), entry.provenance_sha256))
        for kind, key, wanted in beside:
            stored = storage.read(key)
            if stored is None or hashlib.sha256(stored.data).hexdigest() != wanted:
                yield kind, key, "it is not there" if stored is None else "it is not what was published"
        if (facts.project, facts.version) != (entry.project, entry.version):
            yield "damaged", entry.path, f"it is a wheel of {facts.project} {facts.version}"


def _records(storage: Storage, lost: Sequence[Restored]) -> dict[str, ProjectRecord]:
    """All records, as they are or as they should be."""
    records = truth.load_all(storage, but={one.key for one in lost})
    return records | recovery.restored_records(lost)[0]


def _stale_pages(storage: Storage, lost: Sequence[Restored]) -> set[str]:
    publications = truth.load_publications(storage, but={one.key for one in lost})
    publications += recovery.restored_records(lost)[1]
    return set(truth.stale_pages(storage, _records(storage, lost), publications))


def _put_back(storage: Storage, one: Restored) -> bool:
    """Write a record again; one of which nothing is known goes, so that it stands in nobody's way."""
    if one.record is not None:
        return one.write(storage)
    storage.set_aside(one.key)
    return True


def _still_published(storage: Storage, entry: Entry) -> bool:
    """Whether nobody has removed it while it was being looked at."""
    return truth.load(storage, entry.project).find(entry.filename) is not None


def _mend(storage: Storage, entry: Entry, kind: Kind) -> bool:
    with storage.exclusive():
        match kind:
            case "metadata":
                return _write_metadata(storage, entry)
            case "provenance":
                truth.update(
                    storage,
                    entry.project,
                    lambda record: record.without_provenance(entry.filename),
                    remember=truth.always,
                )
            case "missing" | "damaged":
                # the pages of everything are written at the end; until then they are no worse than they were
                _forget(storage, entry)
                if kind == "damaged":
                    storage.set_aside(entry.path)
            case _:
                return False
    return True


def _write_metadata(storage: Storage, entry: Entry) -> bool:
    with storage.local(entry.path) as path:
        if path is not None:
            storage.write(keys.metadata(entry.path), read_wheel(path, entry.filename).metadata)
        return path is not None


def _forget(storage: Storage, *entries: Entry) -> None:
    """Take files of one project out of its record."""
    names = {entry.filename for entry in entries}
    if entries:
        truth.update(storage, entries[0].project, lambda record: record.without(names), remember=truth.always)
