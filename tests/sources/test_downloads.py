from __future__ import annotations

import errno
import hashlib
import io
import json
import random
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

import pytest

from tests.support.source_servers import Server, files_of, plan_of, serving
from wheelsmith.errors import HashMismatchError, NetworkError, OfflineError, SourceError, StoreError
from wheelsmith.events import Event, Progress
from wheelsmith.planning.model import ArchiveSource, SdistSource
from wheelsmith.sources import archive
from wheelsmith.sources.client_index import configured_index
from wheelsmith.sources.fetch import fetch
from wheelsmith.sources.stage import lay_out
from wheelsmith.store import Store

pytestmark = pytest.mark.e2e


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as running:
        yield running


def tar_of(
    *members: tuple[tarfile.TarInfo, bytes] | tuple[str, bytes], kind: Literal["gz", "bz2", "xz"] = "gz"
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=cast("Literal['w:gz']", f"w:{kind}")) as tar:
        for member, data in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


def zip_of(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, data in members:
            bundle.writestr(name, data)
    return buffer.getvalue()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def leftovers(store: Store) -> list[str]:
    return [path.name for path in (store.root / "blobs").iterdir()]


def offer(server: Server, *files: tuple[str, bytes], digests: bool = True) -> None:
    listed = []
    for name, data in files:
        server.pages[f"/files/{name}"] = ("application/octet-stream", data)
        listed.append({"filename": name, "url": f"/files/{name}", "hashes": {"sha256": sha(data)} if digests else {}})
    page = {"meta": {"api-version": "1.0"}, "name": "demo", "files": listed}
    server.pages["/simple/demo/"] = ("application/vnd.pypi.simple.v1+json", json.dumps(page).encode())


# Sdists


def test_the_sdist_with_the_digest_of_the_plan_is_taken(tmp_path: Path, store: Store, server: Server) -> None:
    tar, zipped = tar_of(("demo-1.0/setup.py", b"tar")), zip_of(("demo-1.0/setup.py", b"zip"))
    offer(
        server,
        ("demo-0.9.tar.gz", b"old"),
        ("demo-1.0.tar.gz", tar),
        ("demo-1.0.zip", zipped),
        ("demo-1.0-py3-none-any.whl", b"wheel"),
    )
    plan = plan_of(SdistSource("Demo", "1.0", sha(zipped)))
    events: list[Event] = []
    (fetched,) = fetch(plan, store, index_url=f"{server.url}/simple", listener=events.append)
    assert (fetched.bytes_fetched, fetched.reused) == (len(zipped), False)
    assert events[-1] == Progress("sources", "demo-1.0.zip", len(zipped), len(zipped))
    assert server.asked == ["/simple/demo/", "/files/demo-1.0.zip"]

    assert fetch(plan, store, index_url=f"{server.url}/simple")[0].reused
    assert len(server.asked) == 2
    lay_out(plan, store, tmp_path / "out")
    assert files_of(tmp_path / "out") == {"src/setup.py": b"zip"}


def test_another_digest_names_what_the_index_offers(store: Store, server: Server) -> None:
    offer(server, ("demo-1.0.tar.gz", b"rebuilt"))
    with pytest.raises(HashMismatchError) as caught:
        fetch(plan_of(SdistSource("demo", "1.0", "1f" * 32)), store, index_url=f"{server.url}/simple/")
    assert "1f" * 32 in caught.value.cause
    assert f"{sha(b'rebuilt')}  demo-1.0.tar.gz" in caught.value.detail


def test_an_index_without_digests_is_checked_all_the_same(store: Store, server: Server) -> None:
    offer(server, ("demo-1.0.tar.gz", b"other"), digests=False)
    with pytest.raises(HashMismatchError, match=sha(b"other")):
        fetch(plan_of(SdistSource("demo", "1.0", "0" * 64)), store, index_url=f"{server.url}/simple/")
    assert leftovers(store) == []


def test_no_project_no_sdist_no_index(store: Store, server: Server) -> None:
    offer(server, ("demo-1.0-py3-none-any.whl", b"wheel"))
    server.pages["/odd/demo/"] = ("image/png", b"x")
    server.pages["/json/demo/"] = ("application/vnd.pypi.simple.v1+json", b"{}")
    server.pages["/html/demo/"] = ("text/html", b"<a href='demo-2.0.tar.gz'>demo-2.0.tar.gz</a>")
    for index, project, cause in [
        ("simple", "demo", "no sdist of demo 1.0"),
        ("simple", "absent", "no project absent"),
        ("html", "demo", "no sdist of demo 1.0"),
        ("json", "demo", "does not answer as a package index"),
        ("odd", "demo", "does not answer as a package index"),
    ]:
        with pytest.raises(SourceError, match=cause):
            fetch(plan_of(SdistSource(project, "1.0", "0" * 64)), store, index_url=f"{server.url}/{index}")


def test_credentials_reach_the_index_and_no_message(store: Store, server: Server) -> None:
    data = tar_of(("demo-1.0/a", b"a"))
    offer(server, ("demo-1.0.tar.gz", data))
    index = f"http://me:hunter%202@{server.host}/simple/"
    fetch(plan_of(SdistSource("demo", "1.0", sha(data))), store, index_url=index)
    assert server.logins == ["Basic bWU6aHVudGVyIDI="] * 2
    with pytest.raises(HashMismatchError) as caught:
        fetch(plan_of(SdistSource("demo", "1.0", "0" * 64)), store, index_url=index)
    assert "hunter" not in f"{caught.value} {caught.value.remedy} {caught.value.detail}"


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "PIP_CONFIG_FILE"])
def test_the_index_that_uv_or_pip_would_use(
    tmp_path: Path, store: Store, server: Server, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    data = tar_of(("demo-1.0/a", b"a"))
    offer(server, ("demo-1.0.tar.gz", data))
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    value = f"{server.url}/simple"
    if variable == "PIP_CONFIG_FILE":
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {value}\n")
        value = str(tmp_path / "pip.conf")
    monkeypatch.setenv(variable, value)
    assert fetch(plan_of(SdistSource("demo", "1.0", sha(data))), store, index_url=configured_index())[
        0
    ].bytes_fetched == len(data)


# Archives


def test_an_archive_is_fetched_once_and_laid_out(tmp_path: Path, store: Store, server: Server) -> None:
    tool = tarfile.TarInfo("top/tool")
    tool.mode = 0o700
    data = tar_of(("top/a/b.txt", b"b"), (tool, b"t"), link("top/l", "a/b.txt"), kind="xz")
    server.pages["/x.tar.xz"] = ("application/x-xz", data)
    plan = plan_of(ArchiveSource(f"{server.url}/x.tar.xz?token=s3cret", sha(data)))
    (fetched,) = fetch(plan, store)
    assert "s3cret" not in fetched.what
    assert fetch(plan, store, offline=True)[0].reused
    lay_out(plan, store, tmp_path / "out")
    assert files_of(tmp_path / "out/src") == {"a/b.txt": b"b", "tool": b"t", "l": b"b"}
    assert stat.S_IMODE((tmp_path / "out/src/tool").stat().st_mode) == 0o755


def test_file_urls(tmp_path: Path, store: Store) -> None:
    data = zip_of(("a", b"1"), ("b/c", b"2"))
    path = tmp_path / "my archive.zip"
    path.write_bytes(data)
    plan = plan_of(ArchiveSource(path.as_uri(), sha(data)))
    assert fetch(plan, store)[0].bytes_fetched == len(data)
    lay_out(plan, store, tmp_path / "out")
    assert files_of(tmp_path / "out/src") == {"a": b"1", "b/c": b"2"}
    with pytest.raises(SourceError, match="There is no file"):
        fetch(plan_of(ArchiveSource((tmp_path / "absent").as_uri(), "0" * 64)), store)


def test_a_busy_server_is_asked_again(store: Store, server: Server) -> None:
    data = zip_of(("a", b"1"))
    server.pages["/x.zip"] = ("application/zip", data)
    server.busy = 2
    assert fetch(plan_of(ArchiveSource(f"{server.url}/x.zip", sha(data))), store)[0].bytes_fetched == len(data)
    assert len(server.asked) == 3
    server.busy = 3
    with pytest.raises(NetworkError, match="HTTP status 503"):
        fetch(plan_of(ArchiveSource(f"{server.url}/x.zip", "0" * 64)), store)


def test_wrong_bytes_are_not_kept(store: Store, server: Server) -> None:
    server.pages["/x.zip"] = ("application/zip", b"tampered")
    with pytest.raises(HashMismatchError) as caught:
        fetch(plan_of(ArchiveSource(f"{server.url}/x.zip", "0" * 64)), store)
    assert sha(b"tampered") in caught.value.cause and "0" * 64 in caught.value.cause
    assert leftovers(store) == []


def test_network_failures_name_the_url_without_its_secrets(
    store: Store, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.cut = 100
    server.pages["/cut.zip"] = ("application/zip", b"half")
    for url, cause in [
        (
            f"http://me:hunter2@{server.host}/absent.zip?key=hunter2",
            f"http://{server.host}/absent.zip.* HTTP status 404",
        ),
        (f"{server.url}/cut.zip", "cannot be fetched"),
        ("http://me:hunter2@127.0.0.1:1/x.zip?key=hunter2", r"http://127.0.0.1:1/x.zip.*Connection refused"),
        (f"https://me:hunter2@{server.host}/x.zip", f"https://{server.host}/x.zip cannot be fetched: .*SSL"),
    ]:
        with pytest.raises(NetworkError, match=cause) as caught:
            fetch(plan_of(ArchiveSource(url, "0" * 64)), store)
        assert "hunter2" not in f"{caught.value} {caught.value.remedy} {caught.value.detail} {caplog.text}"
        assert leftovers(store) == []


def test_a_damaged_blob_is_removed_and_fetched_again(tmp_path: Path, store: Store, server: Server) -> None:
    data = tar_of(("top/a", b"a"))
    server.pages["/x.tar.gz"] = ("application/gzip", data)
    plan = plan_of(ArchiveSource(f"{server.url}/x.tar.gz", sha(data)))
    fetch(plan, store)
    store.blob(sha(data)).write_bytes(b"damaged")
    with pytest.raises(OfflineError):
        fetch(plan, store, offline=True)
    fetch(plan, store)
    store.blob(sha(data)).write_bytes(b"damaged")
    with pytest.raises(StoreError):
        lay_out(plan, store, tmp_path / "out")
    assert leftovers(store) == []


def test_a_full_disk_leaves_no_half_file(store: Store, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.pages["/x.zip"] = ("application/zip", b"data")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("wheelsmith.sources.http.os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        fetch(plan_of(ArchiveSource(f"{server.url}/x.zip", sha(b"data"))), store)
    assert caught.value.errno == errno.ENOSPC
    assert leftovers(store) == []


def device() -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo("top/dev")
    info.type = tarfile.CHRTYPE
    return info, b""


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(tar_of(("../evil", b"x")), id="tar-climbs"),
        pytest.param(tar_of(("top/../../evil", b"x")), id="tar-climbs-later"),
        pytest.param(tar_of(link("top/l", "/etc")), id="tar-absolute-link"),
        pytest.param(tar_of(link("top/l", "../../.."), ("top/l/evil", b"x")), id="tar-through-link"),
        pytest.param(tar_of(link("top/l", "../../evil", tarfile.LNKTYPE)), id="tar-hard-link"),
        pytest.param(tar_of(device()), id="tar-device"),
        pytest.param(tar_of(("top/a", b"x" * 2000)), id="tar-too-big"),
        pytest.param(zip_of(("../evil", b"x")), id="zip-climbs"),
        pytest.param(zip_of(("/evil", b"x")), id="zip-absolute"),
        pytest.param(zip_of(("a\\..\\..\\evil", b"x")), id="zip-backslash"),
        pytest.param(zip_of(("a", b"x" * 2000)), id="zip-too-big"),
        pytest.param(b"no archive at all", id="no-archive"),
        pytest.param(tar_of(("top/a", random.Random(0).randbytes(900)))[:500], id="tar-cut-off"),
    ],
)
def test_unsafe_archives_write_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    room = tmp_path / "room"
    room.mkdir()
    with pytest.raises(SourceError):
        archive.unpack(tmp_path / "x", room / "out", "archive x", limit=1000)
    assert list(room.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["room", "x"]
