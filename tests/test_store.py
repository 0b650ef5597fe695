import os
import subprocess
import sys

import pytest

from wheelsmith.errors import BusyError, StoreError
from wheelsmith.store import Store, write_atomic


def test_a_directory_is_made_once_and_whole(tmp_path):
    store = Store(tmp_path / "s")

    def make(directory):
        (directory / "x").write_text("1")

    made, reused = store.make_directory("things", "k", make)
    assert ((made / "x").read_text(), reused) == ("1", False)
    assert store.make_directory("things", "k", lambda d: pytest.fail("made twice")) == (made, True)


def test_a_failed_make_leaves_nothing(tmp_path):
    store = Store(tmp_path / "s")

    def fail(directory):
        (directory / "half").touch()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.make_directory("things", "k", fail)
    assert list((tmp_path / "s" / "things").iterdir()) == []


def test_what_a_killed_process_left_is_cleared_and_its_lock_is_free(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from wheelsmith.store import Store\n"
        "def make(d): (d / 'half').touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "Store(Path(sys.argv[1])).make_directory('things', 'k', make)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    made, _ = Store(tmp_path).make_directory("things", "k", lambda d: (d / "whole").touch())
    assert [path.name for path in made.iterdir()] == ["whole"]
    assert [path.name for path in made.parent.iterdir()] == ["k"]


def test_a_second_process_is_told_that_the_first_is_busy(tmp_path):
    store = Store(tmp_path)
    with store.lock("x"), pytest.raises(BusyError, match="working on x"), Store(tmp_path).lock("x"):
        pass
    with store.lock("x"):
        pass


def test_a_store_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(StoreError, match="not a directory"):
        Store(tmp_path / "f")


def test_an_interrupted_write_keeps_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(5, "I/O error")))
    with pytest.raises(OSError, match="I/O error"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["f"]
