"""Putting wheels into a directory index, atomically, for good, and beside other writers.

In: wheel files and the index's root. Out: `Published` per wheel, in order. One call is one step:

1. Each wheel is copied to the staging folder, hashed, made durable and checked. Nothing is visible yet.
2. Under the index's lock: `os.link` gives it its name (that is the commit, and can never overwrite), then its
   METADATA and record are written, then the pages by `os.replace`. So pages only name files that are there.
3. The staged names are removed. Until then they are the journal: their writer holds a lock on them, so the
   next publish can tell a dead writer's from a live one's, finish what was linked and drop what was not.

Fails with `InvalidWheelError` or `IndexConflictError`, and then nothing of the call is published; with
`DiskFullError` or `StoreError` the next publish finishes the part that was committed, if any.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from wheelsmith.errors import IndexConflictError, InvalidWheelError
from wheelsmith.events import Listener, Note, Progress, StageDone, StageStarted, ignore
from wheelsmith.index import pages
from wheelsmith.index.entry import Entry
from wheelsmith.index.files import (
    copy_hashed,
    create_exclusive,
    locked,
    sha256_of,
    storage_errors,
    sync_directory,
    write_atomic,
)
from wheelsmith.index.layout import Layout
from wheelsmith.index.metadata import WheelFacts, parse_filename, read_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

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
    """

    filename: str
    sha256: str
    size: int
    url: str
    already_there: bool


@dataclass(frozen=True, slots=True)
class _Staged:
    path: Path
    filename: str
    sha256: str
    size: int
    facts: WheelFacts


def publish(wheels: Sequence[Path], root: Path, *, listener: Listener = ignore) -> tuple[Published, ...]:
    """Publish wheels to the index at `root`, all or none of them, and bring the pages up to date.

    A file name is for good: publishing the same bytes again does nothing, other bytes are refused. Wheels may
    lie in `root` already. Any number of processes may publish at the same time.

    Args:
        wheels: paths of wheel files.
        root: the index's directory; made if it is not there.
        listener: hears `StageStarted`, `Progress` (bytes copied) and `StageDone` of the stage `index`.

    Raises:
        InvalidWheelError: a file is no readable wheel, or its METADATA contradicts its name.
        IndexConflictError: the index has other bytes under this file name.
        DiskFullError: no space.
        StoreError: the directory cannot be written.
    """
    started = time.monotonic()
    layout = Layout(root.absolute())
    listener(StageStarted(_STAGE, f"{len(wheels)} wheels to {root}"))
    with ExitStack() as sources, storage_errors(layout.root), ExitStack() as held, ExitStack() as temporaries:
        opened = [(path, sources.enter_context(_open_source(path))) for path in wheels]
        _prepare(layout, listener)
        staged = [
            _stage(path, stream, layout=layout, listener=listener, held=held, temporaries=temporaries)
            for path, stream in opened
        ]
        with locked(layout.lock):
            _refuse_conflicts(staged, layout)
            journal = temporaries.pop_all()  # from here on the staged names stay until the pages are written
            results = tuple(_store(one, layout) for one in staged)
            _write_pages({one.facts.project for one in staged}, layout)
            journal.close()
    reused = all(result.already_there for result in results)
    listener(StageDone(_STAGE, str(root), time.monotonic() - started, reused=reused))
    return results


def rebuild(root: Path, *, listener: Listener = ignore) -> tuple[str, ...]:
    """Write all pages of the index at `root` again from the stored files, and return the projects on them.

    Pages of projects that have no file any more are removed. Unchanged pages are left alone.

    Raises:
        StoreError: the directory cannot be written, or a record is damaged.
        DiskFullError: no space.
    """
    layout = Layout(root.absolute())
    with storage_errors(layout.root):
        _prepare(layout, listener)
        with locked(layout.lock):
            _write_pages({*layout.recorded_projects(), *layout.paged_projects()}, layout)
            return layout.paged_projects()


def _prepare(layout: Layout, listener: Listener) -> None:
    for folder in (layout.staging, layout.records, layout.simple):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(layout.lock):
        _finish_dead_writers(layout, listener)
        if not layout.page(None, "html").is_file():
            _write_root(layout)


