"""Whatever a server does, it is left in bounded time and after bounded bytes, with cause and remedy, and nothing of
what it sent stays. Loopback only. The limits are those of real life made small."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import tracemalloc

import pytest

from tests.hostile.bad_servers import BEHAVIOURS, serving
from wheelsmith.errors import WheelsmithError
from wheelsmith.events import ignore
from wheelsmith.planning.model import SdistSource
from wheelsmith.sources import git_process, http, patience, project_page
from wheelsmith.sources.git_process import list_remote
from wheelsmith.sources.http import download
from wheelsmith.sources.sdist import fetch
from wheelsmith.store import Store

pytestmark = pytest.mark.hostile
LONGEST = 30.0  # seconds: three tries of each limit below take 20
BUSY = 60  # seconds for each one of CPU time: others use the machine as well
MOST_CPU = 20.0  # seconds; reading a page may take five of them
MEMORY = 384 << 20  # bytes that may be held at once: a parsed page of HTML takes fifty times its size
DIGEST = hashlib.sha256(b"what is wanted").hexdigest()


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    for name, value in {"HEAD_SECONDS": 2.0, "PAGE_SECONDS": 3.0, "GRACE": 2.0, "PAGE_BYTES": 8 << 20}.items():
        monkeypatch.setattr(patience, name, value)
    monkeypatch.setattr(patience, "LONGEST", 6.0)
    monkeypatch.setattr(patience, "LARGEST", 1 << 20)
    for module in (patience, http, project_page):
        monkeypatch.setattr(module, "TIMEOUT", (2.0, 2.0))
    monkeypatch.setattr(project_page, "_CPU_SECONDS", 5)
    monkeypatch.setattr(git_process, "_SILENCE", 4.0)
    monkeypatch.setattr(git_process, "_PATIENT", {"http.lowSpeedLimit": "1000", "http.lowSpeedTime": "2"})
    monkeypatch.setattr(git_process, "_ANSWER_SECONDS", 8.0)


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def left(what, store: Store) -> WheelsmithError:
    """The error with which the server is left; nothing of it stays, and it did not cost too much."""
    tracemalloc.start()
    started, used = time.monotonic(), cpu_seconds()
    try:
        with pytest.raises(WheelsmithError) as caught:
            what()
        seconds, (_, peak) = time.monotonic() - started, tracemalloc.get_traced_memory()
        used = cpu_seconds() - used
    finally:
        tracemalloc.stop()
    error = caught.value
    assert error.cause
    assert error.remedy
    assert not {"\x1b", "\0", "secret@"} & {part for part in ("\x1b", "\0", "secret@") if part in str(error)}
    assert len(error.cause) < 2000
    assert used < MOST_CPU
    assert seconds < LONGEST + BUSY * used
    assert peak < MEMORY
    assert not [path for path in store.root.rglob("*") if path.is_file() and path.parent.name != "flocks"]
    return error


def test_there_are_enough():
    assert len(BEHAVIOURS) >= 60


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_as_a_server_of_files(tmp_path, name):
    store = Store(tmp_path)
    with serving(BEHAVIOURS[name]) as host:
        left(lambda: download(f"http://{host}/toy-1.0.tar.gz", DIGEST, store, listener=ignore), store)


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_as_a_package_index(tmp_path, name):
    store = Store(tmp_path)
    source = SdistSource("toy", "1.0", DIGEST)
    with serving(BEHAVIOURS[name]) as host:
        left(lambda: fetch(source, store, f"http://{host}/simple/", ignore), store)


GIT = (
    *("hangs up", "says nothing", "rubbish", "continue, slowly", "a head that drips", "a head without end"),
    *("a circle", "a file of ours", "less than it says", "no size, no end", "a body that drips", "chunks without end"),
    *("401", "404", "429, in 30 years", "503"),
)


@pytest.mark.parametrize("scheme", ["http", "git"])
@pytest.mark.parametrize("name", GIT)
def test_as_a_git_server(tmp_path, name, scheme):
    with serving(BEHAVIOURS[name]) as host:
        left(lambda: list_remote(f"{scheme}://{host}/toy.git"), Store(tmp_path))
    assert not [thread for thread in threading.enumerate() if "git" in thread.name]
