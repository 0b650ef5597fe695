"""GET and HEAD: the stored pages and files, as they lie in the index.

In: a path and request headers. Out: a response. Pages are read once and kept in memory until they change (one look at
the source per request tells), with a strong ETag and a gzip twin; files are streamed with Range and If-Range, and are
`immutable`. Only what the records call published is served: hidden folders, records and wheels without a record are not
there. Fails with `Refusal` 404 or 406, and as the source does.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import quote

from packaging.utils import canonicalize_name
from starlette.concurrency import iterate_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse

from wheelsmith.errors import InvalidWheelError
from wheelsmith.index import keys
from wheelsmith.index.metadata import parse_filename
from wheelsmith.index.record import ProjectRecord, from_bytes
from wheelsmith.server.auth import Refusal
from wheelsmith.server.caching import Page, choose_page, not_modified
from wheelsmith.server.settings import bare_url
from wheelsmith.server.source import has_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from wheelsmith.server.proxy import Proxy
    from wheelsmith.server.settings import Settings
    from wheelsmith.server.source import Look, Source

UPSTREAM = "upstream/"
_CACHE_BYTES = 64 * 2**20
_MAX_READY = 1024
_BESIDE = {"", *(name.removeprefix("x") for name in keys.beside("x"))}  # what follows a wheel's name
_HIDDEN = re.compile(r"(^|/)(\.|records(/|$))|//|[\\\0]")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_QUICK = re.compile(rb"/[A-Za-z0-9._/-]*simple/(?:[a-z0-9-]+/)?")  # URLs of pages whose answers may lie ready
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".metadata": "text/plain; charset=utf-8",
    ".provenance": "application/vnd.pypi.integrity.v1+json",
    ".whl": "application/octet-stream",
}


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that takes its time: `work` belongs into a thread."""

    work: Callable[[], Response]


@dataclass(frozen=True, slots=True)
class _Ready:
    """An answer that lies ready while the page under `key` is `stamp`: heads of 200 and 304, ETag, and body."""

    key: str
    stamp: tuple[int | str, ...]
    head: bytes
    unchanged: bytes
    etag: bytes
    body: bytes


