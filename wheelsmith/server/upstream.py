"""Asking the upstream index: one bounded HTTP request at a time, to no other place than it may go.

In: the upstream's URL from the settings, and URLs that its pages list. Out: `Answer`: a page, or a stream of a file's
bytes. It goes to the upstream's own origin, or over https to a host with a public address: never, whatever a page or a
redirect says, to a service inside the network (SSRF). The address is looked up once, checked, and then used. Where the
environment names a proxy (`HTTPS_PROXY`, `NO_PROXY`), that one looks up names; what we cannot look up, it decides
about. Each request has a limit of size and of time. Fails with `UpstreamError`.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urldefrag, urljoin, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from wheelsmith.distribution import own_version
from wheelsmith.server.settings import bare_url
from wheelsmith.trust import tls_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REDIRECTS = 5
_CHUNK = 1 << 18
_PORTS = {"http": 80, "https": 443}


class UpstreamError(Exception):
    """The upstream did not give what was asked for.

    Attributes:
        event: `upstream-down`, `upstream-absent` or `upstream-lie`, for the audit log.
    """

    def __init__(self, event: str, reason: str) -> None:
        super().__init__(reason)
        self.event = event


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status (200 or 304), the ETag, the URL after redirects, and the body, piece by piece."""

    status: int
    etag: str | None
    url: str
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Upstream:
    """A simple index elsewhere.

    Attributes:
        url: of its `simple/`, with credentials if it wants some; they are sent to its own origin only.
        seconds: the longest wait for a connection, and for each piece of an answer.
        rate: bytes per second that an answer as a whole must not fall below, after `seconds`.
    """

    url: str
    seconds: float
    rate: int

    def page_url(self, project: str) -> str:
        """The URL of a project's page."""
        return f"{bare_url(self.url).rstrip('/')}/{project}/"

    def may_ask(self, url: str) -> bool:
        """Whether a URL has a form that may be asked for: the upstream's origin, or https; no credentials."""
        try:
            parts = urlsplit(url)
            return parts.username is None and (_origin(parts) == self._home or _origin(parts)[0] == "https")
        except ValueError:
            return False

    @contextmanager
    def get(self, url: str, *, accept: str, most: int, etag: str | None = None) -> Iterator[Answer]:
        """Ask for a URL.

        Args:
            url: where.
            accept: media types.
            most: bytes that the body may have.
            etag: of what is known already; the answer may then be 304.

        Raises:
            UpstreamError: it may not be asked, does not answer in time, answers something else, or too much.
        """
        deadline = time.monotonic() + self.seconds + most / self.rate
        headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": f"wheelsmith/{own_version()}"}
        if etag is not None:
            headers["If-None-Match"] = etag
        for _ in range(_REDIRECTS):
            with self._ask(url, headers) as response:
                if response.status in {301, 302, 303, 307, 308}:
                    url = urljoin(url, response.headers.get("location", ""))
                    continue
                if response.status == 404:
                    raise UpstreamError("upstream-absent", "The upstream has no such page or file.")
                if response.status not in ({200, 304} if etag else {200}):
                    raise UpstreamError("upstream-down", f"The upstream answers {response.status}.")
                chunks = self._body(response, most, deadline)
                yield Answer(response.status, response.headers.get("etag"), url, chunks)
                return
        raise UpstreamError("upstream-lie", f"The upstream redirects more than {_REDIRECTS} times.")

    @property
    def _home(self) -> tuple[str, str, int]:
        return _origin(urlsplit(self.url))

    @contextmanager
    def _ask(self, url: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        if not self.may_ask(url):
            raise UpstreamError("upstream-lie", "The upstream leads to an address that it may not lead to.")
        parts = urlsplit(urldefrag(url).url)
        scheme, host, port = _origin(parts)
        sent = {**headers, "Host": parts.netloc}
        own = _origin(parts) == self._home
        if own and (secret := urlsplit(self.url)).username is not None:
            pair = f"{unquote(secret.username or '')}:{unquote(secret.password or '')}"
            sent |= urllib3.make_headers(basic_auth=pair)
        target = parts._replace(scheme="", netloc="").geturl() or "/"
        try:
            if proxy := _proxy(scheme, host, port):
                if not own:
                    with suppress(socket.gaierror):
                        _addresses(host, port, any_address=False)
                response = self._through(proxy, f"{scheme}://{parts.netloc}{target}", sent)
            else:
                addresses = _addresses(host, port, any_address=own)
                response = self._connect(scheme, addresses, host, port, target, sent)
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise UpstreamError("upstream-down", f"The upstream cannot be reached: {type(error).__name__}.") from error
        try:
            yield response
        finally:
            response.close()

    def _through(self, proxy: str, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer that comes by way of a proxy."""
        parts = urlsplit(proxy)
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
        login = urllib3.make_headers(proxy_basic_auth=pair) if pair else None
        context = tls_context()
        manager = urllib3.ProxyManager(
            bare_url(proxy), proxy_headers=login, ssl_context=context, proxy_ssl_context=context
        )
        timeout = urllib3.Timeout(connect=self.seconds, read=self.seconds)
        return manager.urlopen(
            "GET", url, headers=headers, redirect=False, retries=False, timeout=timeout, preload_content=False
        )

    def _connect(
        self, scheme: str, addresses: list[str], host: str, port: int, target: str, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """The answer of the first address that takes a connection; the certificate must be the host's."""
        timeout = urllib3.Timeout(connect=self.seconds / len(addresses), read=self.seconds)
        how: dict[str, Any] = {"redirect": False, "retries": False, "timeout": timeout, "preload_content": False}
        for place, address in enumerate(addresses, 1):
            pool = (
                urllib3.HTTPSConnectionPool(
                    address, port, server_hostname=host, assert_hostname=host, ssl_context=tls_context()
                )
                if scheme == "https"
                else urllib3.HTTPConnectionPool(address, port)
            )
            try:
                return pool.urlopen("GET", target, headers=headers, **how)
            except (NewConnectionError, ConnectTimeoutError):
                if place == len(addresses):
                    raise
        raise AssertionError("there is an address")

    def _body(self, response: urllib3.BaseHTTPResponse, most: int, deadline: float) -> Iterator[bytes]:
        stated = response.headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > most:
            raise UpstreamError("upstream-lie", f"The upstream sends {stated} bytes, and {most} are allowed.")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UpstreamError("upstream-lie", "The upstream sends a packed answer that nobody asked for.")
        done = 0
        while True:
            try:
                chunk = response.read1(_CHUNK, decode_content=False)  # what is there, so that the clock is looked at
            except (HTTPError, HTTPException, OSError) as error:
                raise UpstreamError("upstream-down", f"The upstream stopped: {type(error).__name__}.") from error
            if not chunk:
                return
            done += len(chunk)
            if done > most:
                raise UpstreamError("upstream-lie", f"The upstream sends more than the {most} bytes that are allowed.")
            if time.monotonic() > deadline:
                raise UpstreamError("upstream-down", "The upstream is too slow.")
            yield chunk


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port; ValueError on a URL that has none."""
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _proxy(scheme: str, host: str, port: int) -> str | None:
    """The proxy that the environment names for a host."""
    named = getproxies_environment()
    if proxy_bypass_environment(f"{host}:{port}", named):
        return None
    proxy = named.get(scheme) or named.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _addresses(host: str, port: int, *, any_address: bool) -> list[str]:
    """The addresses of a host; only public ones, unless `any_address`."""
    found = dict.fromkeys(str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    usable = [one for one in found if any_address or ipaddress.ip_address(one.partition("%")[0]).is_global]
    if not usable:
        raise UpstreamError("upstream-lie", "The upstream leads to an address inside a network.")
    return usable
