"""Publishing: what is stored, what is refused, what survives crashes and other writers."""

import hashlib
import importlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.index_wheels import make_wheel
from tests.support.writers import publish_one_by_one
from wheelsmith.errors import DiskFullError, IndexConflictError, InvalidWheelError, StoreError
from wheelsmith.index.layout import Layout
from wheelsmith.index.publish import publish
from wheelsmith.index.verify import rebuild, verify


def tree(root: Path) -> dict[str, bytes]:
    """All files that a reader may see, without the writers' own."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".wheelsmith" not in path.parts
    }


def files_on(root: Path, project: str) -> set[str]:
    """The file names on a project's page, after checking that each is there with its hash and METADATA."""
    page = root / "simple" / project / "index.json"
    if not page.is_file():
        return set()
    names = set()
    for file in json.loads(page.read_bytes())["files"]:
        path = page.parent / unquote(file["url"])
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file["hashes"]["sha256"]
        metadata = path.with_name(path.name + ".metadata").read_bytes()
        assert hashlib.sha256(metadata).hexdigest() == file["core-metadata"]["sha256"]
        assert f"#sha256={file['hashes']['sha256']}".encode() in page.with_name("index.html").read_bytes()
        names.add(file["filename"])
    return names


def listed(root: Path) -> list[str]:
    html = (root / "simple" / "index.html").read_text()
    names = [project["name"] for project in json.loads((root / "simple" / "index.json").read_bytes())["projects"]]
    assert [name for name in names if f'<a href="{name}/">' not in html] == []
    return names


def test_publish_stores_the_wheel_its_metadata_its_record_and_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path / "in", "My_Pkg", "1.0+cu130", metadata="Requires-Python: >=3.9\n")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(
        importlib.import_module("wheelsmith.index.publish"),
        "_now",
        lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    root = tmp_path / "dist"

    (result,) = publish([wheel], root)

    assert (result.filename, result.sha256, result.size) == (wheel.name, sha256, wheel.stat().st_size)
    assert result.url == "../../My_Pkg-1.0%2Bcu130-py3-none-any.whl"
    assert not result.already_there
    line = f"{sha256}  {wheel.name}\n".encode()
    publication = f"20260102-{hashlib.sha256(line).hexdigest()[:12]}"
    assert (result.variant, result.publication) == ("cu130", publication)
    places = ("", "cu130/", f"pub/{publication}/")
    assert sorted(tree(root)) == sorted(
        [
            "My_Pkg-1.0+cu130-py3-none-any.whl",
            "My_Pkg-1.0+cu130-py3-none-any.whl.metadata",
            "records/projects/my-pkg.json",
            f"records/publications/{publication}.json",
            "records/catalog.json",
            *(f"{place}simple/index.{kind}" for place in places for kind in ("html", "json")),
            *(f"{place}simple/my-pkg/index.{kind}" for place in places for kind in ("html", "json")),
        ]
    )
    metadata = b"Metadata-Version: 2.1\nName: My_Pkg\nVersion: 1.0+cu130\nRequires-Python: >=3.9\n"
    assert (root / f"{wheel.name}.metadata").read_bytes() == metadata
    assert json.loads((root / "simple/my-pkg/index.json").read_bytes()) == {
        "meta": {"api-version": "1.4"},
        "name": "my-pkg",
        "versions": ["1.0+cu130"],
        "files": [
            {
                "filename": wheel.name,
                "url": "../../My_Pkg-1.0%2Bcu130-py3-none-any.whl",
                "hashes": {"sha256": sha256},
                "core-metadata": {"sha256": hashlib.sha256(metadata).hexdigest()},
                "size": wheel.stat().st_size,
                "upload-time": "2026-01-02T03:04:05.000000Z",
                "requires-python": ">=3.9",
            }
        ],
    }
    assert listed(root) == ["my-pkg"]
    assert list((root / ".wheelsmith/staging").iterdir()) == []
    assert (root / wheel.name).stat().st_mode & 0o444 == 0o666 & ~_umask() & 0o444


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_same_bytes_are_a_no_op(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "in", "pkg", "1.0")
    publish([wheel], tmp_path / "dist")
    before = tree(tmp_path / "dist")

    (again,) = publish([wheel], tmp_path / "dist")

    assert again.already_there
    assert tree(tmp_path / "dist") == before


def test_other_bytes_under_the_name_are_refused_and_take_the_whole_call_with_them(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "a", "pkg", "1.0")], tmp_path / "dist")
    before = tree(tmp_path / "dist")
    other = make_wheel(tmp_path / "b", "pkg", "1.0", code="x = 1")

    with pytest.raises(IndexConflictError, match=r"other bytes under pkg-1\.0-py3-none-any\.whl"):
        publish([make_wheel(tmp_path / "b", "new", "1.0"), other], tmp_path / "dist")
    publish([], tmp_path / "dist")

    assert tree(tmp_path / "dist") == before


