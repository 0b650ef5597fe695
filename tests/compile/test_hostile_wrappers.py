"""What a build can say to the jobserver, the cache's server and the log: nonsense changes nothing outside of it."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import struct
import threading
import time
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compile.test_jobserver import House
from wheelsmith.compile import jobserver, process
from wheelsmith.compile.command import understand
from wheelsmith.compile.cost_model import CostModel
from wheelsmith.compile.jobserver import Jobserver
from wheelsmith.compile.scheduler import Capacity, Scheduler
from wheelsmith.compile.timeline import Timeline
from wheelsmith.documents.builds import RunHead
from wheelsmith.events import Compiling, Event, UnitDone
from wheelsmith.toolchain.ccache import server
from wheelsmith.toolchain.ccache.entries import LARGEST, Directory, Scope, Sealed
from wheelsmith.toolchain.ccache.server import CacheServer, Level


class Talk:
    """A jobserver, and peers that say what they like."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.selector = selectors.DefaultSelector()
        self.told: list[Event] = []
        self.timeline, self.model = Timeline(cast(RunHead, {}), cpus=2, earlier=[]), CostModel(1000)
        self.scheduler = Scheduler(self.model, Capacity(2), timeline=self.timeline, listener=self.told.append)
        self.jobserver = Jobserver(directory, "/root", self.scheduler, self.selector)
        self.path = str(directory / "jobserver")
        self.peers: list[socket.socket] = []

    def peer(self) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX)
        opened.settimeout(5)
        opened.connect(self.path)
        self.peers.append(opened)
        self.turn()
        return opened

    def say(self, opened: socket.socket, *fields: bytes) -> None:
        message = b"\0".join(fields)
        opened.sendall(len(message).to_bytes(4, "big") + message)
        self.turn()

    def turn(self) -> None:
        for _ in range(3):
            for key, _ in self.selector.select(0):
                self.jobserver.handle(key)
            self.jobserver.tick()
        self.scheduler.state()
        self.scheduler.sample()

    def close(self) -> None:
        self.jobserver.close()
        self.selector.close()
        for opened in self.peers:
            opened.close()


@pytest.fixture
def talk(tmp_path):
    made = Talk(tmp_path / "launch")
    yield made
    made.close()


UNIT = (b"/root/src", b"g++", b"-c", b"a.cpp", b"-o", b"a.o")


def units(talk: Talk) -> list[UnitDone]:
    return [event for event in talk.told if isinstance(event, UnitDone)]


NUMBERS = [
    b"0",
    b"-1",
    b"1" * 400,
    b"9" * 5000,
    b"nan",
    b"inf",
    b"-inf",
    b"1e400",
    b"",
    b"x",
    b"\xc2\xb2",
    b"127",
    b"65536",
]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("number", NUMBERS)
def test_figures_that_cannot_be(talk, place, number):
    peer = talk.peer()
    talk.say(peer, *UNIT)
    figures = [b"0", b"1.0", b"1000"]
    figures[place] = number
    talk.say(peer, *figures, b"", b"")
    for done in units(talk):
        assert 0 <= done.cpu_seconds < 100_000
        assert 0 <= done.peak < 1 << 50
    talk.timeline.to_dict()
    talk.model.to_dict()
    honest = talk.peer()
    talk.say(honest, *UNIT)
    assert honest.recv(100)[4:] == b"run"


@given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=8), max_size=6), st.binary(max_size=60))
def test_anything_at_all(tmp_path_factory, messages, rest):
    talk = Talk(tmp_path_factory.mktemp("launch"))
    try:
        for message in messages:
            peer = talk.peer()
            with contextlib.suppress(OSError):
                talk.say(peer, b"/root", b"g++", b"-c", *message, b"x.cpp")
                talk.say(peer, *message)
        with contextlib.suppress(OSError):
            talk.peer().sendall(rest)
        talk.turn()
    finally:
        talk.close()


