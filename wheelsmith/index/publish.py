"""Putting wheels into an index: checked, atomically, for good, and beside other writers.

In: wheel files and the index's location. Out: `Published` per wheel, in order. One call goes through four steps:

1. Each wheel is taken in and hashed, its bytes are checked. Nothing is visible yet.
2. It gets its place, and METADATA and attestations beside it. No page names it yet.
3. Its project's record is replaced by one that names it: that is the commit. Before it the wheel is not published,
   after it it is, and a name that stands for other bytes is refused in the same step.
4. The pages follow from the record. A writer that dies before they are all written leaves them to the next one, or to
   `index verify --repair`.

Fails with `InvalidWheelError`, `HashMismatchError` or `IndexConflictError`, and then nothing of the call is published.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wheelsmith.errors import HashMismatchError, InvalidWheelError, VerificationError
from wheelsmith.events import Listener, StageDone, StageStarted, ignore
from wheelsmith.index import keys, pages
from wheelsmith.index import transactions as truth
from wheelsmith.index.entry import Entry
from wheelsmith.index.location import open_storage
from wheelsmith.index.metadata import WheelFacts, parse_filename, read_wheel
from wheelsmith.index.record import ProjectRecord, Publication, conflict, to_bytes
from wheelsmith.index.storage import Arrival, Inbox, Storage
from wheelsmith.index.variant import check_name
from wheelsmith.index.wheelvariant import split_name

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Mapping, Sequence

_STAGE = "index"


@dataclass(frozen=True, slots=True)
class Published:
    """One wheel that is in the index now.

    Attributes:
        filename: its file name, not encoded.
        sha256: 64 hexadecimal digits.
        size: bytes.
        url: percent-encoded, relative to the project's page `<root>/simple/<project>/`.
        already_there: it had been published before, with the same bytes.
        variant: such as `cu128-torch2.9`, whose path `/<variant>/simple/` shows it; None: every variant's does.
        publication: `/pub/<publication>/simple/` shows it for good, together with what came with it first.
    """

    filename: str
    sha256: str
    size: int
    url: str
    already_there: bool
    variant: str | None = None
    publication: str | None = None


@dataclass(frozen=True, slots=True)
class _Checked:
    """A wheel that may be published."""

    arrival: Arrival
    facts: WheelFacts
    provenance: bytes | None
    statement: bytes | None
    entry: Entry


@dataclass(frozen=True, slots=True)
class _Words:
    """What the caller said: the wheels' variant is not what they say themselves; tags may be served twice."""

    variant: bool
    overlap: bool


#: What a caller must ask for by name.
Unusual = Literal["wheel variants", "overlap"]


