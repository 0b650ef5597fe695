"""Which files an index may let go: rules, applied to values.

In: entries, rules, the time, and the names that publications pin. Out: the entries that no rule keeps. Nothing is
touched, nothing can fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from wheelsmith.index.entry import Entry
    from wheelsmith.index.record import Publication


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept. A file goes only if none of the rules keeps it; without `newest` and `days` none goes.

    Attributes:
        newest: keep the files of the newest so many versions of each project and variant.
        days: keep files that are younger than so many days.
        publication_days: publications older than so many days no longer pin their files; None: all pin, for good.
    """

    newest: int | None = None
    days: float | None = None
    publication_days: float | None = None


def expired_publications(publications: Iterable[Publication], rules: Rules, now: datetime) -> tuple[Publication, ...]:
    """Return the publications that no longer pin anything."""
    if rules.publication_days is None:
        return ()
    oldest = now - timedelta(days=rules.publication_days)
    return tuple(one for one in publications if one.time < oldest)


def expired(entries: Iterable[Entry], rules: Rules, now: datetime, pinned: Collection[str]) -> tuple[Entry, ...]:
    """Return the files of one project that no rule keeps and no publication pins, in their order."""
    if rules.newest is None and rules.days is None:
        return ()
    entries = tuple(entries)
    versions: dict[str | None, set[Version]] = {}
    for entry in entries:
        versions.setdefault(entry.variant, set()).add(_release(entry))
    newest = {variant: set(sorted(found)[-(rules.newest or 0) :]) for variant, found in versions.items()}
    oldest = now - timedelta(days=rules.days or 0)

    def is_kept(entry: Entry) -> bool:
        return (
            entry.filename in pinned
            or bool(rules.newest and _release(entry) in newest[entry.variant])
            or bool(rules.days and entry.upload_time >= oldest)
        )

    return tuple(entry for entry in entries if not is_kept(entry))


def _release(entry: Entry) -> Version:
    """Its version without the local part, which is the variant's business."""
    return Version(Version(entry.version).public)
