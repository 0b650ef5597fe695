"""Archives, repositories and pages that cost more than they should: bounded, with cause and remedy."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from tests.hostile.bad_servers import BEHAVIOURS, serving
from tests.support.source_servers import Upstream, plan_of
from wheelsmith.errors import NetworkError, SourceError, UsageError, WheelsmithError
from wheelsmith.events import ignore
from wheelsmith.planning.model import GitSource
from wheelsmith.sources import archive, git_process, git_tree, patience, project_page
from wheelsmith.sources.fetch import fetch
from wheelsmith.sources.git_process import list_remote
from wheelsmith.sources.http import download, open_session
from wheelsmith.sources.stage import lay_out
from wheelsmith.store import Store

pytestmark = pytest.mark.e2e


def header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def tar(*members: tarfile.TarInfo) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as out:
        for member in members:
            out.addfile(member, io.BytesIO(bytes(member.size)))
    return made.getvalue()


def linked(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.LNKTYPE, to
    return info


ARCHIVES = {
    "a name of 2 GB": lambda: header(tarfile.GNUTYPE_LONGNAME, 2 << 30) + bytes(20 << 20),
    "a pax header of 2 GB": lambda: header(tarfile.XHDTYPE, 2 << 30) + bytes(20 << 20),
    "a link to nothing": lambda: tar(linked("top/l", "top/nowhere")),
    "a name that is too long": lambda: tar(tarfile.TarInfo("top/" + "x" * 300)),
    "a directory where a file is": lambda: tar(tarfile.TarInfo("top/a"), tarfile.TarInfo("top/a/b")),
    "many files": lambda: tar(*(tarfile.TarInfo(f"top/{number}") for number in range(101))),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_that_nobody_means_well_with(tmp_path, monkeypatch, name):
    monkeypatch.setattr(archive, "MOST_FILES", 100)
    (tmp_path / "x").write_bytes(gzip.compress(ARCHIVES[name](), 1))
    tracemalloc.start()
    try:
        with pytest.raises(SourceError) as caught:
            archive.unpack(tmp_path / "x", tmp_path / "out", "archive x")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


class Repository:
    """Objects as no honest git writes them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.git("init", "--quiet", "--bare", str(place), inside=False)
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")

    def git(self, *arguments: str, data: bytes = b"", inside: bool = True) -> str:
        command = ["git", *([f"--git-dir={self.place}"] if inside else []), *arguments]
        who = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(command, input=data, capture_output=True, check=True, env=os.environ | who)
        return done.stdout.decode().strip()

    def blob(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", data=data)

    def tree(self, *entries: tuple[bytes, bytes, str]) -> str:
        data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(identity) for mode, name, identity in entries)
        return self.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", data=data)

    def source(self, tree: str) -> GitSource:
        commit = self.git("commit-tree", "-m", "x", tree)
        self.git("update-ref", "refs/heads/main", commit)
        return GitSource(self.place.as_uri(), commit, None)


def deep(made: Repository) -> str:
    tree = made.tree((b"100644", b"a", made.blob(b"")))
    for _ in range(12):
        tree = made.tree((b"40000", b"d", tree))
    return tree


def wide(made: Repository) -> str:
    """Ten directories of ten directories of …: the bomb that has few objects and no end of files."""
    tree = made.tree(*((b"100644", b"%d" % number, made.blob(b"")) for number in range(10)))
    for _ in range(5):
        tree = made.tree(*((b"40000", b"%d" % number, tree) for number in range(10)))
    return tree


