"""GET and HEAD: what clients get, and what they do not."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.index_wheels import make_wheel
from tests.support.running import Running, running
from wheelsmith.index.manage import set_status, yank
from wheelsmith.index.publish import publish
from wheelsmith.server.caching import choose_page

pytestmark = pytest.mark.e2e

JSON, HTML = "application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+html"
WHEEL = "/leaf-1.0%2Bcu130-py3-none-any.whl"


@pytest.fixture(name="server")
def server_fixture(tmp_path: Path) -> Iterator[Running]:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0+cu130", code="x = 1\n" * 500)], tmp_path / "dist")
    with running(tmp_path / "dist", upstream="http://127.0.0.1:9/simple", allow=("numpy", "leaf", "nvidia-*")) as it:
        yield it


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/html; charset=utf-8"),
        ("*/*", "text/html; charset=utf-8"),
        (f"{JSON}, {HTML};q=0.1, text/html;q=0.01", JSON),  # pip
        (f"{JSON}, {HTML};q=0.2, text/html", JSON),  # the same quality: JSON is the better
        (f"text/html, {JSON};q=0.5", "text/html; charset=utf-8"),
        (f"{HTML}, {JSON};q=0", f"{HTML}; charset=utf-8"),
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        (f"*/*, {JSON};q=0", "text/html; charset=utf-8"),
        ("image/png", None),
        (f"{JSON};q=0", None),
    ],
)
def test_content_negotiation(accept: str, content_type: str | None) -> None:
    chosen = choose_page(accept)
    assert (chosen and chosen[1]) == content_type


def test_pages_are_the_stored_bytes_with_type_vary_and_etag(server: Running, tmp_path: Path) -> None:
    for accept, kind in ((JSON, "json"), (HTML, "html"), ("text/html", "html")):
        answer = server.ask("/simple/leaf/", headers={"Accept": accept})
        assert answer.status == 200
        assert answer.body == (tmp_path / f"dist/simple/leaf/index.{kind}").read_bytes()
        assert answer.headers["content-type"].startswith(accept)
        assert answer.headers["vary"] == "Accept, Accept-Encoding"
        again = server.ask(
            "/simple/leaf/", headers={"Accept": accept, "If-None-Match": f'"x", {answer.headers["etag"]}'}
        )
        assert (again.status, again.body) == (304, b"")
        assert again.headers["content-type"] == answer.headers["content-type"]
        assert again.headers["vary"] == answer.headers["vary"]
    head = server.ask("/simple/leaf/", "HEAD", {"Accept": JSON})
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) == (tmp_path / "dist/simple/leaf/index.json").stat().st_size


def test_gzip_has_an_etag_of_its_own(server: Running, tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", f"{number}.0") for number in range(2, 6)], tmp_path / "dist")
    plain = server.ask("/simple/leaf/", headers={"Accept": "text/html"})
    zipped = server.ask("/simple/leaf/", headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
    assert gzip.decompress(zipped.body) == plain.body
    assert zipped.headers["etag"] != plain.headers["etag"]


def test_a_changed_page_is_served_at_once(server: Running, tmp_path: Path) -> None:
    before = server.ask("/simple/leaf/", headers={"Accept": JSON})
    publish([make_wheel(tmp_path / "in", "leaf", "2.0")], tmp_path / "dist")
    after = server.ask("/simple/leaf/", headers={"Accept": JSON, "If-None-Match": before.headers["etag"]})
    assert after.status == 200
    assert json.loads(after.body)["versions"] == ["1.0+cu130", "2.0"]


def test_files_are_immutable_and_resume(server: Running, tmp_path: Path) -> None:
    wheel = (tmp_path / "dist/leaf-1.0+cu130-py3-none-any.whl").read_bytes()
    whole = server.ask(WHEEL)
    assert whole.body == wheel
    assert "immutable" in whole.headers["cache-control"]
    etag = whole.headers["etag"]
    part = server.ask(WHEEL, headers={"Range": "bytes=100-", "If-Range": etag})
    assert (part.status, part.body) == (206, wheel[100:])
    assert part.headers["content-range"] == f"bytes 100-{len(wheel) - 1}/{len(wheel)}"
    other = server.ask(WHEEL, headers={"Range": "bytes=100-", "If-Range": '"other"'})
    assert (other.status, other.body) == (200, wheel)
    assert server.ask(WHEEL, headers={"Range": "bytes=-16"}).body == wheel[-16:]
    assert server.ask(WHEEL, headers={"Range": f"bytes={len(wheel)}-"}).status == 416
    head = server.ask(WHEEL, "HEAD")
    assert (head.body, int(head.headers["content-length"])) == (b"", len(wheel))
    metadata = server.ask(f"{WHEEL}.metadata")
    assert metadata.body == b"Metadata-Version: 2.1\nName: leaf\nVersion: 1.0+cu130\n"


@pytest.mark.parametrize(
    "path",
    [
        "/.wheelsmith/lock",
        "/.wheelsmith/audit.jsonl",
        "/.wheelsmith/",
        "/records/projects/leaf.json",
        "/records",
        "/simple/../.wheelsmith/lock",
        "/simple/%2e%2e/.wheelsmith/lock",
        "/simple/..%2f.wheelsmith%2flock",
        "/%2e%2e/in/leaf-1.0%2Bcu130-py3-none-any.whl",
        "//etc/passwd",
        "/simple/%00/",
        "/simple//leaf/",
        "/..%5c..%5cetc/passwd",
        "/stray-1.0-py3-none-any.whl",
        "/stray.tar.gz",
        "/" + "a" * 5000 + ".whl",
        "/simple/leaf/index.json/",
        "/%ff.whl",
    ],
)
def test_nothing_but_what_is_published_is_served(server: Running, tmp_path: Path, path: str) -> None:
    make_wheel(tmp_path / "dist", "stray", "1.0")  # it lies there, and was never published
    (tmp_path / "dist/stray.tar.gz").write_bytes(b"x")
    assert server.ask(path).status == 404


def test_quarantined_files_are_gone(server: Running, tmp_path: Path) -> None:
    assert server.ask(WHEEL).status == 200
    set_status(tmp_path / "dist", "leaf", "quarantined")
    assert server.ask(WHEEL).status == 404
    assert server.ask("/simple/leaf/").status in {200, 404}


def test_yanked_files_stay(server: Running, tmp_path: Path) -> None:
    yank(tmp_path / "dist", "leaf==1.0+cu130", reason="broken")
    assert server.ask(WHEEL).status == 200


def test_names_of_ours_never_fall_through(server: Running, tmp_path: Path) -> None:
    allowed = server.ask("/simple/numpy/")
    assert (allowed.status, allowed.headers["location"]) == (307, "http://127.0.0.1:9/simple/numpy/")
    assert allowed.headers["cache-control"] == "no-store"
    assert server.ask("/simple/nvidia-cublas/").status == 307
    assert server.ask("/simple/requests/").status == 404
    (tmp_path / "dist/simple/leaf/index.html").unlink()
    (tmp_path / "dist/simple/leaf/index.json").unlink()
    assert server.ask("/simple/leaf/").status == 404  # allowed, and gone, but ours


def test_a_reserved_name_never_falls_through(tmp_path: Path) -> None:
    with running(tmp_path, upstream="http://127.0.0.1:9/", allow=("*",), reserve=("acme-*",)) as server:
        assert server.ask("/simple/acme-kernels/").status == 404
        assert server.ask("/simple/numpy/").status == 307


def test_names_are_normalized_and_folders_end_in_a_slash(server: Running) -> None:
    assert server.ask("/simple/LEAF/").headers["location"] == "/simple/leaf/"
    assert server.ask("/simple/leaf").headers["location"] == "/simple/leaf/"
    assert server.ask("/simple/leaf/", "DELETE").status == 405
    assert server.ask("/simple/leaf/", headers={"Accept": "image/png"}).status == 406


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_private_index_needs_a_token_with_the_scope(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    with running(tmp_path / "dist", private=True) as server:
        reader, publisher = server.token(read=True), server.token(publish=("leaf",))
        for path in ("/simple/leaf/", "/leaf-1.0-py3-none-any.whl", "/", "/project/leaf/", "/metrics"):
            refused = server.ask(path)
            assert (refused.status, refused.headers["www-authenticate"][:6]) == (401, "Basic ")
            assert server.ask(path, headers=_basic("__token__", reader)).status == 200
            assert server.ask(path, headers={"Authorization": f"Bearer {reader}"}).status == 200
            assert server.ask(path, headers=_basic("__token__", publisher)).status == 403
            assert server.ask(path, headers=_basic("somebody", reader)).status == 401
        for garbage in ("Basic !!", "Basic", "Digest x", "Bearer ../../x", f"Bearer {reader[:-1]}~"):
            assert server.ask("/simple/", headers={"Authorization": garbage}).status == 401
        assert server.ask("/health").status == 200
        answer = server.ask("/simple/", headers=_basic("__token__", reader))
        assert answer.headers["cache-control"] == "private, no-cache"


def test_metrics_count(server: Running) -> None:
    server.ask("/simple/leaf/")
    server.ask("/simple/absent/")
    text = server.ask("/metrics").body.decode()
    assert 'wheelsmith_index_requests_total{code="200",kind="page",method="GET"} 1.0' in text
    assert 'wheelsmith_index_refused_total{event="absent"} 1.0' in text
