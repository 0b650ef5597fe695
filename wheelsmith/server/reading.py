"""GET and HEAD: the stored pages and files, as they lie in the index.

In: a path and request headers. Out: a response. Pages are read once and kept in memory until they change (one
`stat` per request tells), with a strong ETag and a gzip twin; files are streamed with Range and If-Range, and are
`immutable`. Only what `Layout` calls published is served: hidden folders, records and wheels without a record
are not there. Fails with `Refusal` 404 or 406.
"""

from __future__ import annotations

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
from wheelsmith.server.auth import Refusal
from wheelsmith.server.negotiate import choose_page
from wheelsmith.server.represent import Page
from wheelsmith.server.settings import bare_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.datastructures import Headers

    from wheelsmith.server.proxy import Proxy
    from wheelsmith.server.settings import Settings

UPSTREAM = "upstream/"
_CACHE_BYTES = 64 * 2**20
_BESIDE = {"", *(name.removeprefix("x") for name in keys.beside("x"))}  # what follows a wheel's name
_HIDDEN = re.compile(r"(^|/)(\.|records(/|$))|//|[\\\0]")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".css": "text/css; charset=utf-8",
    ".metadata": "text/plain; charset=utf-8",
    ".provenance": "application/vnd.pypi.integrity.v1+json",
    ".whl": "application/octet-stream",
}


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that takes its time: `work` belongs into a thread."""

    work: Callable[[], Response]


class Reader:
    """Answers GET and HEAD from the index of `settings`."""

    def __init__(self, settings: Settings, proxy: Proxy | None = None) -> None:
        self._settings = settings
        self._proxy = proxy
        self._layout = settings.layout
        self._root = str(self._layout.root)
        self._pages: OrderedDict[str, tuple[tuple[int, int, int], Page]] = OrderedDict()
        self._cached = 0
        self._names: dict[str, tuple[tuple[int, int, int], frozenset[str]]] = {}
        self._scope = "private" if settings.private else "public"

    def answer(self, path: str, headers: Headers) -> Response | Later:
        """Return the response for a decoded path, which starts with a slash; or how to get it from the upstream.

        Raises:
            Refusal: 404: nothing is published there; 406: not in the wanted form.
        """
        relative = path[1:]
        if _HIDDEN.search(relative):
            raise _absent()
        if relative.endswith("/") or not relative:
            return self._folder(relative, headers)
        if relative.startswith(UPSTREAM):
            return self._proxied(relative.removeprefix(UPSTREAM))
        target = f"{self._root}/{relative}"
        suffix = os.path.splitext(relative)[1]  # noqa: PTH122  one of these per request
        status = _status(target)
        if status is None:
            raise _absent()
        if stat.S_ISDIR(status.st_mode):
            return RedirectResponse("/" + quote(relative) + "/", 308)
        if suffix not in _TYPES or not stat.S_ISREG(status.st_mode):
            raise _absent()
        self._require_published(relative)
        if suffix in {".html", ".json", ".css"}:
            return self._page(relative, _TYPES[suffix], headers, "")
        return self._file(target, status, _TYPES[suffix], immutable=suffix in {".whl", ".metadata"})

    def _proxied(self, relative: str) -> Later:
        """A file of the upstream: `<project>/<sha256>/<filename>`, perhaps with `.metadata` behind it."""
        proxy = self._proxy
        parts = relative.split("/")
        if proxy is None or len(parts) != 3 or not self._is_elsewhere(parts[0]):
            raise _absent()
        project, sha256, filename = parts
        return Later(lambda: self._file(*proxy.file(project, sha256, filename), immutable=True))

    def _folder(self, relative: str, headers: Headers) -> Response | Later:
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
            project = parts[-1]
            if parts[-2:-1] != ["simple"] or not self._is_elsewhere(project):
                raise
        if (proxy := self._proxy) is None:
            url = f"{bare_url(self._settings.upstream or '').rstrip('/')}/{quote(project)}/"
            return RedirectResponse(url, 307, {"cache-control": "no-store"})
        base = "../" * len(parts)

        def work() -> Response:
            page, more = proxy.page(project, kind, base)
            if not self._is_elsewhere(project):  # it has become ours meanwhile
                raise _absent()
            return page.respond(headers, content_type, scope=self._scope, vary="Accept", more=more)

        return Later(work)

    def _is_elsewhere(self, project: str) -> bool:
        """Whether a project is not ours, and may be had from the upstream. Asked anew for every request."""
        settings = self._settings
        ours = self._layout.root / keys.project_record(project)
        if settings.upstream is None or ours.exists() or _matches(project, settings.reserve):
            return False
        return canonicalize_name(project) == project and _matches(project, settings.allow)

    def _require_published(self, relative: str) -> None:
        filename, ending, beside = relative.rpartition("/")[2].partition(".whl")
        filename += ending
        if not ending or beside not in _BESIDE:
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
        return self._load(relative).respond(headers, content_type, scope=self._scope, vary=vary)

    def _load(self, relative: str) -> Page:
        target = f"{self._root}/{relative}"
        status = _status(target)
        if status is None or not stat.S_ISREG(status.st_mode):
            raise _absent()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._pages.get(relative)
        if known is not None and known[0] == stamp:
            self._pages.move_to_end(relative)
            return known[1]
        try:
            with open(target, "rb") as stream:  # noqa: PTH123
                now = os.fstat(stream.fileno())
                plain = stream.read()
        except FileNotFoundError:
            raise _absent() from None
        new = Page.of(plain)
        self._cached += new.size - (known[1].size if known else 0)
        self._pages[relative] = (now.st_mtime_ns, now.st_size, now.st_ino), new
        self._pages.move_to_end(relative)
        while self._cached > _CACHE_BYTES and len(self._pages) > 1:
            self._cached -= self._pages.popitem(last=False)[1][1].size
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


def _absent() -> Refusal:
    return Refusal(404, "Nothing is published here.", "absent")
