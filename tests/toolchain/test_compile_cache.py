"""The compile cache with g++ only: it hits, it tells the truth, and nothing that is wrong with it fails a compile."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.s3 import moto
from wheelsmith.errors import UsageError
from wheelsmith.events import Note, ignore
from wheelsmith.toolchain.ccache.cache import CacheSettings, cache_use, check_setting, open_cache
from wheelsmith.toolchain.ccache.entries import Directory, Scope, Sealed, Unauthenticated
from wheelsmith.toolchain.ccache.server import CacheServer, Level
from wheelsmith.toolchain.cuda import CudaToolkit

pytestmark = pytest.mark.e2e

DEVICE = Path(str(sys.modules[CacheServer.__module__].__file__)).with_name("device.py")


OURS, THEIRS = Scope("ours", "a" * 32), Scope("theirs", "b" * 32)
KEY = "0123456789abcdef" * 4


class Project:
    """A build's root, with one source and a header."""

    def __init__(self, root: Path, store: Path, setting: str | None = None, max_size: int = 10**9, **more) -> None:
        self.root = root
        self.notes: list[str] = []
        cache = CacheSettings(store, **{"scope": OURS, "place": setting, "max_size": max_size, **more})
        toolkit = CudaToolkit(root / "none", "13.0", "13.0.88", "a test")
        self.open = partial(open_cache, settings=cache, toolkit=toolkit, packages="p")
        for name in ("src/first", "src/second"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "src/unit.cpp").write_text("#include <value.h>\nint value() { return VALUE; }\n")
        (root / "src/second/value.h").write_text("#define VALUE 7\n")

    def listen(self, event) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)

    def compile(self, output: str = "unit.o", *flags: str):
        """Compile through the cache; what the cache did."""
        with self.open(self.root, str(self.root), listener=self.listen) as cache:
            prefix, environment = (cache.prefix, dict(cache.environment)) if cache else ((), {})
            self.call(output, *flags, prefix=prefix, environment=environment)
        return cache_use(self.root / "cache")

    def call(self, output: str, *flags: str, prefix=(), environment=None) -> bytes:
        command = [*prefix, "g++", "-Ifirst", "-Isecond", *flags, "-c", "unit.cpp", "-o", output]
        subprocess.run(command, cwd=self.root / "src", env=dict(os.environ) | (environment or {}), check=True)
        return (self.root / "src" / output).read_bytes()

    def truth(self, *flags: str) -> bytes:
        """What the compiler makes without any cache."""
        return self.call("unit.o", *flags)

    def object(self) -> bytes:
        return (self.root / "src/unit.o").read_bytes()


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "build", tmp_path / "store")


def test_the_second_compile_is_answered_with_the_same_bytes(project):
    assert (project.compile().hits, project.compile().hits) == (0, 1)
    assert project.object() == project.truth()
    assert project.notes == []


def test_counters_are_those_of_one_build(project):
    project.compile()
    use = project.compile()
    assert (use.hits, use.misses, use.rate) == (1, 0, 1.0)


def test_a_header_that_newly_hides_another_one_is_noticed(project):
    project.compile()
    (project.root / "src/first/value.h").write_text("#define VALUE 8\n")
    assert project.compile().hits == 0
    assert project.object() == project.truth()


def test_a_header_that_only_the_build_of_another_plan_generates_is_noticed(project):
    project.compile()
    with project.open(project.root, str(project.root), listener=project.listen, packages="another plan") as cache:
        (project.root / "src/first/value.h").write_text("#define VALUE 8\n")
        project.call("unit.o", prefix=cache.prefix, environment=dict(cache.environment))
    assert project.object() == project.truth()


def test_what_parts_of_a_build_generate_is_no_new_source_to_the_build_itself(tmp_path):
    part = Project(tmp_path / "part", tmp_path / "store", names_once=True)
    part.compile("unit.o", "-DONE")
    (part.root / "src/generated.h").write_text("")  # by that run
    part.compile("unit.o", "-DTWO")
    whole = Project(tmp_path / "whole", tmp_path / "store")
    whole.compile("unit.o", "-DTWO")
    assert "direct_cache_hit" in (whole.root / "cache/statistics").read_text()
    changed = Project(tmp_path / "changed", tmp_path / "store")
    (changed.root / "src/generated.h").write_text("")
    changed.compile("unit.o", "-DTWO")
    assert "preprocessed_cache_hit" in (changed.root / "cache/statistics").read_text()  # which costs a preprocessor


