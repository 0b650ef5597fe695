"""The same promises in Azure (Azurite) and in Google's cloud (its XML API, as far as `clouds` has it)."""

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clouds import AZURITE_ACCOUNT, AZURITE_KEY, Gcs, make_azure_container
from tests.support.index_wheels import make_wheel
from tests.support.looking import files_on, listed
from wheelsmith.errors import IndexConflictError
from wheelsmith.index.location import open_storage
from wheelsmith.index.publish import publish
from wheelsmith.index.storage import Storage
from wheelsmith.index.verify import rebuild, verify


@pytest.fixture(name="gcs")
def gcs_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Gcs]]:
    server = Gcs()
    account = {"gcs_base_url": server.url, "disable_oauth": True, "client_email": "", "private_key": ""}
    (tmp_path / "account.json").write_text(json.dumps({**account, "private_key_id": ""}))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
    monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
    yield "gs://wheels/team a", server
    server.close()


@pytest.fixture(name="azure")
def azure_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Azurite: `npm install azurite`, and its `azurite-blob` on PATH or named by AZURITE_BLOB."""
    program = shutil.which(os.environ.get("AZURITE_BLOB", "azurite-blob"))
    if program is None:
        pytest.skip("azurite-blob is not installed (npm install azurite)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    with (tmp_path / "azurite.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            for _ in range(200):
                assert server.poll() is None, (tmp_path / "azurite.log").read_text()
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            make_azure_container(port, "wheels")
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", AZURITE_ACCOUNT)
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY)
            monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
            monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", f"http://127.0.0.1:{port}")
            yield "az://wheels/team a"
        finally:
            server.terminate()


def _swaps(storage: Storage) -> None:
    """An object is replaced only by who has read what is there, even if somebody put the same bytes back."""
    assert storage.swap("k.json", b"1", None)
    assert not storage.swap("k.json", b"2", None)
    seen = storage.read("k.json")
    assert storage.swap("k.json", b"2", seen)
    assert not storage.swap("k.json", b"3", seen)
    assert storage.swap("k.json", b"1", storage.read("k.json"))
    storage.delete("k.json", "k.json")
    assert storage.read("k.json") is None


def _publish_one_by_one(wheels: list[Path], url: str, barrier: "multiprocessing.synchronize.Barrier") -> None:
    barrier.wait()
    for wheel in wheels:
        publish([wheel], url)


def _promises(url: str, folder: Path) -> None:
    """Publish, conflict, two writers at once with a reader, verify and repair."""
    storage = open_storage(url)
    _swaps(storage)
    first = make_wheel(folder / "in", "pkg", "1.0+cu130", code="x = 1\n" * 2_000_000)  # two parts
    assert [publish([first], url)[0].already_there for _ in range(2)] == [False, True]
    with pytest.raises(IndexConflictError, match="other bytes under"):
        publish([make_wheel(folder / "other", "pkg", "1.0+cu130")], url)

    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    same = make_wheel(folder / "in", "same", "1.0")
    writers = []
    for number in range(2):
        own = [make_wheel(folder / "in", "shared", f"{number}.{minor}+cu13{number}") for minor in range(4)]
        writers.append(context.Process(target=_publish_one_by_one, args=([*own, same], url, barrier)))
    for writer in writers:
        writer.start()
    barrier.wait()
    while any(writer.is_alive() for writer in writers):
        files_on(storage, "shared")  # also checks that what is named is there
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(files_on(storage, "shared")) == 8
    assert listed(storage) == ["pkg", "same", "shared"]
    assert verify(url).findings == ()
    storage.delete("records/projects/shared.json", "simple/pkg/index.json")
    assert verify(url, repair=True).is_sound
    assert (verify(url).findings, rebuild(url)) == ((), ())
    assert len(files_on(storage, "shared")) == 8


@pytest.mark.e2e
def test_azure_keeps_every_promise(azure: str, tmp_path: Path) -> None:
    _promises(azure, tmp_path)


@pytest.mark.e2e
def test_gcs_keeps_every_promise(gcs: tuple[str, Gcs], tmp_path: Path) -> None:
    _promises(gcs[0], tmp_path)


def test_gcs_replaces_by_generation(gcs: tuple[str, Gcs]) -> None:
    url, server = gcs
    _swaps(open_storage(url))
    assert server.refused == 2