def test_who_was_not_told_to_run_has_nothing_to_report(talk):
    peers = [talk.peer() for _ in range(5)]
    for peer in peers:
        talk.say(peer, *UNIT)
    for peer in peers[2:]:  # there are two slots
        talk.say(peer, b"0", b"1", b"1", b"", b"")
        assert peer.recv(1) == b""
    assert units(talk) == []


def test_who_holds_all_connections_stops_nobody(talk, monkeypatch):
    talk.jobserver._most = 20
    held = [talk.peer() for _ in range(40)]
    refused = sum(not peer.recv(1) for peer in held[20:])
    assert refused == 20
    for peer in held[:20]:
        peer.close()
    talk.turn()
    honest = talk.peer()
    talk.say(honest, *UNIT)
    assert honest.recv(100)[4:] == b"run"


def test_what_is_said_in_halves_is_not_kept_without_end(talk, monkeypatch):
    monkeypatch.setattr(jobserver, "_MOST_HELD", 1 << 20)
    kept = 0
    for _ in range(20):
        peer = talk.peer()
        peer.sendall((8 << 20).to_bytes(4, "big") + bytes(100_000))
        talk.turn()
        kept = max(kept, sum(len(wrapper.received) for wrapper in talk.jobserver._wrappers.values()))
    assert kept < 2 << 20


def test_units_without_end_are_not_recorded(talk, monkeypatch):
    monkeypatch.setattr(jobserver, "_MOST_UNITS", 5)
    words = []
    for number in range(8):
        peer = talk.peer()
        talk.say(peer, b"/root/src", b"g++", b"-c", b"%d.cpp" % number)
        words.append(peer.recv(100)[4:])
        talk.say(peer, b"0", b"1", b"1", b"", b"") if words[-1] == b"run" else None
    assert words == [b"run"] * 5 + [b"exec"] * 3
    assert len(units(talk)) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        [b"a" * 10_000 + b".cu"],
        [b"a.cu", *[b"-gencode=arch=compute_%d,code=sm_%d" % (n, n) for n in range(100)]],
        [b"a.cu", b"-o", b"o" * 10_000],
    ],
)
def test_units_that_no_compiler_makes(talk, arguments):
    peer = talk.peer()
    talk.say(peer, b"/root/src", b"nvcc", b"-c", *arguments)
    assert peer.recv(100)[4:] == b"exec"


@pytest.mark.parametrize("threads", ["²", "9" * 5000, "-1", "0x4", "٤"])
def test_numbers_of_threads_that_are_none(threads):
    assert understand(["nvcc", "-c", "a.cu", "--threads", threads], "/root", "/root").threads == 1


LINES = [
    "[" + "9" * 5000 + "/1] x",
    "[1/999999999] x",
    "[٤/٤] x",
    "-- Build files have been written to: /etc/../proc/self",
]


@pytest.mark.parametrize("line", LINES)
def test_lines_that_no_build_tool_writes(tmp_path, line):
    house = House(tmp_path, gxx="echo made > $4")
    (tmp_path / "line").write_text(line)
    assert house.run(f"cat {tmp_path}/line; echo; sleep 1.2; g++ -c a.cpp -o a.o") == 0
    assert house.units == [("src/a.cpp", 0, False)]
    assert all((event.total or 0) < 100_000 for event in house.told if isinstance(event, Compiling))