@pytest.mark.parametrize("changed", [False, True])
def test_a_header_that_gets_another_name_meanwhile_is_the_same_and_a_changed_one_is_not(project, monkeypatch, changed):
    """Another store's toolkit, laid out by hard links, gives headers a new ctime while units are compiled."""
    header = project.root / "src/second/value.h"
    os.utime(header, (10**9, 10**9))
    answer = CacheServer._give

    def meanwhile(server: CacheServer, name: str, sink: Any) -> None:
        time.sleep(0.05)
        if changed:
            header.write_text("#define VALUE 7\n ")
        elif not (project.root / "again.h").exists():
            os.link(header, project.root / "again.h")
        answer(server, name, sink)

    monkeypatch.setattr(CacheServer, "_give", meanwhile)
    use = project.compile()
    assert (use.misses, use.uncacheable) == ((0, 1) if changed else (1, 0))


def test_a_server_that_takes_its_time_is_waited_for(project, monkeypatch):
    answer = CacheServer._give

    def late(server: CacheServer, name: str, sink: Any) -> None:
        time.sleep(2)
        answer(server, name, sink)

    monkeypatch.setattr(CacheServer, "_give", late)
    monkeypatch.setattr("wheelsmith.toolchain.ccache.cache._PATIENCE", 1)
    project.compile()
    assert "remote_storage_timeout" in (project.root / "cache/statistics").read_text()  # the figure counts
    monkeypatch.setattr("wheelsmith.toolchain.ccache.cache._PATIENCE", 60)
    project.compile()
    assert "remote_storage_timeout" not in (project.root / "cache/statistics").read_text()


def test_a_new_file_that_changes_nothing_costs_no_compile(project):
    project.compile()
    (project.root / "src/first/other.h").write_text("")
    assert project.compile().hits == 1


def test_the_users_and_the_projects_configuration_of_ccache_do_not_count(project, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project.root))
    (project.root / "ccache").mkdir()
    for place in ("ccache/ccache.conf", "src/ccache.conf"):
        (project.root / place).write_text("disable = true\n")
    project.compile()
    assert project.compile().hits == 1


def test_what_means_another_thing_on_each_machine_is_compiled_afresh(project):
    project.compile("unit.o", "-march=native")
    use = project.compile("unit.o", "-march=native")
    assert (use.hits, use.misses) == (0, 0)


def entries(tmp_path: Path) -> list[Path]:
    """The files of ccache's that hold objects and lists of headers."""
    found = [path for path in (tmp_path / "store/objects").rglob("*") if path.is_file()]
    assert found
    return found


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_damaged_entries_are_not_believed(project, tmp_path, where):
    project.compile()
    for path in entries(tmp_path):
        data = bytearray(path.read_bytes())
        data[int(len(data) * where)] ^= 0xFF
        path.write_bytes(data)
    assert project.compile().hits == 0
    assert project.object() == project.truth()
    (note,) = project.notes
    assert note.startswith(f"entries of the compile cache {tmp_path}/store/objects are not taken")


def test_a_cache_of_rubbish_is_not_believed(project, tmp_path):
    project.compile()
    for path in (tmp_path / "store/objects").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:30])
    project.compile()
    assert project.object() == project.truth()


def test_a_directory_too_deep_for_a_socket_has_its_cache(tmp_path):
    """As of a build in a container, which cannot be confined and sees the store where it is."""
    project = Project(tmp_path / ("deep/" * 30), tmp_path / "store")
    assert (project.compile().misses, project.compile().hits) == (1, 1)
    assert project.notes == []


def test_a_place_that_cannot_be_used_is_noted(tmp_path):
    (tmp_path / "file").write_text("")
    project = Project(tmp_path / "build", tmp_path / "store", setting=str(tmp_path / "file/cache"))
    project.compile()
    assert project.notes == [f"no compile cache: {tmp_path}/file/cache cannot be used"]


