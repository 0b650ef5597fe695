from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.support.source_servers import Upstream, files_of, plan_of
from wheelsmith.config import load_config
from wheelsmith.errors import NetworkError, OfflineError, PatchError, SourceError, StoreError
from wheelsmith.events import Event, Progress
from wheelsmith.maintenance.mirror import copy_sources
from wheelsmith.planning.model import CANONICAL, EPOCH, DiffPatch, EditPatch, GitSource, Tree
from wheelsmith.sources.fetch import fetch
from wheelsmith.sources.stage import lay_out
from wheelsmith.store import Store

pytestmark = pytest.mark.e2e


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "upstream")


def test_one_commit_comes_without_its_history_and_only_once(tmp_path: Path, store: Store, upstream: Upstream) -> None:
    upstream.commit({"secret_of_the_past": os.urandom(200_000)})
    (upstream.path / "secret_of_the_past").unlink()
    commit = upstream.commit({"a.txt": b"hello\n"})
    upstream.commit({"a.txt": b"later\n"})
    plan = plan_of(upstream.source(commit))
    events: list[Event] = []

    (first,) = fetch(plan, store, listener=events.append)
    assert (first.digest, first.reused) == (commit, False)
    assert 0 < first.bytes_fetched < 20_000
    assert any(isinstance(event, Progress) and event.unit == "objects" for event in events)

    shutil.rmtree(upstream.path)
    (second,) = fetch(plan, store)
    assert (second.bytes_fetched, second.reused) == (0, True)
    lay_out(plan, store, tmp_path / "out")
    assert files_of(tmp_path / "out") == {"src/a.txt": b"hello\n"}


def test_files_are_the_bytes_of_the_commit_with_fixed_modes_and_times(
    tmp_path: Path, store: Store, upstream: Upstream
) -> None:
    (upstream.path / "link").symlink_to("version.txt")
    files = {
        ".gitattributes": b"version.txt export-subst\nhidden export-ignore\n*.bat eol=crlf\n*.bin filter=lfs\n",
        "version.txt": b"$Format:%H$\n",
        "hidden": b"h",
        "run.bat": b"echo\n",
        "x.bin": b"data",
        "tool.sh": b"#!/bin/sh\n",
    }
    for name in files:
        (upstream.path / name).touch()
    (upstream.path / "tool.sh").chmod(0o700)
    plan = plan_of(upstream.source(upstream.commit(files)))
    fetch(plan, store)
    old = os.umask(0o077)
    try:
        lay_out(plan, store, tmp_path / "out")
    finally:
        os.umask(old)
    src = tmp_path / "out/src"
    assert files_of(src) == files | {"link": b"$Format:%H$\n"}
    assert (src / "link").readlink() == Path("version.txt")
    everything = [src, *src.rglob("*")]
    assert {path.lstat().st_mtime for path in everything} == {EPOCH}
    executable = {p.name for p in everything if p.is_file() and stat.S_IMODE(p.lstat().st_mode) == 0o755}
    assert executable == {"tool.sh"}
    assert stat.S_IMODE((src / "hidden").stat().st_mode) == 0o644


@pytest.mark.parametrize("filters", ["true", "false"])
def test_sparse_brings_the_named_directories_only(
    tmp_path: Path, store: Store, upstream: Upstream, filters: str
) -> None:
    upstream.git("config", "uploadpack.allowFilter", filters)
    commit = upstream.commit(
        {"python/kernels/k.py": b"k", "python/other": b"o", "top": b"t", "big/blob": os.urandom(500_000)}
    )
    source = upstream.source(commit, sparse=("python/kernels",))
    (fetched,) = fetch(plan_of(source), store)
    if filters == "true":
        assert 0 < fetched.bytes_fetched < 20_000
    lay_out(plan_of(source), store, tmp_path / "out")
    assert files_of(tmp_path / "out/src") == {"python/kernels/k.py": b"k"}
    assert fetch(plan_of(source), store, offline=True)[0].reused

    # The whole commit is another thing to have.
    whole = plan_of(upstream.source(commit))
    with pytest.raises(OfflineError):
        fetch(whole, store, offline=True)
    assert fetch(whole, store)[0].bytes_fetched > 500_000


