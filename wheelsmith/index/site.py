"""Which pages an index has: computed from its records, without touching any storage.

In: records. Out: `{key: bytes}`. Nothing can fail. The same records give the same pages, byte for byte; so pages are
never backed up, only made again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wheelsmith.index import keys, pages
from wheelsmith.index.record import Catalog, ProjectRecord, Publication, to_bytes
from wheelsmith.index.wheelvariant import PLACE, merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wheelsmith.index.entry import Entry


def project_pages(record: ProjectRecord, places: Iterable[str]) -> dict[str, bytes]:
    """Return the pages of one project at the merged path and at those of `places` that it has files for."""
    made: dict[str, bytes] = {}
    for place in ("", *places):
        if fitting := record.at(place):
            made |= _project(record, place, () if record.status == "quarantined" else fitting)
    return made


def page_keys(record: ProjectRecord, places: Iterable[str]) -> set[str]:
    """Return the keys of the pages that one project may have at the merged path and at `places`."""
    wanted = {keys.page(place, record.project, kind) for place in ("", *places) for kind in keys.KINDS}
    versions = {entry.version for entry in record.entries if entry.wheel_variant is not None}
    return wanted | {keys.variants_json(PLACE, record.project, version) for version in versions}


def list_pages(catalog: Catalog, places: Iterable[str]) -> dict[str, bytes]:
    """Return the pages that list all projects, of the merged path and of `places`."""
    made: dict[str, bytes] = {}
    for place in ("", *places):
        names = catalog.at(place)
        if names or not place:
            made |= _list(place, names)
    return made


def publication_pages(publication: Publication, records: Mapping[str, ProjectRecord]) -> dict[str, bytes]:
    """Return the pages of one publication: its files, never yanked, for a pin must not rot.

    Files that were removed since, or whose project is quarantined, are not on them.
    """
    place = keys.publication_place(publication.name)
    made: dict[str, bytes] = {}
    names: list[str] = []
    for project in publication.files:
        record = records.get(project, ProjectRecord(project))
        if files := [replace(entry, yanked=None) for entry in publication.of_project(record)]:
            names.append(project)
            bare = replace(record, status="active", status_reason=None)
            made |= _project(bare, place, () if record.status == "quarantined" else files)
    return made | _list(place, names) if names else {}


def whole_site(records: Mapping[str, ProjectRecord], publications: Iterable[Publication]) -> dict[str, bytes]:
    """Return every page of the index, and its catalog."""
    catalog = Catalog()
    filled = {name: record.variants for name, record in sorted(records.items()) if record.entries}
    catalog = replace(catalog, projects=filled)
    made = {keys.CATALOG: to_bytes(catalog), **list_pages(catalog, catalog.places)}
    for record in records.values():
        made |= project_pages(record, catalog.places)
    for publication in publications:
        made |= publication_pages(publication, records)
    return made


def _project(record: ProjectRecord, place: str, entries: Sequence[Entry]) -> dict[str, bytes]:
    base = keys.base(place)
    status, reason = record.status, record.status_reason
    infos: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        if entry.wheel_variant is not None:
            infos.setdefault(entry.version, []).append(entry.wheel_variant)
    beside = {
        keys.variants_json(place, record.project, version): pages.page_json(merge(found, version))
        for version, found in infos.items()
    }
    names = [key.rpartition("/")[2] for key in beside]
    html = pages.project_html(record.project, entries, base, status=status, status_reason=reason, beside=names)
    document = pages.project_json(record.project, entries, base, status=status, status_reason=reason, beside=names)
    return {
        **beside,
        keys.page(place, record.project, "html"): html,
        keys.page(place, record.project, "json"): document,
    }


def _list(place: str, names: Sequence[str]) -> dict[str, bytes]:
    return {
        keys.page(place, None, "html"): pages.root_html(names),
        keys.page(place, None, "json"): pages.root_json(names),
    }
