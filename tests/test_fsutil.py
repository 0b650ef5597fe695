"""Removing what strangers made."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.deep import deep
from wheelsmith.fsutil import is_debris, remove_tree, write_fresh


def test_a_deep_tree_is_removed(tmp_path):
    (tmp_path / "t").mkdir()
    with deep(tmp_path / "t"):
        remove_tree(tmp_path / "t")
        assert list(tmp_path.iterdir()) == []


def test_what_another_process_clears_away_meanwhile_is_gone_for_both(tmp_path):
    """Builds that share a store look for debris, and what a build is removing just now looks like it."""
    for number in range(400):
        (tmp_path / f"t/{number % 20}/{number}").mkdir(parents=True)

    def clear() -> None:
        while names := [path for path in tmp_path.iterdir() if is_debris(path.name)]:
            for path in names:
                remove_tree(path)

    (tmp_path / "t").rename(tmp_path / ".t.going")
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(clear) for _ in range(8)]:
            done.result()
    assert list(tmp_path.iterdir()) == []


def test_without_permissions_links_and_odd_names(tmp_path):
    kept = tmp_path / "kept"
    (kept / "inside").mkdir(parents=True)
    kept.chmod(0o500)
    top = tmp_path / "t"
    for name in ("a", "a/b", "a/b/c", "a/b/d"):
        (top / name).mkdir(parents=True)
        (top / name / "link").symlink_to(kept)
        os.mkfifo(top / name / "pipe")
        (top / name / os.fsdecode(b"\xff\n;")).touch()
    os.link(top / "a/b/pipe", top / "a/second")
    for name in ("a/b/c", "a/b/d", "a/b", "a"):
        (top / name).chmod(0)
    top.chmod(0)
    _as_somebody(tmp_path, "t")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o500
    assert list(kept.iterdir()) == [kept / "inside"]


def _as_somebody(directory: Path, name: str) -> None:
    """`remove_tree` as an ordinary user who owns all of it, as root may do everything."""
    if os.geteuid():
        remove_tree(directory / name)
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, 65533, 65533, follow_symlinks=False)
    if not (pid := os.fork()):
        try:
            os.chdir(directory)  # only root can come here by its path
            os.setresuid(65533, 65533, 65533)
            remove_tree(Path(name))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("make", [lambda path, kept: path.symlink_to(kept), lambda path, kept: path.mkdir()])
def test_a_file_is_written_anew_whatever_lies_there(tmp_path, make):
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    make(tmp_path / "f", kept)
    write_fresh(tmp_path / "f", "x\udcff")
    assert (tmp_path / "f").read_bytes() == b"x\xff"
    assert kept.read_text() == "as it was"