def test_the_oldest_entries_go_when_there_are_too_many(tmp_path):
    project = Project(tmp_path / "build", tmp_path / "store", max_size=50_000)
    for number in range(25):
        project.compile("unit.o", f"-DNUMBER={number}", "-g3")
    project.compile("unit.o", "-DNUMBER=24", "-g3")
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 50_000 + 8_000
    assert project.object() == project.truth("-DNUMBER=24", "-g3")


@pytest.fixture
def redis_url():
    fakeredis = pytest.importorskip("fakeredis")
    server = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"redis://127.0.0.1:{server.server_address[1]}/0"
    server.shutdown()


@pytest.fixture
def bucket_url(monkeypatch):
    with moto(monkeypatch, "objects"):
        yield "s3://objects/team"


@pytest.mark.parametrize("kind", ["redis_url", "bucket_url"])
def test_another_machine_finds_what_this_one_compiled(request, tmp_path, kind, monkeypatch):
    monkeypatch.setenv("WHEELSMITH_CACHE_KEY", KEY)
    url = request.getfixturevalue(kind)
    assert Project(tmp_path / "build", tmp_path / "here", setting=url).compile().misses == 1
    there = Project(tmp_path / "build", tmp_path / "there", setting=url)
    assert there.compile().hits == 1
    assert there.object() == there.truth()
    assert there.notes == []


def test_a_server_that_is_not_there_is_noted_once(tmp_path, monkeypatch):
    pytest.importorskip("redis")
    monkeypatch.setenv("WHEELSMITH_CACHE_KEY", KEY)
    project = Project(tmp_path / "build", tmp_path / "store", setting="redis://:secret@127.0.0.1:1/0")
    with project.open(project.root, str(project.root), listener=project.listen) as cache:
        for number in range(5):
            project.call("unit.o", f"-DN={number}", prefix=cache.prefix, environment=dict(cache.environment))
    reads = [note for note in project.notes if "cannot be used to read" in note]
    assert len(reads) == 1
    assert "redis://127.0.0.1:1/0" in reads[0]
    assert not any("secret" in note for note in project.notes)
    assert project.object() == project.truth("-DN=4")


def test_what_another_recipe_compiled_is_never_taken(tmp_path):
    Project(tmp_path / "build", tmp_path / "store", scope=THEIRS).compile()
    assert Project(tmp_path / "build", tmp_path / "store").compile().hits == 0


def test_an_entry_that_is_moved_to_another_scope_or_name_is_not_taken(tmp_path):
    directory = Directory(tmp_path)
    theirs, ours = Sealed(directory, THEIRS, None), Sealed(directory, OURS, None)
    theirs.put("aabb", b"code")
    assert theirs.get("aabb") == b"code"
    for scope, name in ((OURS, "aabb"), (THEIRS, "aacc")):
        directory.put(f"{scope.digest}/{name}", directory.get(f"{THEIRS.digest}/aabb") or b"")
    with pytest.raises(Unauthenticated):
        ours.get("aabb")
    with pytest.raises(Unauthenticated):
        theirs.get("aacc")


def test_a_shared_cache_is_believed_as_far_as_its_key_goes(request, tmp_path, monkeypatch):
    """Somebody who may write to the bucket, and has no key, puts in what he likes: it is as if it were not there."""
    url = request.getfixturevalue("redis_url")
    monkeypatch.setenv("WHEELSMITH_CACHE_KEY", KEY.swapcase())
    Project(tmp_path / "build", tmp_path / "here", setting=url).compile()
    monkeypatch.setenv("WHEELSMITH_CACHE_KEY", KEY)
    there = Project(tmp_path / "build", tmp_path / "there", setting=url)
    assert there.compile().hits == 0
    assert there.object() == there.truth()
    (note,) = there.notes
    assert note == (
        f"entries of the compile cache {url} are not taken: they are damaged, or not sealed with the key that this"
        " build has"
    )