def _open_source(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidWheelError(
            f"{path} cannot be read: {error.strerror}.", "Give the path of a finished .whl file."
        ) from error


def _stage(
    source: Path,
    stream: BinaryIO,
    *,
    layout: Layout,
    listener: Listener,
    held: ExitStack,
    temporaries: ExitStack,
) -> _Staged:
    """Bring one wheel into the staging folder; `held` keeps its lock, `temporaries` its name."""
    filename = source.name
    parse_filename(filename)  # before anything is written under this name
    path = layout.staging / f"{secrets.token_hex(8)}-{filename}"
    size = os.fstat(stream.fileno()).st_size

    def progress(done: int) -> None:
        listener(Progress(_STAGE, filename, done, size))

    final = layout.wheel(filename)
    in_place = final.is_file() and not final.is_symlink() and final.samefile(source)
    if in_place:
        os.fsync(stream.fileno())
        sha256 = sha256_of(final)
        facts = read_wheel(final, filename)
    with locked(layout.lock):  # so that nobody takes the new file for a dead writer's
        if in_place:
            os.link(final, path)
            descriptor = os.open(path, os.O_RDONLY)
        else:
            descriptor = create_exclusive(path)
        held.callback(os.close, descriptor)
        temporaries.callback(path.unlink)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    if not in_place:
        with os.fdopen(os.dup(descriptor), "wb") as target:
            sha256 = copy_hashed(stream, target, progress)
        facts = read_wheel(path, filename)
    return _Staged(path=path, filename=filename, sha256=sha256, size=path.stat().st_size, facts=facts)


def _refuse_conflicts(staged: Iterable[_Staged], layout: Layout) -> None:
    claimed: dict[str, str] = {}
    for one in staged:
        entry = layout.entry(one.facts.project, one.filename)
        wheel = layout.wheel(one.filename)
        if entry is not None:
            claimed.setdefault(one.filename, entry.sha256)
        elif one.filename not in claimed and wheel.exists():
            claimed[one.filename] = sha256_of(wheel)
        if claimed.setdefault(one.filename, one.sha256) != one.sha256:
            raise IndexConflictError(
                f"The index already holds other bytes under {one.filename} "
                f"(sha256 {claimed[one.filename][:12]}…, not {one.sha256[:12]}…).",
                "Give the new wheel another local version or build tag; a published file never changes.",
            )


def _store(one: _Staged, layout: Layout) -> Published:
    already_there = layout.entry(one.facts.project, one.filename) is not None
    if not layout.wheel(one.filename).exists():
        os.link(one.path, layout.wheel(one.filename))
    _describe(one.filename, one.sha256, one.size, one.facts, layout)
    return Published(one.filename, one.sha256, one.size, pages.file_url(one.filename), already_there)


def _describe(filename: str, sha256: str, size: int, facts: WheelFacts, layout: Layout) -> None:
    """Write METADATA and, the first time, the record of a wheel that has its name."""
    sync_directory(layout.root)
    write_atomic(layout.metadata(filename), facts.metadata, layout.staging)
    if layout.entry(facts.project, filename) is None:
        entry = Entry(
            filename=filename,
            project=facts.project,
            version=facts.version,
            sha256=sha256,
            size=size,
            metadata_sha256=hashlib.sha256(facts.metadata).hexdigest(),
            requires_python=facts.requires_python,
            upload_time=_now(),
        )
        write_atomic(layout.record(facts.project, filename), entry.to_record(), layout.staging)


def _finish_dead_writers(layout: Layout, listener: Listener) -> None:
    """Complete what dead writers had linked, drop what they had not. The caller holds the index's lock."""
    unfinished: set[str] = set()
    dead = [path for path in layout.staging.iterdir() if _is_abandoned(path)]
    for path in dead:
        filename = path.name.partition("-")[2]
        wheel = layout.wheel(filename)
        if not filename or not wheel.is_file() or not wheel.samefile(path):
            continue
        try:
            facts = read_wheel(wheel, filename)
        except InvalidWheelError as error:  # it was changed since; then it is not published
            listener(Note(_STAGE, f"Not published, left from an interrupted run: {error.cause}", warning=True))
            continue
        _describe(filename, sha256_of(wheel), wheel.stat().st_size, facts, layout)
        unfinished.add(facts.project)
    _write_pages(unfinished, layout)
    for path in dead:
        path.unlink()


def _is_abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # its writer just gave up
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _write_pages(projects: Iterable[str], layout: Layout) -> None:
    """Bring the pages of `projects`, and the list of all, up to date. The caller holds the index's lock."""
    renderers: dict[str, Callable[[str, Sequence[Entry]], bytes]] = {
        "html": pages.project_html,
        "json": pages.project_json,
    }
    listed = set(_listed_projects(layout))
    changed = False
    gone: list[str] = []
    for project in sorted(projects):
        entries = layout.entries(project)
        changed |= (project in listed) != bool(entries)
        if not entries:
            gone.append(project)
            continue
        for kind, render in renderers.items():
            write_atomic(layout.page(project, kind), render(project, entries), layout.staging)
    if changed:
        _write_root(layout, without=gone)
    for project in gone:
        for kind in renderers:
            layout.page(project, kind).unlink(missing_ok=True)


def _write_root(layout: Layout, without: Sequence[str] = ()) -> None:
    names = [name for name in layout.paged_projects() if name not in without]
    write_atomic(layout.page(None, "html"), pages.root_html(names), layout.staging)
    write_atomic(layout.page(None, "json"), pages.root_json(names), layout.staging)


def _listed_projects(layout: Layout) -> list[str]:
    """The projects on the list of all, as JSON says, which is written after HTML."""
    page = layout.page(None, "json")
    if not page.is_file():
        return []
    return [project["name"] for project in json.loads(page.read_bytes())["projects"]]


def _now() -> datetime:
    return datetime.now(UTC)
