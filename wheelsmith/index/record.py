"""The truth of the index: one record per project, one per publication. Pages follow from them, and only from them.

In: JSON bytes, or values. Out: `ProjectRecord`, `Publication`, and their bytes; a change makes a new value. A file is
published if and only if its project's record names it, so replacing that one object is the commit of a publish.
Fails with `StoreError` on a damaged record, with `IndexConflictError` when a name would get other bytes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from wheelsmith.errors import IndexConflictError, StoreError
from wheelsmith.index.claim import Claim, claim_of
from wheelsmith.index.entry import Entry
from wheelsmith.index.variant import fits
from wheelsmith.index.wheelvariant import PLACE, merge
from wheelsmith.schema import read_json, told

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

Status = Literal["active", "archived", "deprecated", "quarantined"]
STATUSES: tuple[Status, ...] = ("active", "archived", "deprecated", "quarantined")

_ZEROS = re.compile(r"^((?:\d+!)?\d+(?:\.\d+)*?)(?:\.0)+(?![.\d])")
_Record = TypeVar("_Record", "ProjectRecord", "Publication", "Catalog")


@dataclass(frozen=True, slots=True)
class ProjectRecord:
    """All that the index knows about one project.

    Attributes:
        project: normalized name (PEP 503).
        entries: its files, in page order.
        status: PEP 792.
        status_reason: for people, or None.
        removed: SHA-256 of every file that was taken out, by file name: the name never gets other bytes.
        schema: version of the record's format.
    """

    project: str
    entries: tuple[Entry, ...] = ()
    status: Status = "active"
    status_reason: str | None = None
    removed: dict[str, str] = field(default_factory=dict)
    schema: Literal[2] = 2

    @property
    def shown(self) -> tuple[Entry, ...]:
        """The files that clients may see: none of a quarantined project (PEP 792)."""
        return () if self.status == "quarantined" else self.entries

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants of its files, sorted; `""` stands for files without one."""
        return tuple(sorted({_place_of(entry) or "" for entry in self.entries}))

    def at(self, place: str) -> tuple[Entry, ...]:
        """Its files that fit the variant `place`, whatever the project's status; all for `""`."""
        return tuple(entry for entry in self.entries if fits(_place_of(entry), place))

    def find(self, filename: str) -> Entry | None:
        """The entry of one file."""
        return next((entry for entry in self.entries if entry.filename == filename), None)

    def claimed(self, filename: str) -> Entry | None:
        """The entry of one file, under this or another spelling of its name."""
        claim = claim_of(filename)
        return next((entry for entry in self._near(claim) if claim_of(entry.filename) == claim), None)

    def _near(self, claim: Claim) -> Iterator[Entry]:
        """The entries of a claim's version; versions are parsed of those only that may be equal."""
        wanted = _trimmed(str(claim.version))
        return (entry for entry in self.entries if _trimmed(entry.version) == wanted)

    def holds(self, filename: str, sha256: str) -> bool:
        """Whether this file is published, under this or another spelling of its name.

        Raises:
            IndexConflictError: the name stands, or stood, for other bytes.
        """
        if entry := self.claimed(filename):
            known = {entry.filename: entry.sha256}
        else:
            claim = claim_of(filename)
            known = {name: before for name, before in self.removed.items() if claim_of(name) == claim}
        for name, before in known.items():
            if before != sha256:
                raise conflict(filename, before, sha256, name)
        return entry is not None

    def with_files(self, entries: Iterable[Entry], *, overlap: bool = False) -> ProjectRecord:
        """This record and those of `entries` that it lacks.

        Args:
            entries: files of this project.
            overlap: also those that serve tags which another file of their version serves already.

        Raises:
            OverlapError: one does, and `overlap` was not given.
            IndexConflictError: a name stands for other bytes, the project takes no files (PEP 792), or variant wheels
                of one version contradict each other.
        """
        offered: dict[Claim, Entry] = {}
        for entry in entries:
            if not self.holds(entry.filename, entry.sha256):
                first = offered.setdefault(claim_of(entry.filename), entry)
                if first.sha256 != entry.sha256:
                    raise conflict(entry.filename, first.sha256, entry.sha256, first.filename)
        new = list(offered.values())
        if not new:
            return self
        self.require_open()
        for place, entry in enumerate(new):
            claim = claim_of(entry.filename)
            for other in () if overlap else (*self._near(claim), *new[:place]):
                if claim.overlaps(claim_of(other.filename)):
                    raise _overlap(entry.filename, other.filename)
        for version in {entry.version for entry in new if entry.wheel_variant is not None}:
            infos = (entry.wheel_variant for entry in (*self.entries, *new) if entry.version == version)
            merge((info for info in infos if info is not None), f"{self.project} {version}")
        names = {entry.filename for entry in new}
        return replace(
            self,
            entries=tuple(sorted((*self.entries, *new), key=lambda entry: entry.order)),
            removed={name: sha256 for name, sha256 in self.removed.items() if name not in names},
        )

    def require_open(self) -> None:
        """Refuse new files of an archived or quarantined project.

        Raises:
            IndexConflictError: it is one.
        """
        if self.status in {"archived", "quarantined"}:
            raise IndexConflictError(
                f"{self.project} is {self.status} and takes no new files.",
                f"Set its status first: `wheelsmith index status {self.project} active`.",
            )

    def without(self, filenames: Collection[str]) -> ProjectRecord:
        """This record without these files; it remembers what they were."""
        gone = {entry.filename: entry.sha256 for entry in self.entries if entry.filename in filenames}
        if not gone:
            return self
        kept = tuple(entry for entry in self.entries if entry.filename not in gone)
        return replace(self, entries=kept, removed=dict(sorted({**self.removed, **gone}.items())))

    def without_provenance(self, filename: str) -> ProjectRecord:
        """This record with no attestations of this file."""
        return replace(
            self,
            entries=tuple(
                replace(entry, provenance_sha256=None) if entry.filename == filename else entry
                for entry in self.entries
            ),
        )

    def with_yanked(self, filenames: Collection[str], reason: str | None) -> ProjectRecord:
        """This record with these files yanked for `reason`, or no longer (None)."""
        return replace(
            self,
            entries=tuple(
                replace(entry, yanked=reason) if entry.filename in filenames else entry for entry in self.entries
            ),
        )


