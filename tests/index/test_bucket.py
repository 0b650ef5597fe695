"""An index in S3: against moto, and with many writers against SeaweedFS."""

import hashlib
import multiprocessing
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.index_wheels import make_wheel
from tests.support.looking import all_pages, files_on, listed
from tests.support.s3 import moto, seaweed, use_endpoint
from wheelsmith.errors import HashMismatchError, IndexConflictError, NetworkError, UsageError
from wheelsmith.index.bucket import BucketStorage
from wheelsmith.index.location import open_storage
from wheelsmith.index.manage import collect, list_records
from wheelsmith.index.publish import publish
from wheelsmith.index.retention import Rules
from wheelsmith.index.verify import rebuild, verify


@pytest.fixture(name="moto")
def moto_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with moto(monkeypatch):
        yield


@pytest.mark.e2e
@pytest.mark.usefixtures("moto")
def test_publish_to_s3_and_what_a_static_server_tells_clients(tmp_path: Path) -> None:
    url = "s3://wheels/team/a"
    wheel = make_wheel(tmp_path, "pkg", "1.0+cu130", code="x = 1\n" * 2_000_000)  # two parts
    (one,) = publish([wheel], url)
    (again,) = publish([wheel], url)

    storage = open_storage(url)
    assert (one.already_there, again.already_there) == (False, True)
    assert files_on(storage, "pkg", "cu130") == files_on(storage, "pkg") == {wheel.name}
    assert verify(url).findings == ()
    before = all_pages(storage)
    storage.delete(*before)
    assert len(rebuild(url)) == len(before)
    assert all_pages(storage) == before
    import boto3

    client = boto3.Session().client("s3")
    page = client.head_object(Bucket="wheels", Key="team/a/simple/pkg/index.json")
    file = client.head_object(Bucket="wheels", Key=f"team/a/files/{one.sha256}/{wheel.name}")
    assert (page["ContentType"], page["CacheControl"]) == ("application/vnd.pypi.simple.v1+json", "no-cache")
    assert file["CacheControl"] == "public, max-age=31536000, immutable"


@pytest.mark.e2e
@pytest.mark.usefixtures("moto")
def test_swap_replaces_only_what_was_read() -> None:
    storage = open_storage("s3://wheels")
    assert storage.swap("k.json", b"1", None)
    assert not storage.swap("k.json", b"2", None)
    seen = storage.read("k.json")
    assert storage.swap("k.json", b"2", seen)
    assert not storage.swap("k.json", b"3", seen)
    assert storage.read("k.json").data == b"2"
    storage.delete("k.json", "k.json")
    assert not storage.swap("k.json", b"3", seen)
    assert storage.read("k.json") is None


