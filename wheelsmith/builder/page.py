"""The page of a build beside its log in the store.

In: the timeline record of a build, with its log and, if there is a wheel, its own record. Out: `logs/<key>.html`. Fails
with `OSError` where the store cannot be written, and `UsageError` for a record that is none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.compile.run import PAGE
from wheelsmith.compile.timeline import SUFFIX, read_record
from wheelsmith.diagnostics.warnings import warnings_of
from wheelsmith.report.build_page import build_page
from wheelsmith.store import write_atomic

if TYPE_CHECKING:
    from wheelsmith.documents.builds import BuildRecord


def page_of(timeline: Path, wheels: Path) -> str:
    """The page of the build with this timeline; `wheels` is the store's folder of finished wheels.

    Raises:
        UsageError: the timeline cannot be read.
    """
    document = read_record(timeline)
    key = timeline.name.removesuffix(SUFFIX)
    finished = wheels / key / "build.json"
    record: BuildRecord | None = json.loads(finished.read_bytes()) if finished.is_file() else None
    log = timeline.with_name(f"{key}.log")
    if not log.is_file():
        return build_page(document, record)
    with log.open("rb") as lines:
        return build_page(document, record, warnings_of(lines))


def write_page(timeline: Path, wheels: Path) -> None:
    """Put the page beside the log, in place of an earlier failure's; nothing if the build left no timeline."""
    if timeline.is_file():
        write_atomic(timeline.with_name(timeline.name.removesuffix(SUFFIX) + PAGE), page_of(timeline, wheels).encode())