def publish(
    wheels: Sequence[Path],
    root: str | os.PathLike[str] | Storage,
    *,
    variant: str | None = None,
    sha256: Mapping[str, str] | None = None,
    accept: Collection[Unusual] = (),
    listener: Listener = ignore,
) -> tuple[Published, ...]:
    """Publish wheels to the index at `root`, all or none of them, and bring the pages up to date.

    A file name is for good: publishing the same bytes again does nothing, other bytes are refused. Wheels may lie in
    a directory `root` already. What lies beside a wheel is published with it: `<wheel>.provenance`, attestations (PEP
    740), and `<wheel>.provenance.json`, how it was built. Any number of processes may publish at the same time.

    Args:
        wheels: paths of wheel files.
        root: the index: a directory, which is made if it is not there, or a URL (see `open_storage`).
        variant: of all these wheels; default: what each one's local version and torch requirement tell.
        sha256: expected digests in hexadecimal, by file name.
        accept: what is taken beside ordinary wheels: `wheel variants`, with a variant label in their names, a draft
            that few clients know (they are shown under `/variants/simple/` only); `overlap`, for tags that another one
            of their version serves already (see `claim`).
        listener: hears `StageStarted`, `Progress` (bytes copied) and `StageDone` of the stage `index`.

    Raises:
        InvalidWheelError: a file is no readable wheel, or contradicts its name.
        HashMismatchError: a file has another digest than expected.
        OverlapError: it has a wheel for these tags, and `overlap` is not accepted.
        IndexConflictError: the index has other bytes under this file name, however spelled, or the project takes no
            files (PEP 792).
        UsageError: `root` is no location, or `variant` no name for a path.
        DiskFullError: no space.
        StoreError, NetworkError, BusyError: the storage fails, or others keep winning; some of the wheels may be
            published then, and publishing all of them again finishes the work.
    """
    started = time.monotonic()
    storage = open_storage(root)
    if variant is not None:
        check_name(variant)
    labelled = [Path(wheel).name for wheel in wheels if split_name(Path(wheel).name)[1]]
    if labelled and "wheel variants" not in accept:
        raise InvalidWheelError(
            f"{labelled[0]} is a variant wheel, a draft that pip does not know.",
            "Publish a plain wheel, or give --wheel-variants too.",
        )
    listener(StageStarted(_STAGE, f"{len(wheels)} wheels to {storage.url}"))
    now = _now()
    with storage.inbox(listener) as inbox:
        checked = [_check(Path(wheel), inbox, storage, variant, sha256 or {}, now) for wheel in wheels]
        with storage.exclusive():
            settle(storage)
            results = _commit(checked, inbox, storage, now, _Words(variant is not None, "overlap" in accept))
            inbox.done()
    reused = all(result.already_there for result in results)
    listener(StageDone(_STAGE, storage.url, time.monotonic() - started, reused=reused))
    return results


def settle(storage: Storage) -> None:
    """Roll back what dead writers had not published, and write the pages of what they had."""

    def find(filename: str) -> Entry | None:
        return truth.load(storage, parse_filename(filename)[0]).find(filename)

    names = storage.settle(lambda filename: find(filename) is not None)
    entries = [entry for entry in map(find, names) if entry is not None]
    if entries:
        projects = {entry.project for entry in entries}
        truth.refresh(storage, projects, publications=_publications(entries), lists=True)


def _check(
    source: Path,
    inbox: Inbox,
    storage: Storage,
    variant: str | None,
    expected: Mapping[str, str],
    now: datetime,
) -> _Checked:
    parse_filename(source.name)  # before anything is written under this name
    arrival = inbox.receive(source)
    wanted = expected.get(arrival.filename, arrival.sha256).lower()
    if wanted != arrival.sha256:
        raise HashMismatchError(
            f"{arrival.filename} has the SHA-256 {arrival.sha256}, not {wanted}.", "Send the file again, whole."
        )
    facts = read_wheel(arrival.path, arrival.filename)
    provenance = _provenance(source, arrival)
    entry = Entry(
        filename=arrival.filename,
        project=facts.project,
        version=facts.version,
        sha256=arrival.sha256,
        size=arrival.size,
        metadata_sha256=hashlib.sha256(facts.metadata).hexdigest(),
        requires_python=facts.requires_python,
        upload_time=now,
        variant=variant or facts.variant,
        provenance_sha256=hashlib.sha256(provenance).hexdigest() if provenance else None,
        stored_at=storage.stored_at(arrival.filename, arrival.sha256),
        wheel_variant=facts.wheel_variant,
    )
    return _Checked(arrival, facts, provenance, _statement(source, arrival), entry)


