from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.source_servers import Upstream, files_of, plan_of, serving
from wheelsmith.config import NO_MIRRORS, Mirrors, load_config
from wheelsmith.errors import HashMismatchError, NetworkError, SourceError
from wheelsmith.events import Note
from wheelsmith.maintenance.mirror import copy_sources
from wheelsmith.planning.model import CANONICAL, ArchiveSource, GitSource, SdistSource, Source, Tree
from wheelsmith.sources.fetch import fetch
from wheelsmith.sources.git_shim import Refused, place_guard, refused
from wheelsmith.sources.stage import lay_out
from wheelsmith.sources.upstream import Submodule
from wheelsmith.sources.upstream import Upstream as Asking
from wheelsmith.store import Store

pytestmark = pytest.mark.e2e

HOST = "https://upstream.invalid/"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    (tmp_path / "git").mkdir()
    return Upstream(tmp_path / "git/demo.git")


def mirrors(*places: Path | str) -> Mirrors:
    return Mirrors(((HOST, tuple(p.as_uri() if isinstance(p, Path) else p for p in places)),))


def archive_of(text: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("demo-1.0/file")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


def test_the_next_place_is_asked_and_the_plan_and_the_store_know_upstream_only(
    tmp_path: Path, store: Store, upstream: Upstream
) -> None:
    source = GitSource(f"{HOST}demo.git", upstream.commit({"a": b"a"}), None)
    plan = plan_of(source)
    digest = plan.digest
    notes: list[str] = []
    places = mirrors(tmp_path / "nothing", "http://127.0.0.1:1/", tmp_path / "git")
    (fetched,) = fetch(
        plan, store, mirrors=places, listener=lambda e: notes.append(e.text) if isinstance(e, Note) else None
    )
    assert fetched.served_by == upstream.path.as_uri()
    assert plan.digest == digest
    assert [note.rpartition(" ")[2] for note in notes] == ["asked.", "asked.", upstream.path.as_uri()]
    upstream.path.rename(tmp_path / "git/demo")
    assert fetch(plan, Store(tmp_path / "another"), mirrors=places)[0].digest == source.commit
    (again,) = fetch(plan, store, offline=True, mirrors=NO_MIRRORS)
    assert (again.reused, again.served_by) == (True, upstream.path.as_uri())


@pytest.mark.parametrize("prefix", [f"{HOST}org/demo", f"{HOST}org/demo.git", f"{HOST}org/demo/"])
def test_a_repository_is_meant_with_and_without_its_suffix(prefix: str) -> None:
    places = Mirrors(((prefix, ("ssh://git@host/demo.git",)), (HOST, ("file:///all",))))
    assert places.of(f"{HOST}org/demo.git") == places.of(f"{HOST}org/demo") == ("ssh://git@host/demo.git",)
    assert places.of(f"{HOST}org/demo2.git") == ("file:///all/org/demo2.git",)


def test_no_place_has_it(tmp_path: Path, store: Store, upstream: Upstream) -> None:
    upstream.commit({"a": b"a"})
    plan = plan_of(GitSource(f"{HOST}demo.git", "1" * 40, None))
    with pytest.raises(
        SourceError, match=r"No mirror of https://upstream\.invalid/demo\.git serves it: 2 asked"
    ) as caught:
        fetch(plan, store, mirrors=mirrors("http://127.0.0.1:1/", tmp_path / "git"))
    assert "127.0.0.1:1" in caught.value.detail
    assert "does not give out the commit 1111" in caught.value.detail
    with pytest.raises(NetworkError):
        fetch(plan, store, mirrors=mirrors(tmp_path / "git", "http://127.0.0.1:1/"))


def test_wrong_bytes_end_the_search(tmp_path: Path, store: Store) -> None:
    data = archive_of(b"right")
    for name, content in (("bad", b"wrong"), ("good", data)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "demo.tar.gz").write_bytes(content)
    plan = plan_of(ArchiveSource(f"{HOST}demo.tar.gz", hashlib.sha256(data).hexdigest()))
    with pytest.raises(HashMismatchError):
        fetch(plan, store, mirrors=mirrors(tmp_path / "bad", tmp_path / "good"))
    (fetched,) = fetch(plan, store, mirrors=mirrors(tmp_path / "nothing", tmp_path / "good"))
    assert fetched.bytes_fetched == len(data)


def test_a_moved_tag_of_a_mirror_ends_the_search(tmp_path: Path, store: Store, upstream: Upstream) -> None:
    old = upstream.commit({"a": b"a"})
    other = Upstream(tmp_path / "git/other.git")
    other.commit({"a": b"moved"})
    other.git("tag", "v1")
    plan = plan_of(GitSource(f"{HOST}x", old, "v1"))
    places = Mirrors(((f"{HOST}x", (other.path.as_uri(), upstream.path.as_uri())),))
    with pytest.raises(SourceError, match="its tag v1 is now"):
        fetch(plan, store, mirrors=places)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a repository to somebody else needs root")
def test_a_mirror_may_belong_to_somebody_else(tmp_path: Path, store: Store, upstream: Upstream) -> None:
    upstream.git("config", "--unset", "uploadpack.allowFilter")
    commit = upstream.commit({"wanted/a": b"a", "big": os.urandom(300_000)})
    for path in (upstream.path, *upstream.path.rglob("*")):
        os.chown(path, 12345, 12345)
    plan = plan_of(GitSource(f"{HOST}demo.git", commit, None, ("wanted",)))
    (fetched,) = fetch(plan, store, mirrors=mirrors(tmp_path / "git"))
    assert 0 < fetched.bytes_fetched < 20_000


def test_tags_and_submodules_are_asked_of_the_mirror(tmp_path: Path, store: Store, upstream: Upstream) -> None:
    modules = (
        '[submodule "x"]\n\tpath = lib/x\n\turl = ../x.git\n[submodule "y"]\n\tpath = y\n\turl = https://y.invalid/y\n'
    )
    upstream.commit({".gitmodules": modules.encode(), "big": os.urandom(300_000)})
    for path, commit in (("lib/x", "a" * 40), ("y", "b" * 40)):
        upstream.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    upstream.git("commit", "-q", "-m", "submodules")
    head = upstream.git("rev-parse", "HEAD")
    upstream.git("tag", "-a", "-m", "one", "v1")
    asking = Asking(store, mirrors(tmp_path / "git"))
    assert asking.commit_of(f"{HOST}demo.git", "v1") == head
    assert asking.commit_of(f"{HOST}demo.git", "main") == head
    with pytest.raises(SourceError) as caught:
        asking.commit_of(f"{HOST}demo.git", "v2")
    assert "no tag and no branch 'v2'" in caught.value.detail
    assert set(asking.submodules(f"{HOST}demo.git", head)) == {
        Submodule("lib/x", f"{HOST}x.git", "a" * 40),
        Submodule("y", "https://y.invalid/y", "b" * 40),
    }
    assert sum(path.stat().st_size for path in store.root.rglob("*.pack")) < 20_000


def test_a_copied_closure_stands_for_upstream_wherever_it_is_carried(
    tmp_path: Path, store: Store, upstream: Upstream
) -> None:
    upstream.commit({"history": os.urandom(200_000)})
    first = upstream.commit({"part/a": b"1", "big": os.urandom(200_000)})
    upstream.git("tag", "v1")
    (upstream.path / "history").unlink()
    second = upstream.commit({"part/a": b"2", "big": b"small"})
    data = archive_of(b"file")
    (tmp_path / "git/a.tar.gz").write_bytes(data)
    url = f"{HOST}demo.git"
    sources: tuple[Source, ...] = (
        GitSource(url, first, "v1", ("part",)),
        GitSource(url, second, None),
        ArchiveSource(f"{HOST}a.tar.gz", hashlib.sha256(data).hexdigest()),
    )
    trees = tuple(Tree(f"t{n}", source, f"{CANONICAL}/trees/t{n}") for n, source in enumerate(sources))
    sdist = archive_of(b"sdist")
    with serving() as server:
        digest = hashlib.sha256(sdist).hexdigest()
        page = f'<a href="/demo-1.0.tar.gz#sha256={digest}">demo-1.0.tar.gz</a>'.encode()
        server.pages = {"/simple/demo/": ("text/html", page), "/demo-1.0.tar.gz": ("application/gzip", sdist)}
        index = f"{server.url}/simple/"
        plan = plan_of(SdistSource("demo", "1.0", digest), trees=trees)
        fetch(plan, store, index_url=index, mirrors=mirrors(tmp_path / "git"))
    copied = copy_sources(plan, store, tmp_path / "stick", index)
    assert sum(item.size for item in {item.place: item for item in copied}.values()) < 100_000
    copy_sources(plan_of(sources[2]), store, tmp_path / "stick")  # adding to it keeps what it has
    (tmp_path / "stick").rename(tmp_path / "carried")
    (tmp_path / "git").rename(tmp_path / "away")

    config = load_config(tmp_path / "carried/config.toml")
    elsewhere = Store(tmp_path / "elsewhere")
    fetched = fetch(plan, elsewhere, index_url=index, mirrors=config.mirrors)
    assert not any(item.reused for item in fetched)
    lay_out(plan, elsewhere, tmp_path / "out")
    assert files_of(tmp_path / "out") == {
        "src/file": b"sdist",
        "trees/t0/part/a": b"1",
        "trees/t1/part/a": b"2",
        "trees/t1/big": b"small",
        "trees/t2/file": b"file",
    }
    assert Asking(elsewhere, config.mirrors).commit_of(url, "v1") == first


@pytest.mark.parametrize("fault", ["lacks", "another commit"])
def test_a_mirror_with_one_bad_tree_names_it_and_the_rest_is_not_fetched_again(
    tmp_path: Path, store: Store, fault: str
) -> None:
    (tmp_path / "git").mkdir()
    good, bad = Upstream(tmp_path / "git/good.git"), Upstream(tmp_path / "git/bad.git")
    first, wanted = good.commit({"a": b"a"}), bad.commit({"b": b"b"})
    tree = Tree("bad", GitSource(f"{HOST}bad.git", wanted, None), f"{CANONICAL}/trees/bad")
    plan = plan_of(GitSource(f"{HOST}good.git", first, None), trees=(tree,))
    bad.path.rename(tmp_path / "away")
    if fault == "another commit":
        Upstream(tmp_path / "git/bad.git").commit({"b": b"moved"})
    with pytest.raises(SourceError) as caught:
        fetch(plan, store, mirrors=mirrors(tmp_path / "git"))
    says = {"lacks": "There is no git repository at", "another commit": f"does not give out the commit {wanted}"}
    assert f"{HOST}bad.git" in caught.value.cause
    assert says[fault] in caught.value.detail
    if fault == "another commit":
        (tmp_path / "git/bad.git").rename(tmp_path / "moved")
    (tmp_path / "away").rename(bad.path)
    fetched = fetch(plan, store, mirrors=mirrors(tmp_path / "git"))
    assert [(item.digest, item.reused) for item in fetched] == [(first, True), (wanted, False)]


# ---- the git of a build ---------------------------------------------------------------------------------------------


def git(tools: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    place_guard(tmp_path / "tools")
    return tmp_path / "tools"


@pytest.mark.parametrize(
    ("command", "name", "url"),
    [
        (
            "clone --no-checkout --depth 1 --branch v4 https://u:pw@h.invalid/cut.git lass-src",
            "lass",
            "https://h.invalid/cut.git",
        ),
        ("-c advice.detachedHead=false clone ssh://h.invalid/a/cut", "cut", "ssh://h.invalid/a/cut"),
        ("clone git@h.invalid:a/cut.git --quiet", "cut", "git@h.invalid:a/cut.git"),
        ("-C . fetch https://h.invalid/up.git v1", "up", "https://h.invalid/up.git"),
        ("fetch", "origin", "https://h.invalid/origin.git"),
        ("pull origin main", "origin", "https://h.invalid/origin.git"),
        ("ls-remote file:///h/x.git", "x", "file:///h/x.git"),
        ("submodule update --init --recursive", "third/lib", "https://h.invalid/lib.git"),
    ],
)
def test_fetching_is_refused_with_the_name_of_the_tree(tools, upstream, command, name, url):
    upstream.commit({".gitmodules": b'[submodule "l"]\n\tpath = third/lib\n\turl = https://h.invalid/lib.git\n'})
    upstream.git("remote", "add", "origin", "https://h.invalid/origin.git")
    done = git(tools, *command.split(), cwd=upstream.path)
    assert done.returncode == 128
    assert f"fatal: wheelsmith: not in the closure: {name} {url}\n" in done.stderr
    assert "pw" not in done.stderr
    assert refused(done.stderr * 3) == (Refused(name, url),)


def test_everything_local_works(tmp_path, tools, upstream):
    commit = upstream.commit({"a": b"a"})
    upstream.git("tag", "v1")
    assert git(tools, "describe", "--tags", cwd=upstream.path).stdout == "v1\n"
    assert git(tools, "clone", "-q", str(upstream.path), str(tmp_path / "copy"), cwd=tmp_path).returncode == 0
    assert git(tools, "fetch", "-q", cwd=tmp_path / "copy").returncode == 0
    assert git(tools, "submodule", "update", "--init", cwd=tmp_path / "copy").returncode == 0
    assert git(tools, "rev-parse", "HEAD", cwd=tmp_path / "copy").stdout.strip() == commit
    assert git(tools, "config", "--get", "no.such", cwd=tmp_path / "copy").returncode == 1
    assert stat.S_IMODE((tools / "git").stat().st_mode) == 0o755


def test_downloads_that_fail_are_named_too():
    log = "CMake Error: error: downloading 'https://h.invalid/v1/data.zip' failed\n"
    log += "fatal: unable to access 'https://h.invalid/x.git/': Could not resolve host\n"
    assert refused(log) == (
        Refused("data.zip", "https://h.invalid/v1/data.zip"),
        Refused("x", "https://h.invalid/x.git/"),
    )
    assert refused("ninja: build stopped\n") == ()