@dataclass(frozen=True, slots=True)
class Publication:
    """What one call of `publish` brought: a set of files that is never changed.

    Attributes:
        name: date and digest of the files, `20261124-3f2a9c1b7d04`.
        time: in UTC.
        files: SHA-256 of each file by its name, by project; sorted. A file that another writer published under the
            same name is not meant.
        schema: version of the record's format.
    """

    name: str
    time: datetime
    files: dict[str, dict[str, str]]
    schema: Literal[1] = 1

    @classmethod
    def of(cls, files: Iterable[tuple[str, str, str]], time: datetime) -> Publication:
        """Make a publication of files, each given as project, file name and SHA-256."""
        digest = hashlib.sha256()
        by_project: dict[str, dict[str, str]] = {}
        for project, filename, sha256 in sorted(set(files)):
            digest.update(f"{sha256}  {filename}\n".encode())
            by_project.setdefault(project, {})[filename] = sha256
        return cls(f"{time:%Y%m%d}-{digest.hexdigest()[:12]}", time, by_project)

    def of_project(self, record: ProjectRecord) -> tuple[Entry, ...]:
        """The files of one project that it names, as far as they are published, in page order."""
        named = self.files.get(record.project, {})
        return tuple(entry for entry in record.entries if named.get(entry.filename) == entry.sha256)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Which projects have files, and of which variants (`""` for files without one). Follows from the records."""

    projects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    schema: Literal[1] = 1

    @property
    def places(self) -> tuple[str, ...]:
        """The variants that have a path of their own, sorted."""
        return tuple(sorted({variant for variants in self.projects.values() for variant in variants} - {""}))

    def at(self, place: str) -> tuple[str, ...]:
        """The projects that have a page at `place`, sorted."""
        return tuple(
            name
            for name, variants in self.projects.items()
            if any(fits(variant or None, place) for variant in variants)
        )

    def with_record(self, record: ProjectRecord) -> Catalog:
        """This catalog, brought up to date with a project's record."""
        projects = {name: variants for name, variants in self.projects.items() if name != record.project}
        if record.entries:
            projects[record.project] = record.variants
        return replace(self, projects=dict(sorted(projects.items())))


def to_bytes(record: ProjectRecord | Publication | Catalog) -> bytes:
    """Return the bytes that `from_bytes` reads: the same for the same value."""
    return msgspec.json.encode(record) + b"\n"


def from_bytes(kind: type[_Record], data: bytes, where: str) -> _Record:
    """Read a record; `where` names it in errors.

    Raises:
        StoreError: the record is damaged.
    """
    try:
        return read_json(kind, data)
    except msgspec.ValidationError as error:
        raise StoreError(
            f"The index record {where} is damaged.",
            "Run `wheelsmith index verify --repair`: it makes records again from the wheels.",
            detail=told(error),
        ) from error


def _place_of(entry: Entry) -> str | None:
    """The variant whose path shows a file."""
    return entry.variant if entry.wheel_variant is None else PLACE


def _trimmed(version: str) -> str:
    """A normalized version without the zeros at its release's end, which mean nothing (PEP 440)."""
    return _ZEROS.sub(r"\1", version)


class OverlapError(IndexConflictError):
    """A wheel would serve tags that another one of its version serves already."""


def conflict(filename: str, known: str, offered: str, spelled: str | None = None) -> IndexConflictError:
    """The error for other bytes under a name that is taken, perhaps in another spelling."""
    also = "" if spelled in {None, filename} else f", spelled {spelled}"
    return IndexConflictError(
        f"The index already holds other bytes under {filename}{also} (sha256 {known[:12]}…, not {offered[:12]}…).",
        "Give the new wheel another version or local version; a published file never changes.",
    )


def _overlap(filename: str, other: str) -> OverlapError:
    return OverlapError(
        f"{filename} is for tags that {other} serves: it would change what this version installs.",
        "Give it another version or local version; or publish it with --overlap if that is what you want.",
    )