def test_a_cache_of_many_machines_needs_a_key(monkeypatch):
    pytest.importorskip("redis")
    monkeypatch.delenv("WHEELSMITH_CACHE_KEY", raising=False)
    with pytest.raises(UsageError, match="needs a key") as caught:
        check_setting("redis://:secret@host/0")
    assert "secret" not in str(caught.value)
    assert "openssl rand -hex 32" in caught.value.remedy
    monkeypatch.setenv("WHEELSMITH_CACHE_KEY", "short")
    with pytest.raises(UsageError, match="has 5 bytes; 32 are the least"):
        check_setting("redis://host/0")


def test_the_key_may_be_a_file_that_nobody_else_can_read(tmp_path, monkeypatch):
    pytest.importorskip("redis")
    monkeypatch.delenv("WHEELSMITH_CACHE_KEY", raising=False)
    path = tmp_path / "cache.key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    monkeypatch.setenv("WHEELSMITH_CACHE_KEY_FILE", str(path))
    check_setting("redis://host/0")
    path.chmod(0o640)
    with pytest.raises(UsageError, match="can be read or changed by others"):
        check_setting("redis://host/0")


def test_a_cache_that_is_only_read_keeps_nothing_of_a_build(tmp_path):
    reading = Project(tmp_path / "build", tmp_path / "store", readonly=True)
    reading.compile()
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    Project(tmp_path / "build", tmp_path / "store").compile()
    assert reading.compile().hits == 1


def test_a_build_keeps_no_more_than_the_cache_may_hold(tmp_path):
    entries = Sealed(Directory(tmp_path / "entries"), OURS, None)
    with (
        CacheServer((Level(entries, "here"),), ignore, 1000).at(tmp_path / "socket"),
        talking(tmp_path / "socket") as c,
    ):
        for number, kept in enumerate([True, False]):
            c.sendall(b"\x01\x02k%d\x01" % number + (600).to_bytes(8, sys.byteorder) + b"x" * 600)
            assert c.recv(1) == (b"\x00" if kept else b"\x01")


def test_what_earlier_versions_let_builds_write_is_not_kept(tmp_path):
    (tmp_path / "store/ccache/device").mkdir(parents=True)
    Project(tmp_path / "build", tmp_path / "store").compile()
    assert not (tmp_path / "store/ccache").exists()


@pytest.mark.parametrize("url", ["ftp://host/x", "redis://host:notaport/0"])
def test_a_url_that_is_none_is_a_usage_error(url):
    with pytest.raises(UsageError):
        check_setting(url)


def test_a_directory_or_nothing_is_a_setting():
    check_setting(None)
    check_setting("some/directory")


class Memory:
    """A remote in memory."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        return self.entries.get(name)

    def put(self, name: str, data: bytes) -> None:
        self.entries[name] = data


@contextlib.contextmanager
def talking(path: Path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        assert connection.recv(3) == b"\x01\x01\x00"
        yield connection


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    memory: Any = Memory()
    path = tmp_path_factory.mktemp("s") / "remote"
    with CacheServer((Level(memory, "memory://"),), ignore, 10**6).at(path):
        yield path, memory


@given(st.binary(max_size=40))
def test_no_build_can_hurt_the_server(served, data):
    path, memory = served
    memory.entries["6b6b"] = b"kept"
    with talking(path) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    memory.entries["6b6b"] = b"kept"
    with talking(path) as connection:
        connection.sendall(b"\x00\x02kk")  # get kk
        assert connection.recv(100) == b"\x00" + (4).to_bytes(8, sys.byteorder) + b"kept"


def test_a_build_removes_nothing_from_a_shared_cache(served):
    path, memory = served
    memory.entries["6b6b"] = b"kept"
    with talking(path) as connection:
        connection.sendall(b"\x02\x02kk\x03")  # remove kk, stop
        assert connection.recv(1) + connection.recv(1) == b"\x01\x00"
    assert memory.entries["6b6b"] == b"kept"


def test_a_compiler_that_hangs_up_in_the_middle_is_no_news(served, capfd):
    path, memory = served
    memory.entries["6b6b"] = b"kept" * 10**6
    with talking(path) as connection:
        connection.sendall(b"\x00\x02kk")  # get kk, and go before it is there
    with talking(path) as connection:  # by then the one before is done with
        connection.sendall(b"\x00\x02kk")
        assert connection.recv(1) == b"\x00"
    time.sleep(0.2)
    assert capfd.readouterr().err == ""


class Tool:
    """A `ptxas` that copies its input and counts its calls, behind `device.py`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.entries = Sealed(Directory(directory / "entries"), OURS, None)
        tool = directory / "ptxas"
        tool.write_text('#!/bin/sh\necho call >> calls\ncat "$2" > "$4"\necho said; echo told >&2\n[ "$2" != bad ]\n')
        tool.chmod(0o755)

    def __call__(self, source: str, identity: str = "v1", out: str = "out") -> tuple[int, str, str]:
        """Exit status, output file, messages."""
        (self.directory / out).unlink(missing_ok=True)
        command = [sys.executable, "-IS", DEVICE, self.directory / "ptxas", identity, "-x", source, "-o", out]
        environment = {"PATH": "/usr/bin:/bin", "WHEELSMITH_DEVICE_CACHE": str(self.directory / "socket")}
        with CacheServer((Level(self.entries, "here"),), ignore, 10**6).at(self.directory / "socket"):
            call = partial(subprocess.run, cwd=self.directory, env=environment, capture_output=True, text=True)
            done = call(command, check=False)
        return done.returncode, (self.directory / out).read_text(), done.stdout + done.stderr

    @property
    def calls(self) -> int:
        return len((self.directory / "calls").read_text().split())