def test_sparse_takes_files_beside_directories_and_so_does_a_mirror(
    tmp_path: Path, store: Store, upstream: Upstream
) -> None:
    files = {"CMakeLists.txt": b"project()", "include/a.h": b"1", "include/[b].h": b"2", "tools/util/c.h": b"3"}
    commit = upstream.commit(files | {"media/image": os.urandom(100_000), "LICENSE": b"l"})
    plan = plan_of(upstream.source(commit, sparse=("CMakeLists.txt", "include", "tools/util/c.h")))
    assert fetch(plan, store)[0].bytes_fetched < 20_000
    copy_sources(plan, store, tmp_path / "mirror")
    upstream.path.rename(tmp_path / "away")
    fetched = fetch(plan, Store(tmp_path / "other"), mirrors=load_config(tmp_path / "mirror/config.toml").mirrors)
    assert [item.reused for item in fetched] == [False]
    lay_out(plan, Store(tmp_path / "other"), tmp_path / "out")
    assert files_of(tmp_path / "out/src") == files


def test_a_sparse_path_that_does_not_exist(store: Store, upstream: Upstream) -> None:
    source = upstream.source(upstream.commit({"a": b"a"}), sparse=("nope",))
    with pytest.raises(SourceError, match="nothing at 'nope'"):
        fetch(plan_of(source), store)


def test_a_commit_that_does_not_exist(store: Store, upstream: Upstream) -> None:
    upstream.commit({"a": b"a"})
    with pytest.raises(SourceError, match="does not give out the commit 1111"):
        fetch(plan_of(upstream.source("1" * 40)), store)
    with pytest.raises(SourceError, match=r"neither the commit 1{40} nor the tag v1"):
        fetch(plan_of(upstream.source("1" * 40, tag="v1")), store)