class Reader:
    """Answers GET and HEAD from the index `source`."""

    def __init__(self, settings: Settings, source: Source, proxy: Proxy | None = None) -> None:
        self._settings, self._source, self._proxy = settings, source, proxy
        self._pages: OrderedDict[str, tuple[tuple[int | str, ...], Page]] = OrderedDict()
        self._cached = 0
        self._names: dict[str, tuple[tuple[int | str, ...], frozenset[str]]] = {}
        self._ready: OrderedDict[tuple[bytes, bytes, bytes], _Ready] = OrderedDict()
        self._scope = "private" if settings.private else "public"

    def answer(self, path: str, headers: Headers, *, head: bool = False) -> Response | Later:
        """Return the response for a decoded path, which starts with a slash; or how to get it, in a thread.

        Args:
            path: of the URL.
            headers: of the request.
            head: the body is not wanted.

        Raises:
            Refusal: 404: nothing is published there; 406: not in the wanted form.
        """
        relative = path[1:]
        if _HIDDEN.search(relative):
            raise _absent()
        if not self._source.is_slow:
            return self._answer(relative, headers, head=head)

        def work() -> Response:
            found = self._answer(relative, headers, head=head)
            return found.work() if isinstance(found, Later) else found

        return Later(work)

    def quick(self, url: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
        """Head and body of the answer to a GET of a page, if that needs no waiting and no token; else None."""
        if self._settings.private or self._source.is_slow or not _QUICK.fullmatch(url):
            return None
        accept = encoding = known = b""
        for name, value in headers:
            if name == b"accept":
                accept = accept + b", " + value if accept else value
            elif name == b"accept-encoding":
                encoding = value
            elif name == b"if-none-match":
                known = value
            elif name in {b"range", b"authorization", b"connection"}:
                return None
        asked = (url, accept, encoding)
        ready = self._ready.get(asked)
        look = None if ready is None else self._source.look(ready.key)
        if ready is None or look is None or look.stamp != ready.stamp:
            ready = self._prepare(asked, headers)
            if ready is None:
                return None
        if not known:
            return ready.head, ready.body
        return (ready.unchanged, b"") if known == ready.etag else None

    def _prepare(self, asked: tuple[bytes, bytes, bytes], headers: list[tuple[bytes, bytes]]) -> _Ready | None:
        relative = asked[0][1:].decode()
        parts = relative.split("/")[:-1]
        chosen = choose_page(", ".join(Headers(raw=headers).getlist("accept")))
        if chosen is None or _HIDDEN.search(relative) or (parts[-1:] != ["simple"] and parts[-2:-1] != ["simple"]):
            return None
        key = f"{relative}index.{chosen[0]}"
        plain = [pair for pair in headers if pair[0] != b"if-none-match"]
        try:
            response = self._page(key, chosen[1], Headers(raw=plain), "Accept")
        except Refusal:
            return None
        body = bytes(response.body)
        fields = [pair for pair in response.raw_headers if pair[0] != b"content-length"]
        lines = b"".join(b"%s: %s\r\n" % pair for pair in fields)
        ready = _Ready(
            key,
            self._pages[key][0],
            b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n" % (lines, len(body)),
            b"HTTP/1.1 304 Not Modified\r\n" + lines,
            response.headers["etag"].encode(),
            body,
        )
        self._ready[asked] = ready
        if len(self._ready) > _MAX_READY:
            self._ready.popitem(last=False)
        return ready

    def _answer(self, relative: str, headers: Headers, *, head: bool) -> Response | Later:
        if relative.endswith("/") or not relative:
            return self._folder(relative, headers)
        if relative.startswith(UPSTREAM):
            return self._proxied(relative.removeprefix(UPSTREAM))
        look = self._source.look(relative)
        is_folder = look is not None and look.is_folder
        if is_folder or (look is None and self._source.look(f"{relative}/index.html") is not None):
            return RedirectResponse("/" + quote(relative) + "/", 308)
        suffix = os.path.splitext(relative)[1]  # noqa: PTH122  one of these per request
        if look is None or suffix not in _TYPES:
            raise _absent()
        self._require_published(relative)
        if suffix in {".html", ".json", ".css", ".js"}:
            return self._page(relative, _TYPES[suffix], headers, "")
        path = self._source.path(relative)
        immutable = suffix in {".whl", ".metadata"}
        if path is not None and look.status is not None:
            return self._file(path, look.status, _TYPES[suffix], immutable=immutable)
        return self._stream(relative, look, headers, head=head)

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
        if settings.upstream is None or has_record(self._source, project) or _matches(project, settings.reserve):
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
        key = keys.project_record(project)
        look = self._source.look(key)
        if look is None:
            return frozenset()
        known = self._names.get(project)
        if known is None or known[0] != look.stamp:
            found = self._source.read(key)
            if found is None:
                return frozenset()
            record = from_bytes(ProjectRecord, found[1], key)
            known = self._names[project] = (found[0].stamp, frozenset(entry.filename for entry in record.shown))
        return known[1]

    def _page(self, relative: str, content_type: str, headers: Headers, vary: str) -> Response:
        return self._load(relative).respond(headers, content_type, scope=self._scope, vary=vary)

    def _load(self, relative: str) -> Page:
        look = self._source.look(relative)
        if look is None or look.is_folder:
            raise _absent()
        known = self._pages.get(relative)
        if known is not None and known[0] == look.stamp:
            return known[1]
        found = self._source.read(relative)
        if found is None:
            raise _absent()
        new = Page.of(found[1])
        old = self._pages.pop(relative, None)
        self._cached += new.size - (old[1].size if old else 0)
        self._pages[relative] = found[0].stamp, new
        while self._cached > _CACHE_BYTES and len(self._pages) > 1:
            self._cached -= self._pages.popitem(last=False)[1][1].size
        return new

    def _stream(self, key: str, look: Look, headers: Headers, *, head: bool) -> Response:
        """A file from a bucket: as a whole, or one range of it (RFC 9110 section 14)."""
        suffix = os.path.splitext(key)[1]  # noqa: PTH122
        etag = f'"{key.split("/")[1][:32]}{suffix}"' if key.startswith(keys.FILES) else f'"{look.size:x}{suffix}"'
        answer = {
            "cache-control": f"{self._scope}, max-age=31536000, immutable",
            "etag": etag,
            "accept-ranges": "bytes",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'",
            "content-type": _TYPES[suffix],
        }
        if not_modified(headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=answer)
        start, end = 0, look.size
        asked = _RANGE.fullmatch(headers.get("range", ""))
        if asked and (asked[1] or asked[2]) and headers.get("if-range", etag) == etag:
            if asked[1]:
                start, end = int(asked[1]), min(look.size, int(asked[2]) + 1 if asked[2] else look.size)
            else:
                start = max(0, look.size - int(asked[2]))
            if start >= end:
                return Response(status_code=416, headers={**answer, "content-range": f"bytes */{look.size}"})
            answer["content-range"] = f"bytes {start}-{end - 1}/{look.size}"
        answer["content-length"] = str(end - start)
        status = 206 if "content-range" in answer else 200
        if head or not look.size:
            return Response(status_code=status, headers=answer)
        return StreamingResponse(iterate_in_threadpool(self._source.stream(key, start, end)), status, answer)

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


def _absent() -> Refusal:
    return Refusal(404, "Nothing is published here.", "absent")