def test_what_was_configured_is_looked_at_inside_of_the_build_only(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(process, "bypasses", lambda directory, root: looked.append(directory) or [])
    monkeypatch.setattr(process, "_MOST_LOOKS", 10)
    house = House(tmp_path / "root", gxx="")
    (tmp_path / "root/src/out").symlink_to("/etc")
    root, head = tmp_path / "root", "-- Build files have been written to: "
    places = [f"{root}/../../etc", f"{root}/src/out", "/etc", *[f"{root}/src/{n // 2}" for n in range(40)]]
    (root / "lines").write_text("".join(f"{head}{place}\n" for place in places))
    governed = house.governed(1)
    object.__setattr__(governed, "cached", True)
    command = house.room.command(["cat", f"{root}/lines"], leashed=True)
    process.run_process(command, root / "log", governed, house.told.append)
    assert looked == [root / f"src/{number}" for number in range(7)]


class Cache:
    """The server of a cache, and what is in it."""

    def __init__(self, directory: Path) -> None:
        self.entries = directory / "entries"
        self.notes: list[Event] = []
        level = Level(Sealed(Directory(self.entries), Scope("ours", "a" * 32), None), "here")
        self.server = CacheServer((level,), self.notes.append, budget=10 << 20)
        self.path = directory / "socket"

    def connect(self) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX)
        opened.connect(str(self.path))
        opened.settimeout(20)
        return opened

    def held(self) -> int:
        """Bytes that the server still holds, when it has had the time to let go of them."""
        for _ in range(200):
            if not self.server._held:
                break
            time.sleep(0.05)
        return self.server._held

    def works(self) -> None:
        with self.connect() as opened:
            assert opened.recv(3) == b"\x01\x01\x00"
            opened.sendall(b"\x01\x04name\x01" + struct.pack("=Q", 5) + b"hello")
            assert opened.recv(1) == b"\0"
            opened.sendall(b"\x00\x04name")
            assert opened.recv(14, socket.MSG_WAITALL) == b"\0" + struct.pack("=Q", 5) + b"hello"


@pytest.fixture
def cache(tmp_path):
    made = Cache(tmp_path)
    with made.server.at(made.path):
        yield made


FRAMES = {
    "garbage": bytes(range(256)) * 50,
    "an unknown request": b"\x63",
    "a huge entry": b"\x01\x04name\x01" + struct.pack("=Q", LARGEST + 1),
    "an entry without end": b"\x01\x04name\x01" + struct.pack("=Q", 2**64 - 1) + bytes(1 << 16),
    "half an entry": b"\x01\x04name\x01" + struct.pack("=Q", 1000) + b"half",
    "no name": b"\x00\x00",
    "a long name": b"\x00\xff" + b"n" * 255,
    "a name that leads away": b"\x00\x10../../../../etc/",
    "remove": b"\x02\x04name",
    "stop": b"\x03",
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_that_are_none(cache, capfd, name):
    cache.works()
    with cache.connect() as opened, contextlib.suppress(OSError):
        opened.sendall(FRAMES[name])
        opened.shutdown(socket.SHUT_WR)
        while opened.recv(1 << 16):
            pass
    cache.works()
    assert cache.held() == 0
    assert capfd.readouterr().err == ""
    assert {path.relative_to(cache.entries).parts[0] for path in cache.entries.rglob("*")} == {"a" * 32}


def test_more_clients_than_may_are_sent_away_and_memory_is_limited(cache, monkeypatch, capfd):
    monkeypatch.setattr(server, "_MOST_HELD", 1 << 20)
    before = threading.active_count()
    held = [cache.connect() for _ in range(300)]
    greeted = [bool(opened.recv(3)) for opened in held]
    assert sum(greeted) == server._MOST_CLIENTS
    assert threading.active_count() - before <= server._MOST_CLIENTS
    slow = [opened for opened, told in zip(held, greeted, strict=True) if told][:3]
    for opened in slow:
        opened.sendall(b"\x01\x04slow\x01" + struct.pack("=Q", 600_000))  # and nothing comes
    ended = 0
    for opened in slow:
        opened.settimeout(2)
        with contextlib.suppress(TimeoutError):
            ended += opened.recv(1) == b""
    assert ended == 2
    for opened in held:
        opened.close()
    assert cache.held() == 0
    cache.works()
    assert capfd.readouterr().err == ""


def test_nobody_runs_out_of_files(tmp_path):
    """With few files to open, peers that hold connections take half of them at the most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    talk = Talk(tmp_path / "launch")
    try:
        assert talk.jobserver._most == 128
    finally:
        talk.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
