"""Verify and repair: damage is found and mended; after any interruption a wheel is published or it is not."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.index_wheels import make_wheel
from tests.support.looking import all_pages, files_on, listed
from wheelsmith.index.bucket import BucketStorage
from wheelsmith.index.location import open_storage
from wheelsmith.index.publish import publish
from wheelsmith.index.storage import Storage
from wheelsmith.index.verify import rebuild, verify

pytestmark = pytest.mark.e2e

NAME = "pkg-1.0+cu130-py3-none-any.whl"


@pytest.fixture(name="storage", params=["directory", "memory:///"])
def storage_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    storage = open_storage(tmp_path / "dist" if request.param == "directory" else request.param)
    publish([make_wheel(tmp_path / "in", *what) for what in (("pkg", "1.0+cu130"), ("other", "1.0"))], storage)
    return storage


def _wheel(storage: Storage) -> str:
    return next(key for key, _ in storage.wheels() if key.endswith(NAME))


def _damage_wheel(storage: Storage) -> None:
    storage.write(_wheel(storage), storage.read(_wheel(storage)).data.replace(b"Generator: test", b"Generator: evil"))


def test_a_sound_index_has_no_findings_and_nothing_to_rebuild(storage: Storage) -> None:
    seen = verify(storage, repair=True)
    assert (seen.files, seen.pages, seen.findings, seen.is_sound) == (2, 18, (), True)
    assert rebuild(storage) == ()


@pytest.mark.parametrize(
    ("damage", "kinds", "left"),
    [
        (lambda storage: storage.delete(_wheel(storage)), {"missing"}, set()),
        (_damage_wheel, {"damaged"}, set()),
        (lambda storage: storage.write(_wheel(storage), b""), {"damaged"}, set()),
        (lambda storage: storage.delete(_wheel(storage) + ".metadata"), {"metadata"}, {NAME}),
        (lambda storage: storage.write(_wheel(storage) + ".metadata", b"Name: evil"), {"metadata"}, {NAME}),
        (lambda storage: storage.delete("simple/pkg/index.json", "cu130/simple/index.html"), {"page"}, {NAME}),
        (lambda storage: storage.write("simple/pkg/index.html", b"<html>"), {"page"}, {NAME}),
        (lambda storage: storage.write("simple/gone/index.html", b"<html>"), {"page"}, {NAME}),
        (lambda storage: storage.delete("records/catalog.json"), {"page"}, {NAME}),
    ],
)
def test_damage_is_found_and_mended(
    storage: Storage, tmp_path: Path, damage: Callable[[Storage], None], kinds: set[str], left: set[str]
) -> None:
    before = all_pages(storage)
    damage(storage)

    seen = verify(storage)
    assert {finding.kind for finding in seen.findings} == kinds
    assert not seen.is_sound
    assert verify(storage).findings == seen.findings  # looking changes nothing
    mended = verify(storage, repair=True)
    assert mended.is_sound
    assert kinds <= {finding.kind for finding in mended.findings}

    assert verify(storage).findings == ()
    assert files_on(storage, "pkg") == left
    assert files_on(storage, "other") == {"other-1.0-py3-none-any.whl"}
    publish([make_wheel(tmp_path / "in", "pkg", "1.0+cu130")], storage)
    assert files_on(storage, "pkg", "cu130") == {NAME}
    if left:
        assert all_pages(storage) == before


class _Killed(BaseException):
    """Stands for the end of the process between two operations."""


@dataclass(frozen=True, slots=True)
class _Mortal(BucketStorage):
    """A bucket whose writer dies before its n-th change."""

    budget: list[int]

    def _spend(self) -> None:
        self.budget[0] -= 1
        if self.budget[0] < 0:
            raise _Killed

    def _put(self, key: str, data: bytes, mode: Any) -> None:
        self._spend()
        super(_Mortal, self)._put(key, data, mode)

    def upload(self, key: str, chunks: Iterator[bytes]) -> None:
        self._spend()
        super(_Mortal, self).upload(key, chunks)

    def each(self, work: Callable[[str], object], names: Iterable[str]) -> None:
        for name in names:
            work(name)


def test_a_writer_that_dies_at_any_point_leaves_the_bucket_repairable(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "in", "pkg", "1.0+cu130")
    outcomes = []
    for at in range(40):
        storage = BucketStorage.open("memory:///")
        publish([make_wheel(tmp_path / "in", "old", "1.0")], storage)
        try:
            publish([wheel], _Mortal(storage.url, storage.store, [at]))
        except _Killed:
            assert files_on(storage, "pkg") <= {NAME}  # also checks that what is named is there
        else:
            break
        assert verify(storage, repair=True).is_sound
        assert verify(storage).findings == ()
        published = files_on(storage, "pkg") == {NAME}
        assert listed(storage) == (["old", "pkg"] if published else ["old"])
        assert listed(storage, "cu130") == (["old", "pkg"] if published else None)
        outcomes.append(published)
        (again,) = publish([wheel], storage)
        assert again.already_there == published
        assert files_on(storage, "pkg", "cu130") == {NAME}
        assert verify(storage).findings == ()
    assert outcomes == sorted(outcomes)  # first not published, from the commit on published
    assert (outcomes.count(False), len(outcomes)) == (4, 19)


@pytest.mark.parametrize("at", range(1, 36, 3))
def test_verify_settles_what_a_killed_writer_left_in_a_directory(tmp_path: Path, at: int) -> None:
    storage = open_storage(tmp_path / "dist")
    publish([make_wheel(tmp_path / "in", "old", "1.0")], storage)
    wheel = make_wheel(tmp_path / "in", "pkg", "1.0+cu130")
    child = os.fork()
    if child == 0:
        count = 0
        fsync = os.fsync

        def dying(descriptor: int) -> None:
            nonlocal count
            count += 1
            if count == at:
                os._exit(9)
            fsync(descriptor)

        os.fsync = dying  # type: ignore[assignment]  # only called with numbers
        publish([wheel], storage)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    assert files_on(storage, "pkg") <= {NAME}
    found = verify(storage)
    assert "interrupted" in {finding.kind for finding in found.findings}
    assert verify(storage, repair=True).is_sound
    assert verify(storage).findings == ()
    published = files_on(storage, "pkg") == {NAME}
    assert published == (tmp_path / "dist" / NAME).exists()
    assert publish([wheel], storage)[0].already_there == published
    assert verify(storage).findings == ()