def test_two_different_files_of_one_name_in_one_call_are_refused(tmp_path: Path) -> None:
    wheels = [
        make_wheel(tmp_path / "a", "pkg", "1.0"),
        make_wheel(tmp_path / "b", "pkg", "1.0", code="x = 1"),
    ]
    with pytest.raises(IndexConflictError):
        publish(wheels, tmp_path / "dist")
    assert files_on(tmp_path / "dist", "pkg") == set()


def test_a_wheel_that_lies_in_the_index_already_is_published_in_place(tmp_path: Path) -> None:
    root = tmp_path / "dist"
    wheel = make_wheel(root, "pkg", "1.0")
    make_wheel(root, "unpublished", "1.0")
    inode = wheel.stat().st_ino

    (result,) = publish([wheel], root)

    assert not result.already_there
    assert wheel.stat().st_ino == inode
    assert files_on(root, "pkg") == {wheel.name}
    assert listed(root) == ["pkg"]


def test_versions_are_sorted_as_versions(tmp_path: Path) -> None:
    wheels = [make_wheel(tmp_path / "in", "pkg", version) for version in ("1.10", "1.9", "1.9+cu130", "1.10rc1")]
    publish(wheels, tmp_path / "dist")
    page = json.loads((tmp_path / "dist/simple/pkg/index.json").read_bytes())
    assert page["versions"] == ["1.9", "1.9+cu130", "1.10rc1", "1.10"]


def _truncated(folder: Path) -> Path:
    path = make_wheel(folder, "pkg", "1.0")
    path.write_bytes(path.read_bytes()[:-30])
    return path


def _flipped(folder: Path) -> Path:
    path = make_wheel(folder, "pkg", "1.0", code="value = 12345")
    path.write_bytes(path.read_bytes().replace(b"12345", b"12346"))
    return path


def _renamed(folder: Path) -> Path:
    return make_wheel(folder, "pkg", "1.0").rename(folder / "pkg-2.0-py3-none-any.whl")


def _misnamed(folder: Path) -> Path:
    return make_wheel(folder, "pkg", "1.0").rename(folder / "pkg-1.0.whl")


def _unsafe(folder: Path) -> Path:
    return make_wheel(folder, "pkg", "1.0").rename(folder / "pkg-1.0-py3-none-a<b.whl")


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (_truncated, "not a readable zip archive"),
        (_flipped, r"'pkg\.py' cannot be unpacked"),
        (_renamed, r"its metadata is in 'pkg-1\.0\.dist-info'"),
        (_misnamed, "is no wheel file name"),
        (_unsafe, "is no wheel file name"),
        (
            lambda folder: make_wheel(folder, "pkg", "1.0", says="other"),
            "says Name: 'other' in METADATA, not 'pkg'",
        ),
        (lambda folder: make_wheel(folder, "pkg", "1.0", metadata="Requires-Python: x\n"), "Requires-Python"),
        (lambda folder: make_wheel(folder, "pkg", "1.0", metadata="Requires-Dist: ?\n"), "Requires-Dist"),
        (lambda folder: folder / "pkg-1.0-py3-none-any.whl", "cannot be read"),
    ],
)
def test_an_invalid_wheel_is_refused_and_nothing_of_the_call_is_stored(
    tmp_path: Path, bad: Callable[[Path], Path], cause: str
) -> None:
    good = make_wheel(tmp_path / "good", "good", "1.0")
    (tmp_path / "bad").mkdir()
    with pytest.raises(InvalidWheelError, match=cause):
        publish([good, bad(tmp_path / "bad")], tmp_path / "dist")
    assert list((tmp_path / "dist").glob("*.whl*")) == []
    assert list((tmp_path / "dist").glob(".wheelsmith/staging/*")) == []


def test_rebuild_makes_the_same_pages_from_the_stored_files(tmp_path: Path) -> None:
    root = tmp_path / "dist"
    publish([make_wheel(tmp_path / "in", name, "1.0") for name in ("a", "b")], root)
    before = tree(root)
    for page in root.glob("simple/**/index.*"):
        page.unlink()

    assert len(rebuild(root)) == 6  # (list, a, b) x (html, json)
    assert tree(root) == before


