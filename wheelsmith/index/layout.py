"""Where things are in a directory index, and what is published there: for readers.

In: the root directory. Out: paths, and the entries read back from the records. Fails with `StoreError` on a damaged
record. `keys` draws the map; nothing here is locked, because records are replaced as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheelsmith.index import keys
from wheelsmith.index.record import ProjectRecord, Publication, from_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.index.entry import Entry


@dataclass(frozen=True, slots=True)
class Layout:
    """The directory index at `root` (an absolute path)."""

    root: Path

    @property
    def simple(self) -> Path:
        """The folder that `--index-url` names."""
        return self.root / "simple"

    @property
    def lock(self) -> Path:
        """The file that writers lock while they change the index."""
        return self.root / ".wheelsmith" / "lock"

    @property
    def staging(self) -> Path:
        """The folder for wheels on their way in."""
        return self.root / ".wheelsmith" / "staging"

    def wheel(self, filename: str) -> Path:
        """The wheel itself."""
        return self.root / filename

    def metadata(self, filename: str) -> Path:
        """The METADATA beside the wheel."""
        return self.root / keys.metadata(filename)

    def provenance(self, filename: str) -> Path:
        """The attestations beside the wheel, if it has any (PEP 740)."""
        return self.root / keys.provenance(filename)

    def page(self, project: str | None, kind: str, place: str = "") -> Path:
        """The page of a project, or of all (None); `kind` is `html` or `json`.

        `place` is empty for the merged path, else a variant or `pub/<publication>`.
        """
        return self.root / keys.page(place, project, kind)

    def recorded_projects(self) -> tuple[str, ...]:
        """Names of all projects that were ever published, sorted."""
        return _record_names(self.root / keys.PROJECTS)

    def variants(self) -> tuple[str, ...]:
        """Names of all variants that have a path of their own, sorted."""
        entries = (entry for project in self.recorded_projects() for entry in self.record(project).entries)
        return tuple(sorted({entry.variant for entry in entries if entry.variant}))

    def publications(self) -> tuple[Publication, ...]:
        """All publications, oldest first.

        Raises:
            StoreError: a record is damaged.
        """
        found = (self.publication(name) for name in _record_names(self.root / keys.PUBLICATIONS))
        return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.time, one.name)))

    def publication(self, name: str) -> Publication | None:
        """One publication, or None if there is none of this name.

        Raises:
            StoreError: its record is damaged.
        """
        key = keys.publication_record(name)
        try:
            return from_bytes(Publication, (self.root / key).read_bytes(), key)
        except FileNotFoundError:
            return None

    def record(self, project: str) -> ProjectRecord:
        """What the index knows about a project; an empty record if it was never published.

        Raises:
            StoreError: the record is damaged.
        """
        key = keys.project_record(project)
        try:
            return from_bytes(ProjectRecord, (self.root / key).read_bytes(), key)
        except FileNotFoundError:
            return ProjectRecord(project)

    def entry(self, project: str, filename: str) -> Entry | None:
        """The entry of one file, or None if it is not published.

        Raises:
            StoreError: the record is damaged.
        """
        return self.record(project).find(filename)

    def entries(self, project: str) -> tuple[Entry, ...]:
        """The plain wheels of `project` that clients may see and whose wheel and METADATA are there, in page order.

        Raises:
            StoreError: the record is damaged.
        """
        return tuple(
            entry
            for entry in self.record(project).shown
            if entry.wheel_variant is None and self._is_complete(entry.path)
        )

    def _is_complete(self, path: str) -> bool:
        return (self.root / path).is_file() and (self.root / keys.metadata(path)).is_file()


def _record_names(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.stem for path in folder.glob("*.json")))
