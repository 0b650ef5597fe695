"""A bucket is an index too: through the server, and read directly by pip and uv."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.support.index_wheels import make_wheel
from tests.support.running import Running, running
from tests.support.s3 import moto, seaweed
from wheelsmith.api.serving import index_links, index_token_create, index_tokens
from wheelsmith.errors import UsageError
from wheelsmith.index.manage import set_status
from wheelsmith.index.publish import publish
from wheelsmith.server.source import FRESH

pytestmark = pytest.mark.e2e

BUCKET = "s3://wheels/team/a"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


@pytest.fixture(name="endpoint", params=[pytest.param(name, marks=pytest.mark.e2e) for name in ("moto", "seaweed")])
def endpoint_fixture(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with moto(monkeypatch) if request.param == "moto" else seaweed(tmp_path, monkeypatch) as endpoint:
        publish([make_wheel(tmp_path / "in", "leaf", "1.0+cu130", code="x = 1\n" * 1000)], BUCKET)
        yield endpoint


@pytest.fixture(name="server")
def server_fixture(endpoint: str, tmp_path: Path) -> Iterator[Running]:
    with running(BUCKET, state=tmp_path / "state") as server:
        yield server


def test_pages_and_files_come_through_the_server(server: Running, tmp_path: Path) -> None:
    assert server.ask("/health").status == 200
    page = server.ask("/simple/leaf/", headers=JSON)
    assert page.headers["content-type"] == JSON["Accept"]
    assert page.headers["vary"] == "Accept, Accept-Encoding"
    assert server.ask("/simple/leaf/", headers={**JSON, "If-None-Match": page.headers["etag"]}).status == 304
    html = server.ask("/simple/leaf/", headers={"Accept": "text/html"})
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    assert server.ask("/cu130/simple/leaf/").status == 200
    assert server.ask("/simple/leaf").headers["location"] == "/simple/leaf/"
    path = "/files/" + html.body.decode().partition('href="../../files/')[2].partition("#")[0]
    wheel = (tmp_path / "in/leaf-1.0+cu130-py3-none-any.whl").read_bytes()
    whole = server.ask(path)
    assert (whole.status, whole.body) == (200, wheel)
    assert "immutable" in whole.headers["cache-control"]
    part = server.ask(path, headers={"Range": "bytes=10-19", "If-Range": whole.headers["etag"]})
    assert (part.status, part.body, part.headers["content-range"]) == (206, wheel[10:20], f"bytes 10-19/{len(wheel)}")
    assert server.ask(path, headers={"Range": "bytes=-5"}).body == wheel[-5:]
    assert server.ask(path, headers={"Range": f"bytes={len(wheel)}-"}).status == 416
    assert server.ask(path, headers={"Range": "bytes=5-", "If-Range": '"other"'}).body == wheel
    head = server.ask(path, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(wheel)))
    assert server.ask(f"{path}.metadata").body.startswith(b"Metadata-Version: 2.1")
    for hidden in ("/records/projects/leaf.json", "/simple/absent/", "/files/", "/project/../records/catalog.json"):
        assert server.ask(hidden).status == 404


def test_tokens_uploads_and_quarantine_work_with_a_bucket(server: Running, tmp_path: Path) -> None:
    state = tmp_path / "state"
    _, secret = index_token_create("ci", index=BUCKET, publish=("twig",), state=state)
    assert [token.name for token in index_tokens(index=BUCKET, state=state)] == ["ci"]
    content = make_wheel(tmp_path / "in", "twig", "1.0").read_bytes()
    assert server.upload(content, "twig-1.0-py3-none-any.whl", secret).status == 200
    assert server.upload(content, "twig-1.0-py3-none-any.whl", None).status == 401
    other = make_wheel(tmp_path / "b", "twig", "1.0", code="x = 2").read_bytes()
    assert server.upload(other, "twig-1.0-py3-none-any.whl", secret).status == 409
    set_status(BUCKET, "twig", "quarantined")
    time.sleep(FRESH)  # so long what was seen is believed, and no longer
    assert b"twig-1.0" not in server.ask("/simple/twig/").body
    assert not list(Path.cwd().glob("s3:*"))


def _let_everybody_read() -> None:
    """As docs/serving.md says: the pages and the files, not the records."""
    prefix = "arn:aws:s3:::wheels/team/a/"
    shown = [f"{prefix}{part}/*" for part in ("files", "simple", "*/simple")]
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": shown}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    pytest.importorskip("boto3").client("s3").put_bucket_policy(Bucket="wheels", Policy=policy)


@pytest.mark.e2e
@pytest.mark.parametrize("client", ["pip", "uv"])
@pytest.mark.parametrize("way", ["server", "private server", "public bucket", "signed links"])
def test_pip_and_uv_install_from_a_bucket(
    endpoint: str, tmp_path: Path, client: str, way: str, request: pytest.FixtureRequest
) -> None:
    public = way == "public bucket"
    if public and "seaweed" in request.node.name:
        pytest.skip("its bucket is private")
    with contextlib.ExitStack() as held:
        if "server" in way:
            server = held.enter_context(running(BUCKET, state=tmp_path / "state", private=way == "private server"))
            url = f"{server.url}simple/"
            if server.settings.private:
                url = url.replace("//", f"//__token__:{server.token(read=True)}@")
            where = ["--index-url" if client == "pip" else "--default-index", url]
        elif public:
            _let_everybody_read()
            page = f"{endpoint}/wheels/team/a/simple/leaf/index.html"
            where = ["--no-index", "--find-links", page]
        else:
            (tmp_path / "links.html").write_text(index_links(["leaf"], index=BUCKET))
            where = ["--no-index", "--find-links", str(tmp_path / "links.html")]
        command = [sys.executable, "-m", "pip"] if client == "pip" else [find_uv_bin(), "pip"]
        extra = [] if client == "pip" else ["--no-cache", "--python", sys.executable]
        target = ["--target", str(tmp_path / "site")]
        done = subprocess.run(  # the message is what matters
            [*command, "install", *extra, *where, *target, "leaf"], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/leaf.py").is_file()


def test_links_of_a_directory_are_not_signed(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    with pytest.raises(UsageError, match="no bucket"):
        index_links(["leaf"], index=tmp_path / "dist")