@pytest.mark.e2e
@pytest.mark.usefixtures("moto")
def test_a_file_that_changes_during_its_upload_is_not_stored(tmp_path: Path) -> None:
    storage = open_storage("s3://wheels/changing")
    wheel = make_wheel(tmp_path, "pkg", "1.0", code="x = 1\n" * 2_000_000)
    with storage.inbox(lambda event: None) as inbox:
        arrival = inbox.receive(wheel)
        with wheel.open("r+b") as stream:
            stream.seek(arrival.size // 2)
            stream.write(b"evil")
        with pytest.raises(HashMismatchError, match="changed while it was being published"):
            inbox.keep(arrival, {})
    assert list(storage.names()) == []


def test_what_cannot_be_reached_or_opened_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no location"):
        open_storage("ftp://host/dist")
    assert open_storage((tmp_path / "a b").as_uri()).url == str(tmp_path / "a b")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        use_endpoint(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(NetworkError, match="did not do as asked"):
        open_storage("s3://wheels").read("k")


@pytest.fixture(name="weed")
def weed_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with seaweed(tmp_path, monkeypatch):
        yield


def _publish_one_by_one(wheels: list[Path], url: str, barrier: "multiprocessing.synchronize.Barrier") -> None:
    barrier.wait()
    for wheel in wheels:
        publish([wheel], url)


@pytest.mark.e2e
@pytest.mark.usefixtures("weed")
def test_eight_writers_lose_nothing_in_s3(tmp_path: Path) -> None:
    """8 processes, 5 wheels each: two of a project that all share, two of their own, one that all publish."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(9)
    url = "s3://wheels/shared index"
    same = make_wheel(tmp_path / "in", "same", "1.0")
    writers = []
    for number in range(8):
        local = f"+cu13{number % 2}"  # two variants appear at the same time
        shared = [make_wheel(tmp_path / "in", "shared", f"{number}.{minor}{local}") for minor in range(2)]
        own = [make_wheel(tmp_path / "in", f"own{number}", f"1.{minor}") for minor in range(2)]
        writers.append(context.Process(target=_publish_one_by_one, args=([*shared, *own, same], url, barrier)))
    for writer in writers:
        writer.start()
    storage = open_storage(url)
    barrier.wait()
    started, polls = time.monotonic(), 0
    while any(writer.is_alive() for writer in writers):
        files_on(storage, "shared")  # a reader at any time: every named file is there, whole
        files_on(storage, "same", "cu130")
        polls += 1
    seconds = time.monotonic() - started
    for writer in writers:
        writer.join()
    print(f"40 publishes by 8 writers in {seconds:.1f} s, {polls} polls")

    assert [writer.exitcode for writer in writers] == [0] * 8
    assert polls > 0
    assert len(files_on(storage, "shared")) == 16
    assert len(files_on(storage, "shared", "cu130")) == 8
    assert [len(files_on(storage, f"own{number}", "cu131")) for number in range(8)] == [2] * 8
    assert files_on(storage, "same") == {same.name}
    assert listed(storage) == listed(storage, "cu130") == [*(f"own{number}" for number in range(8)), "same", "shared"]
    assert verify(url).findings == ()
    assert rebuild(url) == ()


def test_of_two_writers_with_one_name_one_wins_and_leaves_no_trace_of_the_other(tmp_path: Path) -> None:
    """The second writer publishes between the first one's check and its commit."""
    storage = open_storage("memory:///")
    wheels = [make_wheel(tmp_path / name, "pkg", "1.0", code=f"x = {name!r}") for name in "ab"]
    upload = BucketStorage.upload

    def overtaken(self: BucketStorage, key: str, chunks: Iterator[bytes]) -> None:
        upload(self, key, chunks)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BucketStorage, "upload", upload)
            publish([wheels[1]], storage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BucketStorage, "upload", overtaken)
        with pytest.raises(IndexConflictError, match="other bytes under"):
            publish([wheels[0]], storage)

    (record,) = list_records(storage)
    assert [entry.sha256 for entry in record.entries] == [hashlib.sha256(wheels[1].read_bytes()).hexdigest()]
    assert verify(storage).findings == ()
    assert files_on(storage, "pkg") == {wheels[1].name}
    assert len({key.split("/")[1] for key in storage.names("pub/")}) == 1
    gone = collect(storage, Rules(), now=datetime.now(UTC) + timedelta(days=2))
    assert (len(gone.leftovers), len(gone.publications)) == (1, 1)
    assert len(list(storage.wheels())) == len(list(storage.names("records/publications/"))) == 1
    assert verify(storage).findings == ()


def test_threads_that_publish_one_name_with_different_bytes(tmp_path: Path) -> None:
    storage = open_storage("memory:///")
    wheels = [make_wheel(tmp_path / str(number), "pkg", "1.0", code=f"x = {number}") for number in range(8)]

    def outcome(wheel: Path) -> str:
        try:
            (done,) = publish([wheel], storage)
        except IndexConflictError:
            return "refused"
        return done.sha256

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(outcome, wheels))
    (winner,) = (one for one in outcomes if one != "refused")
    assert [entry.sha256 for entry in list_records(storage)[0].entries] == [winner]
    assert verify(storage).findings == ()