def test_rebuild_leaves_out_what_is_gone(tmp_path: Path) -> None:
    root = tmp_path / "dist"
    publish([make_wheel(tmp_path / "in", *what) for what in (("a", "1.0"), ("a", "2.0"), ("b", "1.0"))], root)
    (root / "a-2.0-py3-none-any.whl").unlink()
    (root / "b-1.0-py3-none-any.whl").unlink()

    rebuild(root)
    assert files_on(root, "a") == {"a-1.0-py3-none-any.whl"}
    assert listed(root) == ["a"]
    assert not (root / "simple/b/index.html").exists()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    root = tmp_path / "dist"
    publish([make_wheel(tmp_path / "in", "pkg", "1.0")], root)
    (root / "records/projects/pkg.json").write_text('{"project": 1}')
    with pytest.raises(StoreError, match=r"records/projects/pkg\.json is damaged"):
        publish([make_wheel(tmp_path / "in", "pkg", "9.0")], root)
    assert "records/projects/pkg.json" in rebuild(root)  # from the wheels
    assert verify(root).is_sound


class _Killed(BaseException):
    """Stands for the end of the process at one system call."""


@pytest.mark.parametrize("how", ["error", pytest.param("kill", marks=pytest.mark.e2e)])
@pytest.mark.parametrize("at", range(1, 36))
def test_interrupted_anywhere_it_is_published_or_not_and_the_next_publish_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, how: str
) -> None:
    """Publish ends in its n-th change of a name: by an exception, or by kill -9 of the process."""
    root = tmp_path / "dist"
    publish([make_wheel(tmp_path / "in", "old", "1.0")], root)
    new, other = make_wheel(tmp_path / "in", "new", "1.0"), make_wheel(tmp_path / "in", "other", "1.0")

    def die() -> None:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise _Killed

    def interrupted() -> bool:
        """Publish `new` and return whether it got in the way of the interruption."""
        calls = 0

        def counted(real: Callable[..., None]) -> Callable[..., None]:
            def call(*arguments: object) -> None:
                nonlocal calls
                calls += 1
                if calls == at:
                    die()
                real(*arguments)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(os, "link", counted(os.link))
            patch.setattr(os, "replace", counted(os.replace))
            patch.setattr(os, "fsync", counted(os.fsync))
            try:
                publish([new], root)
            except _Killed:
                return True
            return False

    if how == "kill":
        child = multiprocessing.get_context("fork").Process(target=interrupted)
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    else:
        assert interrupted()

    assert files_on(root, "old") == {"old-1.0-py3-none-any.whl"}
    assert files_on(root, "new") <= {new.name}
    linked = Layout(root).entry("new", new.name) is not None  # the record is the commit

    publish([other], root)  # another project's publish heals this one too

    assert (root / new.name).exists() == linked
    assert files_on(root, "new") == ({new.name} if linked else set())
    assert listed(root) == (["new", "old", "other"] if linked else ["old", "other"])
    assert list((root / ".wheelsmith/staging").iterdir()) == []

    assert publish([new], root)[0].already_there == linked
    assert files_on(root, "new") == {new.name}
    assert listed(root) == ["new", "old", "other"]
    before = tree(root)
    rebuild(root)
    assert tree(root) == before


def test_a_full_disk_is_said_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(tmp_path / "in", "pkg", "1.0")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError):
            publish([wheel], tmp_path / "dist")
    publish([], tmp_path / "dist")
    assert files_on(tmp_path / "dist", "pkg") == set()
    assert list((tmp_path / "dist").glob("*.whl")) == []


def test_eight_writers_lose_nothing(tmp_path: Path) -> None:
    """8 processes, 5 wheels each: two of a project that all share, two of their own, one that all publish."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([publish_one_by_one.__module__])  # imported once, not in each
    barrier = context.Barrier(8)
    root = tmp_path / "dist"
    same = make_wheel(tmp_path / "in", "same", "1.0")
    writers = []
    for number in range(8):
        shared = [make_wheel(tmp_path / "in", "shared", f"{number}.{minor}") for minor in range(2)]
        own = [make_wheel(tmp_path / "in", f"own{number}", f"1.{minor}") for minor in range(2)]
        writers.append(context.Process(target=publish_one_by_one, args=([*shared, *own, same], root, barrier)))
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        for project in ("shared", "same", "own0"):
            files_on(root, project)  # a reader at any time: every named file is there, whole
        writers[0].join(0.01)
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0] * 8
    assert len(files_on(root, "shared")) == 16
    assert [len(files_on(root, f"own{number}")) for number in range(8)] == [2] * 8
    assert files_on(root, "same") == {same.name}
    assert listed(root) == [*(f"own{number}" for number in range(8)), "same", "shared"]
    assert list((root / ".wheelsmith/staging").iterdir()) == []
    before = tree(root)
    rebuild(root)
    assert tree(root) == before
