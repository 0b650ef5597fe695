"""Pages and files of an upstream index, through this server: checked, kept, and served as if they were here.

In: a project's name, or a file that its page lists. Out: a page whose links lead to this server, or the path of a file
whose SHA-256 is the one that the page states. A page is asked for again when it is older than the settings say; if the
upstream does not answer then, the old one is served, with a `Warning` header and a line in the log. A file goes to a
temporary name while it is hashed, and gets its own only if it is what was promised. Fails with `Refusal`: 404 what is
not there, 502 an upstream that is down or lies, 503 too many at once, 507 no space.

    .wheelsmith/upstream/<project>.json     the page as it came, with its URL, its ETag and when it was asked for
    .wheelsmith/upstream/files/<sha256>     files and METADATA; all of it may be deleted at any time,
                                            and what was not asked for longest is, above `max_cache`
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from wheelsmith.index.files import storage_errors, write_atomic
from wheelsmith.server.auth import Refusal
from wheelsmith.server.caching import Page
from wheelsmith.server.listing import Listing
from wheelsmith.server.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wheelsmith.server.metrics import Metrics
    from wheelsmith.server.settings import Settings

_LOG = logging.getLogger(__name__)
_JSON = "application/vnd.pypi.simple.v1+json"
_MAX_PAGE = 64 << 20  # the largest pages of public indexes have some 20 MB
_MAX_METADATA = 16 << 20
_KEPT_PAGES = 256
_PAUSE = 30  # seconds for which an upstream that failed is left alone, where an old page will do
_TYPES = {".whl": "application/octet-stream", ".metadata": "text/plain; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class _Known:
    """A page of the upstream, as it was at `time` (seconds since 1970)."""

    time: float
    etag: str | None
    listing: Listing


class Proxy:
    """The upstream of `settings`, and what is kept of it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._upstream = Upstream(settings.upstream or "", settings.upstream_seconds, settings.upload_rate)
        self._folder = settings.private_folder / "upstream"
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._made: OrderedDict[tuple[str, str, str, float], Page] = OrderedDict()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}
        self._guard = threading.Lock()
        self._pause_until = 0.0
        self._running = threading.BoundedSemaphore(settings.max_uploads)
        with storage_errors(self._folder):
            (self._folder / "files").mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._folder.glob("files/*.tmp"):
                if time.time() - left.stat().st_mtime > 86_400:  # another server may be at a younger one
                    left.unlink(missing_ok=True)

    def page(self, project: str, kind: Literal["html", "json"], base: str) -> tuple[Page, dict[str, str]]:
        """Return a project's page, and headers that say so if it is an old one.

        Args:
            project: normalized name, of which the caller knows that it may come from the upstream.
            kind: of the page.
            base: the way from the page to the root of this index.

        Raises:
            Refusal: 404 there is none; 502 the upstream is down, or lies, and nothing is kept.
        """
        known = self._current(project)
        age = time.time() - known.time
        key = (project, kind, base, known.time)
        with self._guard:
            page = self._made.get(key)
        if page is None:
            listing = known.listing
            page = Page.of(listing.as_html(base) if kind == "html" else listing.as_json(base))
            with self._guard:
                self._made[key] = page
                while len(self._made) > _KEPT_PAGES:
                    self._made.popitem(last=False)
        stale = age > self._settings.page_seconds
        return page, {"warning": '110 - "Response is Stale"', "age": str(int(age))} if stale else {}

    def file(self, project: str, sha256: str, name: str) -> tuple[str, os.stat_result, str]:
        """Return path, status and media type of a file, which is fetched first if it is not kept.

        Args:
            project: as for `page`.
            sha256: of the file, as the page's link says.
            name: its name; with `.metadata` behind it, its METADATA is meant (PEP 658).

        Raises:
            Refusal: 404 not listed; 502 the upstream is down, or the bytes are others; 503 too many; 507 no space.
        """
        filename = name.removesuffix(".metadata")
        known = self._current(project)
        found = known.listing.find(filename, sha256)
        if found is None:
            raise Refusal(404, "The upstream lists no such file.", "absent")
        if filename == name:
            path = self._fetched(found.url, found.sha256, found.size or self._settings.max_upload)
        elif found.metadata is not None:
            path = self._fetched(f"{found.url}.metadata", found.metadata, _MAX_METADATA)
        else:
            raise Refusal(404, "The upstream has no METADATA beside this file.", "absent")
        kind = _TYPES.get(f".{name.rpartition('.')[2]}", "application/octet-stream")
        return str(path), path.stat(), kind

    def _current(self, project: str) -> _Known:
        """The page of a project, asked for again if it is old; the old one if that fails."""
        with self._alone(project):
            known = self._known.get(project) or self._load(project)
            age = 0.0 if known is None else time.time() - known.time
            if known is not None and (age <= self._settings.page_seconds or time.monotonic() < self._pause_until):
                return known
            try:
                known = self._ask(project, known)
            except UpstreamError as error:
                if known is None or error.event == "upstream-absent":
                    raise _refusal(error) from error
                self._pause_until = time.monotonic() + _PAUSE
                self._metrics.upstream.labels("stale").inc()
                _LOG.warning("%s: %s Its page of %d s ago is served.", project, error, age)
                return known
            self._metrics.upstream.labels("page").inc()
            with self._guard:
                self._known[project] = known
                self._known.move_to_end(project)
                while len(self._known) > _KEPT_PAGES:
                    self._known.popitem(last=False)
            return known

    def _ask(self, project: str, known: _Known | None) -> _Known:
        url = self._upstream.page_url(project)
        etag = known.etag if known and self._page_path(project).is_file() else None
        with self._upstream.get(url, accept=_JSON, most=_MAX_PAGE, etag=etag) as answer:
            data = b"".join(answer.chunks)
            if answer.status == 304 and known is not None:
                kept = json.loads(self._page_path(project).read_bytes())
                kept["time"] = time.time()
            else:
                kept = {"time": time.time(), "etag": answer.etag, "url": answer.url, "page": _parsed(data)}
        new = _read(project, kept)
        with storage_errors(self._folder):
            data = json.dumps(kept).encode()
            self._make_room(len(data))
            write_atomic(self._page_path(project), data, self._folder / "files", sync=False)
        return new

    def _load(self, project: str) -> _Known | None:
        try:
            return _read(project, json.loads(self._page_path(project).read_bytes()))
        except (FileNotFoundError, ValueError, KeyError, TypeError, UpstreamError):
            return None

    def _fetched(self, url: str, sha256: str, most: int) -> Path:
        """The path of a file with this digest."""
        path = self._folder / "files" / sha256
        with self._alone(sha256):
            if path.is_file():
                os.utime(path)  # asked for just now
                return path
            if most > self._settings.max_upload:
                raise Refusal(502, f"The file has {most} bytes, and this index takes less.", "too-large")
            if not self._running.acquire(blocking=False):
                raise Refusal(503, "Too many files are on their way from the upstream; try again.", "busy")
            temporary = path.with_name(f"{secrets.token_hex(8)}.tmp")
            try:
                with storage_errors(self._folder):
                    self._fetch(url, sha256, most, temporary)
                    self._make_room(temporary.stat().st_size)
                    temporary.rename(path)
            except UpstreamError as error:
                raise _refusal(error) from error
            finally:
                self._running.release()
                temporary.unlink(missing_ok=True)
            self._metrics.upstream.labels("file").inc()
            return path

    def _fetch(self, url: str, sha256: str, most: int, target: Path) -> None:
        digest = hashlib.sha256()
        with self._upstream.get(url, accept="*/*", most=most) as answer, target.open("xb") as stream:
            for chunk in answer.chunks:
                if shutil.disk_usage(self._folder).free < 2 * most:
                    raise Refusal(507, "The index has no space for files of the upstream.", "no-space")
                digest.update(chunk)
                stream.write(chunk)
        if digest.hexdigest() != sha256:
            raise UpstreamError("upstream-lie", f"The upstream sent bytes with the SHA-256 {digest.hexdigest()}.")

    def _make_room(self, size: int) -> None:
        """Remove what was not asked for longest, until `size` more bytes are within the limit."""
        with self._guard:
            kept = []
            for path in (*(self._folder / "files").iterdir(), *self._folder.glob("*.json")):
                with suppress(FileNotFoundError):  # another server removes too
                    status = path.stat()
                    kept += [] if path.suffix == ".tmp" else [(status.st_mtime, status.st_size, path)]
            total = size + sum(one[1] for one in kept)
            for _, freed, path in sorted(kept):
                if total <= self._settings.max_cache:
                    return
                path.unlink(missing_ok=True)
                total -= freed
                self._metrics.upstream.labels("dropped").inc()

    def _page_path(self, project: str) -> Path:
        return self._folder / f"{project}.json"

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """One request at a time asks for the same thing; the others wait, and then find it."""
        with self._guard:
            lock, waiting = self._locks.get(what, (threading.Lock(), 0))
            self._locks[what] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, waiting = self._locks[what]
                if waiting == 1:
                    del self._locks[what]
                else:
                    self._locks[what] = lock, waiting - 1


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UpstreamError("upstream-lie", "The upstream's page is no JSON (PEP 691).") from error


def _read(project: str, kept: dict[str, Any]) -> _Known:
    return _Known(kept["time"], kept["etag"], Listing.of(project, kept["page"], kept["url"]))


def _refusal(error: UpstreamError) -> Refusal:
    return Refusal(404 if error.event == "upstream-absent" else 502, str(error), error.event)
