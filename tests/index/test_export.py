"""What a static server may be pointed at, and links into a bucket: what clients may have, and nothing else."""

import http.server
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from tests.support.index_wheels import make_wheel
from tests.support.looking import files_on
from wheelsmith.api.indexing import publish
from wheelsmith.api.serving import index_export, index_token_create
from wheelsmith.errors import UsageError
from wheelsmith.index.location import open_storage
from wheelsmith.index.manage import remove, set_status


@pytest.fixture(name="index")
def index_fixture(tmp_path: Path) -> Path:
    index = tmp_path / "dist"
    publish([make_wheel(tmp_path / "in", name, "1.0") for name in ("leaf", "secret")], index=index)
    index_token_create("ci", index=index, publish=("leaf",))
    set_status(index, "secret", "quarantined")
    return index


def _keys(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_nothing_private_is_in_an_export(index: Path, tmp_path: Path) -> None:
    index_export(tmp_path / "public", index=index)
    found = _keys(tmp_path / "public")
    assert {"leaf-1.0-py3-none-any.whl", "leaf-1.0-py3-none-any.whl.metadata", "simple/leaf/index.json"} <= found
    assert [key for key in found if key.startswith(("records/", ".wheelsmith/")) or "secret-1.0" in key] == []
    assert (tmp_path / "public/leaf-1.0-py3-none-any.whl").samefile(index / "leaf-1.0-py3-none-any.whl")
    assert files_on(open_storage(tmp_path / "public"), "leaf") == {"leaf-1.0-py3-none-any.whl"}


def test_an_export_follows_and_does_not_touch_what_it_did_not_write(index: Path, tmp_path: Path) -> None:
    index_export(tmp_path / "public", index=index)
    assert index_export(tmp_path / "public", index=index).written == ()
    remove(index, "leaf", force=True)
    publish([make_wheel(tmp_path / "in", "twig", "1.0")], index=index)
    done = index_export(tmp_path / "public", index=index)
    assert "leaf-1.0-py3-none-any.whl" in done.removed
    assert "twig-1.0-py3-none-any.whl" in done.written
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("mine")
    for place in (tmp_path / "other", index, index / "public", tmp_path):
        with pytest.raises(UsageError):
            index_export(place, index=index)
    assert (tmp_path / "other/mine.txt").read_text() == "mine"


@pytest.mark.e2e
def test_pip_installs_from_http_server_on_an_export(index: Path, tmp_path: Path) -> None:
    index_export(tmp_path / "public", index=index)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "public"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        pip = [sys.executable, "-m", "pip", "install", "--target", str(tmp_path / "site"), "--index-url"]
        subprocess.run([*pip, f"{url}/simple/", "leaf"], check=True, capture_output=True)
        for path in ("/.wheelsmith/", "/records/", "/secret-1.0-py3-none-any.whl"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(url + path)
        server.shutdown()
    assert (tmp_path / "site/leaf.py").is_file()