TREES = {
    "directories in directories": (deep, "directories in more than 10"),
    "files without end": (wide, "more than 500 files"),
    "one large file": (
        lambda made: made.tree((b"100644", b"a", made.blob(bytes(3 << 20)))),
        "more than 2,097,152 bytes",
    ),
    "the same file often": (
        lambda made: made.tree(*((b"100644", b"%d" % number, made.blob(bytes(1 << 20))) for number in range(9))),
        "more than 2,097,152 bytes",
    ),
    "a link with a NUL": (lambda made: made.tree((b"120000", b"a", made.blob(b"a\0b"))), "a link that leads nowhere"),
    "a link to nothing": (lambda made: made.tree((b"120000", b"a", made.blob(b""))), "a link that leads nowhere"),
    "a name that is too long": (lambda made: made.tree((b"100644", b"a" * 300, made.blob(b""))), "an unsafe name"),
    "a kind that is none": (lambda made: made.tree((b"150644", b"a", made.blob(b""))), "unknown kind"),
}


@pytest.mark.parametrize("name", TREES)
def test_commits_that_nobody_means_well_with(tmp_path, monkeypatch, name):
    make, words = TREES[name]
    made, store = Repository(tmp_path / "upstream"), Store(tmp_path / "store")
    monkeypatch.setattr(git_tree, "_DEEPEST", 10)
    monkeypatch.setattr(git_tree, "MOST_FILES", 500)
    monkeypatch.setattr(git_tree, "UNPACKED_LIMIT", 2 << 20)
    plan = plan_of(made.source(make(made)))
    with pytest.raises(WheelsmithError) as caught:
        fetch(plan, store)
        lay_out(plan, store, tmp_path / "out")
    assert words in caught.value.cause or "git cannot fetch" in caught.value.cause  # git itself may know it


def test_a_fetch_that_sends_too_much_is_ended_and_nothing_stays(tmp_path, monkeypatch):
    upstream, store = Upstream(tmp_path / "upstream"), Store(tmp_path / "store")
    plan = plan_of(upstream.source(upstream.commit({"large": os.urandom(3 << 20)})))
    monkeypatch.setenv(patience.LIMIT_VARIABLE, "0.002")
    with pytest.raises(NetworkError, match="it sends more than 2,000,000 bytes") as caught:
        fetch(plan, store)
    assert patience.LIMIT_VARIABLE in caught.value.remedy
    assert not [path for path in store.root.rglob("*") if path.is_file() and path.stat().st_size > 100_000]
    monkeypatch.setenv(patience.LIMIT_VARIABLE, "0.02")
    assert fetch(plan, store)[0].bytes_fetched > 3 << 20


def test_a_list_of_refs_without_end(tmp_path, monkeypatch):
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit({"a": b""})
    assert list_remote(upstream.path.as_uri())
    monkeypatch.setattr(git_process, "_LARGEST_ANSWER", 10)
    with pytest.raises(NetworkError, match="its list of refs has no end"):
        list_remote(upstream.path.as_uri())


@pytest.mark.parametrize("text", ["many", "-1", "inf", "nan", "0", "1e3", "9" * 400])
def test_a_limit_that_is_no_number(monkeypatch, text):
    monkeypatch.setenv(patience.LIMIT_VARIABLE, text)
    with pytest.raises(UsageError, match=patience.LIMIT_VARIABLE):
        patience.most_bytes()


def test_a_download_that_says_that_it_is_too_large(tmp_path):
    with (
        serving(BEHAVIOURS["a size that is far too large"]) as host,
        pytest.raises(NetworkError, match="says that it has 1,000,000,000,000,000,000 bytes") as caught,
    ):
        download(f"http://{host}/x", "0" * 64, Store(tmp_path), listener=ignore)
    assert patience.LIMIT_VARIABLE in caught.value.remedy


def test_a_page_that_costs_too_much_is_not_read(monkeypatch):
    monkeypatch.setattr(project_page, "_CPU_SECONDS", 2)
    with serving(BEHAVIOURS["anchors in anchors"]) as host:
        session, url = open_session(f"http://{host}/simple/")
        with session, pytest.raises(SourceError, match="does not answer as a package index") as caught:
            project_page.project_page(url, "toy", session)
    assert "takes more than 2 s or 4 GiB to read" in caught.value.detail
