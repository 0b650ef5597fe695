"""The server as an ASGI application.

In: requests. Out: responses, audit lines and numbers. Every refusal passes `_refuse`, so that none is unlogged;
`/health` is open, everything else obeys the tokens. Fails only at the start, with `StoreError`.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from wheelsmith.errors import UsageError, WheelsmithError
from wheelsmith.index import keys
from wheelsmith.index.web.site import index_page, project_page
from wheelsmith.server import metrics as numbers
from wheelsmith.server.audit import AuditLog
from wheelsmith.server.auth import Refusal, identify, require_publish, require_read
from wheelsmith.server.caching import PAGE_HEADERS
from wheelsmith.server.proxy import Proxy
from wheelsmith.server.reading import Later, Reader
from wheelsmith.server.source import open_source
from wheelsmith.server.timeouts import LingeringResponse
from wheelsmith.server.tokens import TokenBook
from wheelsmith.server.upload import Uploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from wheelsmith.server.settings import Settings

_LOG = logging.getLogger(__name__)
_STRANGERS = 64 << 20  # bytes of an upload that are thrown away so that who has no token here hears why
_QUIET = {"absent", "not-acceptable", "token-missing"}  # everyday answers to readers: counted, not logged


class IndexServer:
    """The server of the index of `settings`; `shared` is a folder for the numbers of several processes.

    Attributes:
        app: the ASGI application.

    Raises:
        StoreError: what is the server's own cannot be written.
        UsageError: there is no such index, or a proxy has no place for its files.
    """

    def __init__(self, settings: Settings, shared: Path | None = None) -> None:
        self._settings = settings
        self._book = TokenBook(settings.tokens)
        if settings.proxy and not settings.keeps_state:
            raise UsageError(
                "A proxy keeps what it fetches, and nothing may be written here.", "Give --state DIR for it."
            )
        self._audit = AuditLog(settings.audit if settings.keeps_state else None, settings.max_audit)
        self._metrics = numbers.Metrics(shared)
        self._uploads = Uploads(settings, self._metrics) if settings.takes_uploads else None
        self._source = open_source(settings.root)
        self._reader = Reader(settings, self._source, Proxy(settings, self._metrics) if settings.proxy else None)
        self.app = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/metrics", self.numbers),
                Route("/upload/", self.upload, methods=["POST"]),
                Route("/legacy/", self.upload, methods=["POST"]),
                Route("/", self.home),
                Route("/project/{project}/", self.project),
                Mount("/", self.read),
            ],
            lifespan=self.lifespan,
        )
        self.app.router.redirect_slashes = False  # it would send people to what they say in Host

    def quick(self, url: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
        """See `timeouts.bounded_protocol`."""
        answer = self._reader.quick(url, headers)
        if answer is not None:
            self._metrics.page(unchanged=not answer[1])
        return answer

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Log start and stop, and leave nothing behind."""
        self._audit.write("start", root=str(self._settings.root))
        yield
        if self._uploads is not None:
            self._uploads.close()
        self._audit.write("stop")
        self._audit.close()

    async def health(self, request: Request) -> Response:
        """Whether the pages can be read."""
        key = keys.page("", None, "json")
        if self._source.is_slow:
            there = await run_in_threadpool(self._source.look, key) is not None
        else:  # no thread: they may all be busy
            there = self._source.look(key) is not None
        return PlainTextResponse("ok\n" if there else "The index has no pages.\n", 200 if there else 503)

    async def numbers(self, request: Request) -> Response:
        """Prometheus' numbers; on a private index for readers only."""
        try:
            self._authorize_read(request.headers)
        except Refusal as refusal:
            return self._refuse(refusal, request)
        return Response(self._metrics.render(), headers={"content-type": numbers.CONTENT_TYPE})

    async def home(self, request: Request) -> Response:
        """All projects, for people."""
        try:
            self._authorize_read(request.headers)
        except Refusal as refusal:
            return self._refuse(refusal, request)
        if (directory := self._settings.directory) is None:
            return RedirectResponse("simple/", 307)
        page = await run_in_threadpool(index_page, directory, words=request.query_params.get("q", "")[:80])
        self._metrics.request(request.method, "page", 200)
        return Response(page, headers={"content-type": "text/html; charset=utf-8", **PAGE_HEADERS})

    async def project(self, request: Request) -> Response:
        """A project's page for people, with the form, and with the answer if something was asked."""
        project = request.path_params["project"]
        try:
            self._authorize_read(request.headers)
            if canonicalize_name(project) != project:
                raise Refusal(404, "Nothing is published here.", "absent")
            if (directory := self._settings.directory) is None:
                return RedirectResponse(f"../../simple/{project}/", 307)
            page = await run_in_threadpool(
                project_page,
                directory,
                project,
                url=self._settings.public_url or _own_url(request),
                form=True,
                gpu=request.query_params.get("gpu", "")[:80],
                driver=request.query_params.get("driver", "")[:40],
            )
            if page is None:
                raise Refusal(404, "Nothing is published here.", "absent")
        except Refusal as refusal:
            return self._refuse(refusal, request)
        self._metrics.request(request.method, "page", 200)
        return Response(page, headers={"content-type": "text/html; charset=utf-8", **PAGE_HEADERS})

    async def upload(self, request: Request) -> Response:
        """One wheel from a publisher."""
        try:
            if self._uploads is None:
                raise Refusal(403, "This server takes no uploads: it serves read-only.", "read-only")
            token = require_publish(identify(request.headers.get("authorization"), self._book))
            published = await self._uploads.take(request, token)
        except Refusal as refusal:
            return self._refuse(refusal, request)
        except WheelsmithError as error:
            _LOG.exception("upload")
            return self._refuse(Refusal(500, f"The index cannot store it: {error.cause}", "store"), request)
        result = "unchanged" if published.already_there else "new"
        self._audit.write(
            "published",
            result=result,
            token=token.id,
            file=published.filename,
            sha256=published.sha256,
            bytes=published.size,
            client=_client(request),
        )
        self._metrics.uploaded.labels(result).inc()
        self._metrics.request("POST", "upload", 200)
        return PlainTextResponse("Already there, with the same bytes.\n" if published.already_there else "Published.\n")

    async def read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pages and files."""
        method, path = scope["method"], scope["path"]
        headers = Headers(scope=scope)
        try:
            if method not in {"GET", "HEAD"}:
                raise Refusal(405, "Only GET and HEAD are answered here; uploads go to /upload/.", "method")
            self._authorize_read(headers)
            answer = self._reader.answer(path, headers, head=method == "HEAD")
            response = await run_in_threadpool(answer.work) if isinstance(answer, Later) else answer
        except Refusal as refusal:
            response = self._refuse(refusal, Request(scope))
        except WheelsmithError as error:
            _LOG.exception("upstream")
            response = self._refuse(Refusal(500, f"The index cannot keep it: {error.cause}", "store"), Request(scope))
        else:
            kind = "file" if path.endswith((".whl", ".metadata", ".provenance")) else "page"
            self._metrics.request(method, kind, response.status_code)
        await response(scope, receive, send)

    def _authorize_read(self, headers: Headers) -> None:
        if self._settings.private:
            require_read(identify(headers.get("authorization"), self._book))

    def _refuse(self, refusal: Refusal, request: Request) -> Response:
        upload = request.method == "POST"
        self._metrics.refused.labels(refusal.event).inc()
        self._metrics.request(request.method, "upload" if upload else "other", refusal.status)
        if upload or refusal.event not in _QUIET:
            self._audit.write(
                "refused",
                why=refusal.event,
                reason=refusal.reason,
                status=refusal.status,
                token=refusal.token,
                method=request.method,
                path=request.url.path[:500],
                client=_client(request),
            )
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        if refusal.status == 401:
            headers["www-authenticate"] = 'Basic realm="wheelsmith", charset="UTF-8"'
        if refusal.status == 405:
            headers["allow"] = "GET, HEAD"
        if refusal.status == 503:
            headers["retry-after"] = "60"
        if upload:
            seconds = min(30, self._settings.stall_seconds)
            most = self._settings.max_upload if refusal.token else _STRANGERS
            return LingeringResponse(refusal.reason + "\n", refusal.status, headers, most=most, seconds=seconds)
        return PlainTextResponse(refusal.reason + "\n", refusal.status, headers)


def _own_url(request: Request) -> str:
    """The address of `simple/` at the address that the request came in on, whatever it says in Host."""
    host, port = request.scope["server"]
    shown = f"[{host}]" if ":" in host else host
    return f"{request.scope['scheme']}://{shown}:{port}/simple/"


def _client(request: Request) -> str | None:
    return None if request.client is None else request.client.host