def test_device_code_is_remembered_with_what_the_tool_said(tmp_path):
    tool = Tool(tmp_path)
    (tmp_path / "in").write_text("ptx")
    assert tool("in") == tool("in") == (0, "ptx", "said\ntold\n")
    assert tool.calls == 1


def test_device_code_depends_on_content_and_tool(tmp_path):
    tool = Tool(tmp_path)
    (tmp_path / "in").write_text("one")
    tool("in")
    (tmp_path / "in").write_text("two")
    assert tool("in")[1] == "two"
    tool("in", identity="v2")
    assert tool.calls == 3


def test_the_first_arch_is_remembered_when_a_second_one_gives_its_files_other_names(tmp_path):
    """nvcc says x.ptx where there is one arch, and x.compute_86.ptx where there are more; the tool says it again."""
    tool = Tool(tmp_path)
    script = tmp_path / "ptxas"
    script.write_text(script.read_text().replace("echo said;", 'echo "$2" to "$4";'))
    for name in ("x", "x.compute_86", "x"):
        (tmp_path / f"{name}.ptx").write_text("ptx")
        assert tool(f"{name}.ptx", out=f"{name}.cubin") == (0, "ptx", f"{name}.ptx to {name}.cubin\ntold\n")
    assert tool.calls == 1


@pytest.mark.parametrize("text", ["x.cubin or x.compute_86.cubin", "\x7fELF x.ptx", "\x7fELF x.compute_86.ptx"])
def test_a_name_that_the_source_says_or_machine_code_holds_stays_as_it_is(tmp_path, text):
    tool = Tool(tmp_path)
    for name in ("x", "x.compute_86"):
        (tmp_path / f"{name}.ptx").write_text(text)
        assert tool(f"{name}.ptx", out=f"{name}.cubin")[1] == text
    assert tool.calls == 2


def test_a_failed_tool_is_not_remembered(tmp_path):
    tool = Tool(tmp_path)
    (tmp_path / "bad").write_text("x")
    assert tool("bad")[0] == tool("bad")[0] == 1
    assert tool.calls == 2


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-3], lambda data: b"", lambda data: data[:60] + b"?" + data[61:]]
)
def test_damaged_device_code_is_made_again(tmp_path, damage):
    tool = Tool(tmp_path)
    (tmp_path / "in").write_text("ptx" * 100)
    tool("in")
    (entry,) = (path for path in (tmp_path / "entries").rglob("*") if path.is_file())
    entry.write_bytes(damage(entry.read_bytes()))
    assert tool("in")[1] == "ptx" * 100
    assert tool("in")[1] == "ptx" * 100
    assert tool.calls == 2
