"""Names that come through us from another index: a real one, and one that lies."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uv import find_uv_bin

from tests.support.index_wheels import make_wheel
from tests.support.running import Running, running
from wheelsmith.errors import UsageError
from wheelsmith.index.manage import yank
from wheelsmith.index.publish import publish
from wheelsmith.server.listing import Listing
from wheelsmith.server.settings import Settings
from wheelsmith.server.upstream import Upstream, UpstreamError

pytestmark = pytest.mark.e2e

JSON = "application/vnd.pypi.simple.v1+json"
NAME = "theirs-1.0-py3-none-any.whl"


@contextmanager
def proxying(root: Path, upstream: str, **settings) -> Iterator[Running]:
    chosen = {"allow": ("theirs", "mine"), "proxy": True, "upstream_seconds": 1.0, **settings}
    with running(root, upstream=upstream, **chosen) as server:
        yield server


def _page(server: Running, project: str = "theirs", accept: str = JSON, place: str = "") -> dict:
    answer = server.ask(f"{place}/simple/{project}/", headers={"Accept": accept})
    assert answer.status == 200, answer.body
    return {"headers": answer.headers, **json.loads(answer.body)}


def _kept(server: Running) -> list[str]:
    return sorted(path.name for path in Path(server.settings.root, ".wheelsmith/upstream/files").iterdir())


def test_pages_files_and_metadata_come_through_us_and_stay(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "in", "theirs", "1.0", metadata="Requires-Python: >=3.9\n")
    publish([wheel, make_wheel(tmp_path / "in", "theirs", "0.9")], tmp_path / "public")
    yank(tmp_path / "public", "theirs==0.9", reason="old")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with running(tmp_path / "public") as public, proxying(tmp_path / "dist", f"{public.url}simple/") as server:
        page = _page(server)
        old, new = page["files"]
        original = json.loads(public.ask("/simple/theirs/", headers={"Accept": JSON}).body)["files"][1]
        assert new == {**original, "url": f"../../upstream/theirs/{sha256}/{NAME}"}
        assert old["yanked"] == "old"
        assert page["versions"] == ["0.9", "1.0"]
        html = server.ask("/simple/theirs/", headers={"Accept": "text/html"}).body.decode()
        assert (
            f'<a href="../../upstream/theirs/{sha256}/{NAME}#sha256={sha256}" data-requires-python="&gt;=3.9"' in html
        )
        assert _page(server, place="/cu130")["files"][1]["url"] == f"../../../upstream/theirs/{sha256}/{NAME}"
        again = server.ask("/simple/theirs/", headers={"Accept": JSON, "If-None-Match": page["headers"]["etag"]})
        assert again.status == 304

        path = f"/upstream/theirs/{sha256}/{NAME}"
        metadata = server.ask(f"{path}.metadata")
        assert metadata.body == (tmp_path / f"public/{NAME}.metadata").read_bytes()
        assert _kept(server) == [new["core-metadata"]["sha256"]]
        file = server.ask(path)
        assert file.body == wheel.read_bytes()
        assert "immutable" in file.headers["cache-control"]
        assert server.ask(path, headers={"Range": "bytes=10-19"}).body == wheel.read_bytes()[10:20]
        assert _kept(server) == sorted([sha256, new["core-metadata"]["sha256"]])
        for wrong in (f"/upstream/theirs/{'0' * 64}/{NAME}", f"/upstream/other/{sha256}/{NAME}", "/upstream/theirs/x"):
            assert server.ask(wrong).status == 404
        assert server.ask("/simple/absent/").status == 404
        text = server.ask("/metrics").body.decode()
        assert 'wheelsmith_index_upstream_total{what="file"} 2.0' in text
        assert 'wheelsmith_index_upstream_total{what="page"} 1.0' in text


def test_a_name_that_becomes_ours_wins_at_once(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "in", "theirs", "9.0")
    publish([wheel], tmp_path / "public")
    with running(tmp_path / "public") as public, proxying(tmp_path / "dist", f"{public.url}simple/") as server:
        (file,) = _page(server)["files"]
        path = file["url"].removeprefix("../..")
        assert server.ask(path).status == 200
        publish([make_wheel(tmp_path / "own", "theirs", "1.0")], tmp_path / "dist")
        assert [file["filename"] for file in _page(server)["files"]] == [NAME]
        assert server.ask(path).status == 404
        shutil.rmtree(tmp_path / "dist/simple/theirs")
        assert server.ask("/simple/theirs/").status == 404


def test_what_is_kept_outlives_the_upstream(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "theirs", "1.0")], tmp_path / "public")
    with running(tmp_path / "public") as public:
        url = f"{public.url}simple/"
        with proxying(tmp_path / "dist", url, page_seconds=0.0) as server:
            first = _page(server)
            server.ask(first["files"][0]["url"].removeprefix("../.."))
            asked = _page(server)  # 304 from the upstream
            assert "warning" not in asked["headers"] or asked["files"] == first["files"]
    with proxying(tmp_path / "dist", url, page_seconds=0.0) as server:  # started anew, and the upstream is gone
        stale = _page(server)
        assert stale["headers"]["warning"] == '110 - "Response is Stale"'
        assert stale["files"] == first["files"]
        assert server.ask(stale["files"][0]["url"].removeprefix("../..")).status == 200
        assert 'wheelsmith_index_upstream_total{what="stale"}' in server.ask("/metrics").body.decode()
        shutil.rmtree(tmp_path / "dist/.wheelsmith/upstream")
        (tmp_path / "dist/.wheelsmith/upstream/files").mkdir(parents=True)
    with proxying(tmp_path / "dist", url) as server:
        assert server.ask("/simple/theirs/").status == 502
        assert server.audit()[-1]["why"] == "upstream-down"


class Liar:
    """An upstream that answers as it is told: a function of the path to status, headers and body pieces."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], tuple[int, dict[str, str], Iterator[bytes]]]] = {}
        self.asked: list[tuple[str, str | None]] = []
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                liar.asked.append((self.path, self.headers.get("Authorization")))
                status, headers, body = liar.answers.get(self.path, lambda: (404, {}, iter(())))()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for piece in body:
                        self.wfile.write(piece)
                except OSError:
                    pass

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def lists(self, content: bytes, url: str = NAME, **more: object) -> str:
        """Put a page there that lists one file; return the path of that file with us."""
        sha256 = hashlib.sha256(content).hexdigest()
        file = {"filename": NAME, "url": url, "hashes": {"sha256": sha256}, **more}
        page = {"meta": {"api-version": "1.1"}, "name": "theirs", "versions": ["1.0"], "files": [file]}
        self.says("/simple/theirs/", json.dumps(page).encode())
        return f"/upstream/theirs/{sha256}/{NAME}"

    def says(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        self.answers[path] = lambda: (status, headers, iter([body]))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(name="liar")
def liar_fixture() -> Iterator[Liar]:
    liar = Liar()
    yield liar
    liar.close()


def _drip() -> Iterator[bytes]:
    for _ in range(100):
        yield b"x"
        time.sleep(0.3)


FILE = f"/simple/theirs/{NAME}"


@pytest.mark.parametrize(
    ("arrange", "status", "why"),
    [
        (lambda liar: liar.says(FILE, b"other bytes"), 502, "upstream-lie"),
        (lambda liar: liar.says(FILE, b"goo"), 502, "upstream-lie"),
        (lambda liar: liar.says(FILE, b"good" * 2**19), 502, "upstream-lie"),
        (lambda liar: liar.says(FILE, b"", **{"Content-Length": str(2**40)}), 502, "upstream-lie"),
        (lambda liar: liar.says(FILE, b"good", **{"Content-Encoding": "gzip"}), 502, "upstream-lie"),
        (lambda liar: liar.says(FILE, b"", 302, Location="file:///etc/passwd"), 502, "upstream-lie"),
        (
            lambda liar: liar.says(FILE, b"", 302, Location="http://169.254.169.254/latest/meta-data"),
            502,
            "upstream-lie",
        ),
        (lambda liar: liar.says(FILE, b"", 302, Location="https://127.0.0.1:1/x"), 502, "upstream-lie"),
        (lambda liar: liar.says(FILE, b"", 302, Location="https://localhost/x"), 502, "upstream-lie"),
        (lambda liar: liar.says(FILE, b"", 302, Location=FILE), 502, "upstream-lie"),
        (lambda liar: liar.says(FILE, b"", 500), 502, "upstream-down"),
        (lambda liar: liar.answers.update({FILE: lambda: (200, {}, _drip())}), 502, "upstream-down"),
        (lambda liar: None, 404, "upstream-absent"),
        (lambda liar: liar.lists(b"good", url="http://127.0.0.1:1/x.whl"), 502, "upstream-lie"),
        (lambda liar: liar.lists(b"good", url="https://user:secret@127.0.0.1/x.whl"), 502, "upstream-lie"),
        (lambda liar: liar.lists(b"good", url="https://[::1]/x.whl"), 502, "upstream-lie"),
        (lambda liar: liar.lists(b"good", size=2**40), 502, "too-large"),
    ],
)
def test_a_lie_about_a_file_is_refused_logged_and_not_kept(
    tmp_path: Path, liar: Liar, arrange: Callable[[Liar], None], status: int, why: str
) -> None:
    path = liar.lists(b"good")
    arrange(liar)
    with proxying(tmp_path, f"{liar.origin}/simple/", max_upload=2**20, upload_rate=2**20) as server:
        answer = server.ask(path)
        assert (answer.status, server.audit()[-1]["why"]) == (status, why), answer.body
        assert _kept(server) == []
        liar.lists(b"good")
        liar.says(FILE, b"good")
        server.settings.root.joinpath(".wheelsmith/upstream/theirs.json").unlink()
    with proxying(tmp_path, f"{liar.origin}/simple/") as server:
        assert server.ask(path).body == b"good"  # the truth is taken all the same


@pytest.mark.parametrize(
    "page",
    [
        b"<html>",
        b"[" * 100_000,
        b"[]",
        b'{"meta": {"api-version": "1.0"}, "name": "mine", "files": []}',
        b'{"meta": {"api-version": "2.0"}, "name": "theirs", "files": []}',
        b'{"meta": {"api-version": "1.0"}, "name": "theirs", "files": [{}]}',
        b'{"meta": {"api-version": "1.0"}, "name": "theirs", "files": 5}',
    ],
)
def test_what_is_no_page_of_this_project_is_refused(tmp_path: Path, liar: Liar, page: bytes) -> None:
    liar.says("/simple/theirs/", page)
    with proxying(tmp_path, f"{liar.origin}/simple") as server:
        assert server.ask("/simple/theirs/").status == 502
        assert server.audit()[-1]["why"] == "upstream-lie"


@pytest.mark.parametrize(
    "file",
    [
        {"hashes": {"md5": "0" * 32}},
        {"hashes": {"sha256": "../../x"}},
        {"filename": "../theirs-1.0-py3-none-any.whl"},
        {"filename": "mine-1.0-py3-none-any.whl"},
        {"filename": "theirs-1.0.exe"},
        {"filename": 'theirs-1.0-py3-none-any"><script>.whl'},
    ],
)
def test_a_file_that_nobody_can_verify_is_not_shown(tmp_path: Path, liar: Liar, file: dict) -> None:
    liar.lists(b"good", **file)
    with proxying(tmp_path, f"{liar.origin}/simple") as server:
        assert _page(server)["files"] == []


def test_a_slow_page_is_not_waited_for_twice(tmp_path: Path, liar: Liar) -> None:
    path = liar.lists(b"good")
    with proxying(tmp_path, f"{liar.origin}/simple", page_seconds=0.0, upstream_seconds=0.5) as server:
        first = _page(server)
        liar.answers["/simple/theirs/"] = lambda: (time.sleep(5), (200, {}, iter(())))[1]
        assert _page(server)["files"] == first["files"]
        asked = len(liar.asked)
        liar.says(FILE, b"good")
        assert server.ask(path).body == b"good"
        assert _page(server)["headers"]["warning"].startswith("110")
        assert [one[0] for one in liar.asked[asked:]] == [FILE]


def test_credentials_go_to_the_upstream_and_nowhere_else(tmp_path: Path, liar: Liar) -> None:
    other = Liar()
    try:
        upstream = liar.origin.replace("http://", "http://me:s%40cret@")
        liar.says("/simple/theirs/", b"", 302, Location=f"{other.origin}/simple/theirs/")
        with proxying(tmp_path, f"{upstream}/simple/") as server:
            assert server.ask("/simple/theirs/").status == 502
            assert "cret" not in server.settings.audit.read_text()
        assert liar.asked == [("/simple/theirs/", "Basic bWU6c0BjcmV0")]
        assert other.asked == []
    finally:
        other.close()


def test_requests_for_the_same_file_ask_the_upstream_once(tmp_path: Path, liar: Liar) -> None:
    path = liar.lists(b"good")
    liar.answers[FILE] = lambda: (time.sleep(0.3), (200, {}, iter([b"good"])))[1]
    with proxying(tmp_path, f"{liar.origin}/simple") as server:
        found: list[bytes] = []
        threads = [threading.Thread(target=lambda: found.append(server.ask(path).body)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [b"good"] * 8
    assert [one[0] for one in liar.asked] == ["/simple/theirs/", FILE]


def test_only_public_addresses_and_https_are_asked_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    upstream = Upstream("http://127.0.0.1:1/simple/", 0.2, 1000)
    assert upstream.may_ask("http://127.0.0.1:1/x")
    assert upstream.may_ask("https://files.example/x")
    for wrong in (
        "http://files.example/x",
        "http://127.0.0.1:2/x",
        "ftp://x/",
        "https://",
        "https://a:b@files.example/",
    ):
        assert not upstream.may_ask(wrong), wrong
    for inside in ("10.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1", "0.0.0.0", "100.64.0.1"):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, inside=inside, **__: [(2, 1, 6, "", (inside, 443))])
        with (
            pytest.raises(UpstreamError, match="inside a network"),
            upstream.get("https://files.example/x", accept="*/*", most=1),
        ):
            pass


def test_a_proxy_needs_an_upstream(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no upstream index"):
        Settings(root=tmp_path, proxy=True)


@pytest.mark.e2e
@pytest.mark.parametrize("client", ["pip", "uv"])
def test_clients_install_through_us(tmp_path: Path, client: str) -> None:
    publish(
        [
            make_wheel(tmp_path / "public-in", "mine", "99.0", code="evil = True"),
            make_wheel(tmp_path / "public-in", "theirs", "1.0", code="theirs = True"),
        ],
        tmp_path / "public",
    )
    publish([make_wheel(tmp_path / "in", "mine", "1.0", metadata="Requires-Dist: theirs\n")], tmp_path / "dist")
    python = str(tmp_path / "venv/bin/python")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    with running(tmp_path / "public") as public, proxying(tmp_path / "dist", f"{public.url}simple/") as server:
        for attempt in ("fresh", "kept"):
            target, url = tmp_path / attempt, f"{server.url}simple/"
            pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--index-url", url]
            uv = [find_uv_bin(), "pip", "install", "--python", python, "--no-cache", "--default-index", url]
            command = [*(pip if client == "pip" else uv), "--target", str(target), "mine"]
            subprocess.run(command, env=environment, check=True, stdin=subprocess.DEVNULL)
            assert {path.name for path in target.glob("*.dist-info")} == {"mine-1.0.dist-info", "theirs-1.0.dist-info"}
            assert (target / "theirs.py").read_text() == "theirs = True"
        assert len(_kept(server)) == 2
        text = public.ask("/metrics").body.decode()
        assert 'wheelsmith_index_requests_total{code="200",kind="file",method="GET"} 2.0' in text  # wheel and METADATA


_WORDS = st.sampled_from(["theirs", "1.0", NAME, "x" * 64, "0" * 64, "https://x/y", "http://[", "../x", ""])
_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _WORDS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["filename", "url", "hashes", "sha256", "core-metadata", "size", "yanked", "status"]), inner
        )
    ),
    max_leaves=12,
)


@given(files=_JSON_VALUES, status=_JSON_VALUES, versions=_JSON_VALUES)
def test_any_page_is_read_or_refused(files: object, status: object, versions: object) -> None:
    page = {"meta": {"api-version": "1.0"}, "name": "theirs", "files": files}
    page |= {"project-status": status, "versions": versions}
    try:
        listing = Listing.of("theirs", page, "https://upstream.example/simple/theirs/")
    except UpstreamError as error:
        assert error.event == "upstream-lie"
    else:
        assert json.loads(listing.as_json("../"))["name"] == "theirs"
        assert b"<script" not in listing.as_html("../")