def _commit(
    checked: Sequence[_Checked], inbox: Inbox, storage: Storage, now: datetime, words: _Words
) -> tuple[Published, ...]:
    """Put the wheels in their places and commit."""
    fresh = _refuse_conflicts(checked, inbox, storage, words)
    publication = _announce(checked, storage, now) if fresh else None
    for one in checked:
        if one.entry.filename in fresh or (
            storage.size(one.entry.path) is None and not _spelled_otherwise(one, storage)
        ):
            beside = {keys.metadata(one.entry.path): one.facts.metadata}
            if one.provenance is not None:
                beside[keys.provenance(one.entry.path)] = one.provenance
            if one.statement is not None:
                beside[keys.statement(one.entry.path)] = one.statement
            inbox.keep(one.arrival, beside)
    inbox.secure()
    name = publication.name if publication else None
    projects = sorted({one.entry.project for one in checked})
    records: dict[str, ProjectRecord] = {}

    def add(project: str) -> None:
        entries = [replace(one.entry, publication=name) for one in checked if one.entry.project == project]
        records[project] = truth.update(
            storage,
            project,
            lambda record: record.with_files(entries, overlap=words.overlap),
            remember=lambda before: words.variant or bool(before.removed),
        )

    storage.each(add, projects)
    entries = [records[one.entry.project].claimed(one.entry.filename) or one.entry for one in checked]
    named = {*_publications(entries), *({publication.name} if publication else ())}
    truth.refresh(storage, projects, publications=named, lists=not fresh)
    return tuple(
        Published(
            filename=entry.filename,
            sha256=entry.sha256,
            size=entry.size,
            url=pages.file_url(entry.path),
            already_there=one.entry.filename not in fresh,
            variant=entry.variant,
            publication=entry.publication,
        )
        for one, entry in zip(checked, entries, strict=True)
    )


def _publications(entries: Iterable[Entry]) -> set[str]:
    return {entry.publication for entry in entries if entry.publication}


def _spelled_otherwise(one: _Checked, storage: Storage) -> bool:
    """Whether it is published, and under another spelling of its name."""
    found = truth.load(storage, one.entry.project).claimed(one.entry.filename)
    return found is not None and found.filename != one.entry.filename


def _refuse_conflicts(checked: Sequence[_Checked], inbox: Inbox, storage: Storage, words: _Words) -> set[str]:
    """Return the names that are not published yet, after making sure that none stands for other bytes."""
    records = {project: truth.load(storage, project) for project in {one.entry.project for one in checked}}
    claimed: dict[str, str] = {}
    fresh: set[str] = set()
    for one in checked:
        name, offered = one.entry.filename, one.entry.sha256
        record = records[one.entry.project]
        if not record.holds(name, offered):
            record.require_open()
            fresh.add(name)
        known = claimed.setdefault(name, inbox.occupied(one.arrival) or offered)
        if known != offered:
            raise conflict(name, known, offered)
    for project, record in records.items():
        entries = [one.entry for one in checked if one.entry.project == project]
        record.with_files(entries, overlap=words.overlap)  # as the commit will
    return fresh


def _announce(checked: Iterable[_Checked], storage: Storage, now: datetime) -> Publication:
    """Record the publication ahead of its files: until they are published it shows nothing."""
    files = ((one.entry.project, one.entry.filename, one.entry.sha256) for one in checked)
    publication = Publication.of(files, now)
    storage.swap(keys.publication_record(publication.name), to_bytes(publication), None)
    return publication


def _provenance(source: Path, arrival: Arrival) -> bytes | None:
    """The attestations beside a wheel, or None.

    Raises:
        InvalidWheelError: they are no provenance object of PEP 740 about this file.
    """
    path = source.with_name(keys.provenance(source.name))
    if not path.is_file():
        return None
    from wheelsmith.attest.pep740 import MAX_BYTES, check_provenance

    with path.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    check_provenance(data, arrival.filename, arrival.sha256)
    return data


def _statement(source: Path, arrival: Arrival) -> bytes | None:
    """How a wheel was built, as the statement beside it says, or None.

    Raises:
        InvalidWheelError: it is no such statement, or is about other bytes.
    """
    path = source.with_name(keys.statement(source.name))
    if not path.is_file():
        return None
    from wheelsmith.attest.provenance import read_provenance

    try:
        stated = read_provenance(path).sha256
    except VerificationError as error:
        raise InvalidWheelError(error.cause, error.remedy) from error
    if stated != arrival.sha256:
        raise InvalidWheelError(
            f"{path.name} is about a wheel with the SHA-256 {stated}, not {arrival.sha256}.",
            "Take it away from beside the wheel, or publish the wheel that it is about.",
        )
    return path.read_bytes()


def _now() -> datetime:
    return datetime.now(UTC)
