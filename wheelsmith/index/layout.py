"""Where things are in a directory index, and what is published there.

In: the root directory. Out: paths, and the entries read back from the stored files. Fails with `StoreError`
on a damaged record.

    <root>/<file>.whl                              the wheel, immutable
    <root>/<file>.whl.metadata                     its METADATA (PEP 658)
    <root>/records/<project>/<file>.whl.json       its record (`Entry`); a wheel without one is not published
    <root>/simple/index.{html,json}                all projects
    <root>/simple/<project>/index.{html,json}      one project; made from the records alone
    <root>/.wheelsmith/{lock,staging/}             writers only; no need to copy or serve it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheelsmith.index.entry import Entry

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The directory index at `root` (an absolute path)."""

    root: Path

    @property
    def simple(self) -> Path:
        """The folder that `--index-url` names."""
        return self.root / "simple"

    @property
    def records(self) -> Path:
        """The folder of the records, one folder per project."""
        return self.root / "records"

    @property
    def lock(self) -> Path:
        """The file that writers lock while they change pages and records."""
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
        return self.root / f"{filename}.metadata"

    def record(self, project: str, filename: str) -> Path:
        """The record of one file."""
        return self.records / project / f"{filename}.json"

    def page(self, project: str | None, kind: str) -> Path:
        """The page of a project, or of all (None); `kind` is `html` or `json`."""
        folder = self.simple if project is None else self.simple / project
        return folder / f"index.{kind}"

    def recorded_projects(self) -> tuple[str, ...]:
        """Names of all projects that were ever published, sorted."""
        return _folder_names(self.records)

    def paged_projects(self) -> tuple[str, ...]:
        """Names of all projects that have pages, sorted."""
        return tuple(name for name in _folder_names(self.simple) if self.page(name, "html").is_file())

    def entry(self, project: str, filename: str) -> Entry | None:
        """The record of one file, or None if it was never published.

        Raises:
            StoreError: the record is damaged.
        """
        path = self.record(project, filename)
        try:
            record = path.read_bytes()
        except FileNotFoundError:
            return None
        return Entry.from_record(record, str(path.relative_to(self.root)))

    def entries(self, project: str) -> tuple[Entry, ...]:
        """The published files of `project` whose wheel and METADATA are there, in page order.

        Raises:
            StoreError: a record is damaged.
        """
        folder = self.records / project
        if not folder.is_dir():
            return ()
        filenames = (path.name.removesuffix(".json") for path in folder.glob("*.whl.json"))
        found = (self.entry(project, name) for name in filenames if self._is_complete(name))
        return tuple(sorted((entry for entry in found if entry is not None), key=lambda entry: entry.order))

    def _is_complete(self, filename: str) -> bool:
        return self.wheel(filename).is_file() and self.metadata(filename).is_file()


def _folder_names(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
