"""GET and HEAD: the stored pages and files, as they lie in the index.

In: a path and request headers. Out: a response. Pages are read once and kept in memory until they change (one
`stat` per request tells), with a strong ETag and a gzip twin; files are streamed with Range and If-Range, and are
`immutable`. Only what `Layout` calls published is served: hidden folders, records and wheels without a record
are not there. Fails with `Refusal` 404 or 406.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import stat
from collections import OrderedDict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import quote

from packaging.utils import canonicalize_name
from starlette.responses import FileResponse, RedirectResponse, Response

from wheelsmith.errors import InvalidWheelError
from wheelsmith.index import keys
from wheelsmith.index.metadata import parse_filename
from wheelsmith.index.server.access import Refusal
from wheelsmith.index.server.negotiate import accepts_gzip, choose_page

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from wheelsmith.index.server.settings import Settings

_CACHE_BYTES = 64 * 2**20
_MIN_GZIP = 512
_HIDDEN = re.compile(r"(^|/)(\.|records(/|$))|//|[\\\0]")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".css": "text/css; charset=utf-8",
    ".metadata": "text/plain; charset=utf-8",
    ".provenance": "application/vnd.pypi.integrity.v1+json",
    ".whl": "application/octet-stream",
}
PAGE_HEADERS = {  # pages show names that uploaders chose: nothing on them may run, or be framed
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class _Page:
    stamp: tuple[int, int, int]
    etag: str
    plain: bytes
    gzipped: bytes | None

    @property
    def size(self) -> int:
        return len(self.plain) + len(self.gzipped or b"")


class Reader:
    """Answers GET and HEAD from the index of `settings`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = settings.layout
        self._root = str(self._layout.root)
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self._cached = 0
        self._names: dict[str, tuple[tuple[int, int, int], frozenset[str]]] = {}
        self._scope = "private" if settings.private else "public"

    def answer(self, path: str, headers: Headers) -> Response:
        """Return the response for a decoded path, which starts with a slash.

        Raises:
            Refusal: 404: nothing is published there; 406: not in the wanted form.
        """
        relative = path[1:]
        if _HIDDEN.search(relative):
            raise _absent()
        if relative.endswith("/") or not relative:
            return self._folder(relative, headers)
        target = f"{self._root}/{relative}"
        suffix = os.path.splitext(relative)[1]  # noqa: PTH122  one of these per request
        status = _status(target)
        if status is None:
            raise _absent()
        if stat.S_ISDIR(status.st_mode):
            return RedirectResponse("/" + quote(relative) + "/", 308)
        if suffix not in _TYPES or not stat.S_ISREG(status.st_mode):
            raise _absent()
        if suffix in {".html", ".json", ".css"}:
            return self._page(relative, _TYPES[suffix], headers, "")
        self._require_published(relative)
        return self._file(target, status, _TYPES[suffix], immutable=suffix in {".whl", ".metadata"})

    def _folder(self, relative: str, headers: Headers) -> Response:
        parts = relative.split("/")[:-1]
        if "simple" not in parts:
            return self._page(f"{relative}index.html", _TYPES[".html"], headers, "")
        if parts[-2:-1] == ["simple"] and (normal := canonicalize_name(parts[-1])) != parts[-1]:
            return RedirectResponse("/" + quote("/".join([*parts[:-1], normal])) + "/", 308)
        chosen = choose_page(", ".join(headers.getlist("accept")))
        if chosen is None:
            raise Refusal(406, "This page comes as JSON (PEP 691) or HTML (PEP 503) only.", "not-acceptable")
        kind, content_type = chosen
        try:
            return self._page(f"{relative}index.{kind}", content_type, headers, "Accept")
        except Refusal:
            if parts[-2:-1] == ["simple"] and (url := self._elsewhere(parts[-1])):
                return RedirectResponse(url, 307, {"cache-control": "no-store"})
            raise

    def _elsewhere(self, project: str) -> str | None:
        """Where a project that is not ours may be had, or None."""
        settings = self._settings
        ours = self._layout.root / keys.project_record(project)
        if settings.upstream is None or ours.exists() or _matches(project, settings.reserve):
            return None
        if not _matches(project, settings.allow):
            return None
        return f"{settings.upstream.rstrip('/')}/{quote(project)}/"

    def _require_published(self, relative: str) -> None:
        filename = relative.rpartition("/")[2].removesuffix(".metadata").removesuffix(".provenance")
        if not filename.endswith(".whl"):
            return
        try:
            project, _ = parse_filename(filename)
        except InvalidWheelError as error:
            raise _absent() from error
        if filename not in self._published(project):
            raise _absent()

    def _published(self, project: str) -> frozenset[str]:
        """The file names of a project that clients may have; its record is read again only when it changed."""
        status = _status(f"{self._root}/{keys.project_record(project)}")
        if status is None:
            return frozenset()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._names.get(project)
        if known is None or known[0] != stamp:
            shown = frozenset(entry.filename for entry in self._layout.record(project).shown)
            known = self._names[project] = (stamp, shown)
        return known[1]

    def _page(self, relative: str, content_type: str, headers: Headers, vary: str) -> Response:
        page = self._load(relative)
        zipped = page.gzipped if accepts_gzip(headers.get("accept-encoding", "")) else None
        etag = f'"{page.etag}-gzip"' if zipped else f'"{page.etag}"'
        answer = {
            "content-type": content_type,
            "etag": etag,
            "vary": f"{vary}, Accept-Encoding" if vary else "Accept-Encoding",
            "cache-control": f"{self._scope}, no-cache",
        }
        answer.update(PAGE_HEADERS)
        if zipped:
            answer["content-encoding"] = "gzip"
        if _holds(headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=answer)
        return Response(zipped or page.plain, headers=answer)

    def _load(self, relative: str) -> _Page:
        target = f"{self._root}/{relative}"
        status = _status(target)
        if status is None or not stat.S_ISREG(status.st_mode):
            raise _absent()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        page = self._pages.get(relative)
        if page is not None and page.stamp == stamp:
            self._pages.move_to_end(relative)
            return page
        try:
            with open(target, "rb") as stream:  # noqa: PTH123
                now = os.fstat(stream.fileno())
                plain = stream.read()
        except FileNotFoundError:
            raise _absent() from None
        zipped = gzip.compress(plain, 6, mtime=0) if len(plain) >= _MIN_GZIP else None
        new = _Page((now.st_mtime_ns, now.st_size, now.st_ino), hashlib.sha256(plain).hexdigest()[:32], plain, zipped)
        self._cached += new.size - (page.size if page else 0)
        self._pages[relative] = new
        self._pages.move_to_end(relative)
        while self._cached > _CACHE_BYTES and len(self._pages) > 1:
            self._cached -= self._pages.popitem(last=False)[1].size
        return new

    def _file(self, target: str, status: os.stat_result, content_type: str, *, immutable: bool) -> Response:
        lasting = "max-age=31536000, immutable" if immutable else "no-cache"
        # Its name is for good, so size and time of the file identify it.
        tag = f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
        return FileResponse(
            target,
            headers={
                "cache-control": f"{self._scope}, {lasting}",
                "etag": f'"{tag}"',
                "x-content-type-options": "nosniff",
                "content-security-policy": "default-src 'none'",
            },
            media_type=content_type,
            stat_result=status,
        )


def _matches(project: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(project, pattern) for pattern in patterns)


def _status(target: str) -> os.stat_result | None:
    try:
        return os.stat(target)  # noqa: PTH116
    except (OSError, ValueError):  # too long, a file where a folder is meant, surrogates
        return None


def _holds(if_none_match: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names this entity tag (RFC 9110 section 13.1.2: the weak comparison)."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags


def _absent() -> Refusal:
    return Refusal(404, "Nothing is published here.", "absent")