def test_the_tag_helps_where_the_server_gives_out_tips_only(
    tmp_path: Path, store: Store, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a shell that does not ask for protocol 2, upload-pack refuses commits that are no tip."""
    shell = tmp_path / "ssh"
    shell.write_text('#!/bin/sh\nunset GIT_PROTOCOL\nfor last; do :; done\neval "exec $last"\n')
    shell.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(shell))
    monkeypatch.setenv("GIT_SSH_VARIANT", "simple")
    url = f"ssh://host{upstream.path}"
    commit = upstream.commit({"a": b"tagged"})
    upstream.git("tag", "-a", "-m", "one", "v1")
    head = upstream.commit({"a": b"head"})

    with pytest.raises(SourceError, match="does not give out the commit"):
        fetch(plan_of(GitSource(url, commit, None)), store)
    plan = plan_of(GitSource(url, commit, "v1"))
    assert fetch(plan, store)[0].digest == commit
    lay_out(plan, store, tmp_path / "out")
    assert files_of(tmp_path / "out") == {"src/a": b"tagged"}

    upstream.commit({"a": b"newer"})
    with pytest.raises(SourceError, match=f"its tag v1 is now {commit}"):
        fetch(plan_of(GitSource(url, head, "v1")), store)


def test_no_repository_and_no_network(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(SourceError, match="no git repository"):
        fetch(plan_of(GitSource((tmp_path / "nothing").as_uri(), "1" * 40, None)), store)
    with pytest.raises(NetworkError) as caught:
        fetch(plan_of(GitSource("https://me:hunter2@127.0.0.1:1/x.git", "1" * 40, None)), store)
    shown = f"{caught.value} {caught.value.remedy} {caught.value.detail}"
    assert "https://127.0.0.1:1/x.git" in shown
    assert "hunter2" not in shown
    kept = [path for path in store.root.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"hunter2" in path.read_bytes() or "hunter2" in str(path)]


def test_git_runs_no_program_of_a_url(tmp_path: Path, store: Store) -> None:
    with pytest.raises(SourceError, match="protocol"):
        fetch(plan_of(GitSource(f"ext::touch {tmp_path}/hacked", "1" * 40, None)), store)
    assert not (tmp_path / "hacked").exists()


def test_what_a_killed_git_left_does_not_stop_the_next_fetch(store: Store, upstream: Upstream) -> None:
    first = upstream.commit({"a": b"1"})
    second = upstream.commit({"a": b"2"})
    fetch(plan_of(upstream.source(first)), store)
    (repository,) = (store.root / "git").iterdir()
    (repository / "shallow.lock").touch()
    (repository / "objects/pack/tmp_pack_abc").write_bytes(b"half")
    assert not fetch(plan_of(upstream.source(second)), store)[0].reused
    assert not (repository / "objects/pack/tmp_pack_abc").exists()


def test_damaged_objects_are_found_removed_and_fetched_again(tmp_path: Path, store: Store, upstream: Upstream) -> None:
    plan = plan_of(upstream.source(upstream.commit({"a": b"hello" * 1000})))
    fetch(plan, store)
    (pack,) = store.root.rglob("*.pack")
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[-40] ^= 0xFF
    pack.write_bytes(data)
    with pytest.raises(StoreError, match="whole: the object"):
        lay_out(plan, store, tmp_path / "one")
    assert not fetch(plan, store)[0].reused
    lay_out(plan, store, tmp_path / "two")
    assert files_of(tmp_path / "two") == {"src/a": b"hello" * 1000}


def test_offline_lists_everything_that_is_missing(store: Store, upstream: Upstream) -> None:
    commit = upstream.commit({"a": b"a"})
    here = upstream.source(commit)
    away = [GitSource(f"https://u:pw@example.invalid/{name}.git", "2" * 40, None) for name in ("x", "y")]
    fetch(plan_of(here), store)
    trees = tuple(Tree(str(n), source, f"{CANONICAL}/trees/{n}") for n, source in enumerate(away))
    with pytest.raises(OfflineError, match=r"2 of 3 sources of demo 1\.0") as caught:
        fetch(plan_of(here, trees=trees), store, offline=True)
    assert caught.value.detail.splitlines() == [
        f"git https://example.invalid/{name}.git at {'2' * 40}, depth 1" for name in ("x", "y")
    ]


def test_trees_take_the_place_of_submodules_and_are_patched(tmp_path: Path, store: Store, upstream: Upstream) -> None:
    inner = Upstream(tmp_path / "inner")
    inner_commit = inner.commit({"lib.h": b"int x;\n"})
    upstream.commit({"main.c": b"one\ntwo\n"})
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{inner_commit},csrc/lib")
    upstream.git("commit", "-q", "-m", "submodule")
    outer = upstream.source(upstream.git("rev-parse", "HEAD"))
    lib = inner.source(inner_commit)
    trees = (  # the inner one first: the order is ours to find
        Tree("b", lib, f"{CANONICAL}/trees/a/csrc/lib"),
        Tree("a", outer, f"{CANONICAL}/trees/a"),
    )
    diff = "--- a/main.c\n+++ b/main.c\n@@ -1,2 +1,2 @@\n one\n-two\n+TWO\n"
    patches = (
        EditPatch(f"{CANONICAL}/trees/a/csrc/lib", "lib.h", "x", "y", 1, "why"),
        DiffPatch(f"{CANONICAL}/src", "two.diff", diff, "why"),
    )
    plan = plan_of(outer, trees=trees, patches=patches)
    assert len(fetch(plan, store)) == 2
    lay_out(plan, store, tmp_path / "out")
    assert files_of(tmp_path / "out") == {
        "src/main.c": b"one\nTWO\n",
        "trees/a/main.c": b"one\ntwo\n",
        "trees/a/csrc/lib/lib.h": b"int y;\n",
    }
    assert (tmp_path / "out/src/csrc/lib").is_dir()
    with pytest.raises(PatchError):
        lay_out(plan_of(outer, patches=(*patches[1:], patches[1])), store, tmp_path / "again")


@pytest.mark.parametrize("own", [None, b"node: $Format:%H$\n"])
def test_the_package_looks_like_a_git_archive_and_its_trees_as_they_are(
    tmp_path: Path, store: Store, upstream: Upstream, own: bytes | None
) -> None:
    """setuptools-scm finds the data files of packages by it (setuptools_scm, "Git archives")."""
    commit = upstream.commit({"a": b"a"} if own is None else {".git_archival.txt": own})
    source = upstream.source(commit)
    plan = plan_of(source, trees=(Tree("t", source, f"{CANONICAL}/trees/t"),))
    fetch(plan, store)
    lay_out(plan, store, tmp_path / "out")
    assert (tmp_path / "out/src/.git_archival.txt").read_text() == f"node: {commit}\n"
    in_tree = tmp_path / "out/trees/t/.git_archival.txt"
    assert (in_tree.read_bytes() if in_tree.exists() else None) == own


def test_the_mark_of_an_archive_is_never_written_through_a_link(
    tmp_path: Path, store: Store, upstream: Upstream
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (upstream.path / ".git_archival.txt").symlink_to(outside)
    plan = plan_of(upstream.source(upstream.commit({"a": b"a"})))
    fetch(plan, store)
    lay_out(plan, store, tmp_path / "out")
    assert outside.read_bytes() == b"mine"


def test_a_tree_never_lands_on_files_or_behind_a_link(tmp_path: Path, store: Store, upstream: Upstream) -> None:
    (upstream.path / "out").symlink_to(tmp_path)
    source = upstream.source(upstream.commit({"sub/file": b"x"}))
    for place in ("src/sub", "src/out/x"):
        plan = plan_of(source, trees=(Tree("t", source, f"{CANONICAL}/{place}"),))
        fetch(plan, store)
        with pytest.raises(SourceError, match="No tree can be placed"):
            lay_out(plan, store, tmp_path / "new" / place)
    assert not (tmp_path / "x").exists()
