"""Buckets, Redis and the upstream of a server in a company's network: its authority, and its proxy."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from typing import ClassVar

import pytest

from tests.support.company import make_authority, proxying, serving
from wheelsmith.index.location import open_storage
from wheelsmith.server.upstream import Upstream, UpstreamError
from wheelsmith.toolchain.ccache.remote import connect
from wheelsmith.trust import VARIABLES

pytestmark = pytest.mark.e2e

OTHERS = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """The context of servers, and the file of the authority that vouches for them."""
    folder = tmp_path_factory.mktemp("company")
    return make_authority(folder), folder / "authority.pem"


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in (*VARIABLES, *OTHERS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bucket(company, monkeypatch):
    """The URL of a bucket's server, and its files."""
    with serving(company[0]) as (url, files):
        settings = {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "here"}
        for name, value in settings.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield url, files


@pytest.fixture
def proxy():
    with proxying() as made:
        yield made


def test_a_cache_in_a_bucket_trusts_the_authority(company, bucket, monkeypatch):
    with pytest.raises(OSError, match=r"."):
        connect("s3://bucket/cache").put("scope/abcdef", b"object")
    monkeypatch.setenv("SSL_CERT_FILE", str(company[1]))
    cache = connect("s3://bucket/cache")
    cache.put("scope/abcdef", b"object")
    assert cache.get("scope/abcdef") == b"object"
    assert "/bucket/cache/scope/ab/cdef" in bucket[1]


def test_a_cache_in_a_bucket_goes_through_the_proxy(company, bucket, proxy, monkeypatch):
    address, asked = proxy
    monkeypatch.setenv("SSL_CERT_FILE", str(company[1]))
    monkeypatch.setenv("HTTPS_PROXY", address)
    connect("s3://bucket/cache").put("scope/abcdef", b"object")
    assert asked == [bucket[0].removeprefix("https://")]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    connect("s3://bucket/cache").put("scope/abcdef", b"object")
    assert len(asked) == 1


def test_an_index_in_a_bucket_does_both(company, bucket, proxy, monkeypatch):
    address, asked = proxy
    monkeypatch.setenv("HTTPS_PROXY", address)
    monkeypatch.setenv("SSL_CERT_FILE", str(company[1]))
    storage = open_storage("s3://bucket/index")
    storage.write("a/b", b"content")
    assert storage.read("a/b").data == b"content"
    assert asked
    assert set(asked) == {bucket[0].removeprefix("https://")}


class Redis(socketserver.StreamRequestHandler):
    """As much of Redis as a cache asks for."""

    kept: ClassVar[dict[bytes, bytes]] = {}

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := self.rfile.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int(self.rfile.readline()[1:])
                    words.append(self.rfile.read(size + 2)[:-2])
                self.wfile.write(self.answer(*words))

    def answer(self, command: bytes, *words: bytes) -> bytes:
        if command == b"SET":
            self.kept[words[0]] = words[1]
        if command == b"HELLO":
            return b"%1\r\n+proto\r\n:3\r\n"
        if command != b"GET":
            return b"+OK\r\n"
        value = self.kept.get(words[0])
        return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


def test_redis_trusts_the_authority(company, monkeypatch):
    context, authority = company

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def get_request(self):
            opened, address = super().get_request()
            return context.wrap_socket(opened, server_side=True), address

        def handle_error(self, request, client_address):
            pass

    with Server(("127.0.0.1", 0), Redis) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        url = f"rediss://127.0.0.1:{server.server_address[1]}/0"
        with pytest.raises(OSError, match=r"certificate verify failed"):
            connect(url).put("scope/abc", b"object")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        cache = connect(url)
        cache.put("scope/abc", b"object")
        assert cache.get("scope/abc") == b"object"
        server.shutdown()


@pytest.fixture
def upstream(company):
    with serving(company[0]) as (url, files):
        files["/simple/toy/"] = json.dumps({"name": "toy", "files": []}).encode()
        yield Upstream(f"{url}/simple/", seconds=5.0, rate=1000)


def ask(upstream: Upstream, url: str = "") -> bytes:
    with upstream.get(url or upstream.page_url("toy"), accept="*/*", most=1000) as answer:
        return b"".join(answer.chunks)


def test_the_upstream_of_a_server_trusts_the_authority(company, upstream, monkeypatch):
    with pytest.raises(UpstreamError, match="cannot be reached"):
        ask(upstream)
    monkeypatch.setenv("SSL_CERT_FILE", str(company[1]))
    assert b'"toy"' in ask(upstream)


def test_the_upstream_of_a_server_is_asked_through_the_proxy(company, upstream, proxy, monkeypatch):
    address, asked = proxy
    monkeypatch.setenv("SSL_CERT_FILE", str(company[1]))
    monkeypatch.setenv("HTTPS_PROXY", address)
    assert b'"toy"' in ask(upstream)
    assert asked == [upstream.url.removeprefix("https://").removesuffix("/simple/")]
    with pytest.raises(UpstreamError, match="inside a network"):  # another port of this machine
        ask(upstream, "https://127.0.0.1:9/secret")
    assert len(asked) == 1
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert b'"toy"' in ask(upstream)
    assert len(asked) == 1
