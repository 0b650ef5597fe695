"""One name, one file, one truth: however a name is spelled, and whatever else serves its tags."""

from pathlib import Path

import pytest

from tests.support.index_wheels import make_wheel
from tests.support.looking import files_on
from wheelsmith.errors import IndexConflictError
from wheelsmith.index.claim import claim_of
from wheelsmith.index.location import open_storage
from wheelsmith.index.manage import remove
from wheelsmith.index.publish import publish
from wheelsmith.index.record import OverlapError
from wheelsmith.index.storage import Storage


@pytest.fixture(name="storage", params=["directory", "memory:///"])
def storage_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "dist" if request.param == "directory" else request.param)


def _respelled(folder: Path, wheel: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(wheel.read_bytes())
    return path


SPELLINGS = [
    "H2a-1.0-py3-none-any.whl",
    "h2a-1.0.0-py3-none-any.whl",
    "h2a-v1.0-py3-none-any.whl",
    "h2a-01.0-py3-none-any.whl",
]


@pytest.mark.parametrize("name", SPELLINGS)
def test_another_spelling_with_other_bytes_is_refused(storage: Storage, tmp_path: Path, name: str) -> None:
    publish([make_wheel(tmp_path / "a", "h2a", "1.0")], storage)
    other = make_wheel(tmp_path / "b", "h2a", "1.0", code="evil = True")
    with pytest.raises(IndexConflictError, match=r"already holds other bytes under .*, spelled h2a-1\.0-py3"):
        publish([_respelled(tmp_path / "c", other, name)], storage, accept=["overlap"])
    assert files_on(storage, "h2a") == {"h2a-1.0-py3-none-any.whl"}


def test_another_spelling_with_the_same_bytes_is_the_same_file(storage: Storage, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "a", "h2a", "1.0")
    publish([wheel], storage)
    (again,) = publish([_respelled(tmp_path / "c", wheel, SPELLINGS[1])], storage)
    assert (again.filename, again.already_there) == ("h2a-1.0-py3-none-any.whl", True)
    assert files_on(storage, "h2a") == {"h2a-1.0-py3-none-any.whl"}
    assert not [key for key, _ in storage.wheels() if "1.0.0" in key]


def test_two_spellings_in_one_call_are_refused(storage: Storage, tmp_path: Path) -> None:
    other = make_wheel(tmp_path / "b", "h2a", "1.0", code="evil = True")
    wheels = [make_wheel(tmp_path / "a", "h2a", "1.0"), _respelled(tmp_path / "c", other, SPELLINGS[1])]
    with pytest.raises(IndexConflictError):
        publish(wheels, storage)
    assert list(storage.wheels()) == []


def test_a_removed_name_stays_taken_in_every_spelling(storage: Storage, tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "a", "h2a", "1.0")], storage)
    remove(storage, "h2a", force=True)
    other = make_wheel(tmp_path / "b", "h2a", "1.0", code="evil = True")
    with pytest.raises(IndexConflictError, match="other bytes"):
        publish([_respelled(tmp_path / "c", other, SPELLINGS[0])], storage)


@pytest.mark.parametrize("tag", ["py2.py3-none-any", "1-py3-none-any", "py3.py39-none-any"])
def test_a_wheel_for_tags_that_are_served_needs_a_word(storage: Storage, tmp_path: Path, tag: str) -> None:
    publish([make_wheel(tmp_path / "a", "h2a", "1.0")], storage)
    inside = tag.removeprefix("1-")
    second = make_wheel(tmp_path / "b", "h2a", "1.0", tag=tag, tag_inside=inside)
    with pytest.raises(OverlapError, match=r"is for tags that h2a-1\.0-py3-none-any\.whl serves") as refused:
        publish([second], storage)
    assert "--overlap" in refused.value.remedy
    publish([second], storage, accept=["overlap"])
    assert len(files_on(storage, "h2a")) == 2
    assert publish([second], storage)[0].already_there  # said once


def test_wheels_that_share_no_tag_need_none(storage: Storage, tmp_path: Path) -> None:
    tags = ("cp312-cp312-linux_x86_64", "cp313-cp313-linux_x86_64", "cp312-cp312-linux_aarch64", "py3-none-any")
    publish([make_wheel(tmp_path / "a", "h2a", "1.0", tag=tag) for tag in tags], storage)
    publish([make_wheel(tmp_path / "a", "h2a", "1.0.post1")], storage)
    assert len(files_on(storage, "h2a")) == 5


def test_ten_and_one_are_not_one() -> None:
    assert claim_of("a-1.0-py3-none-any.whl") != claim_of("a-10-py3-none-any.whl")
    assert claim_of("a-1.0-py3-none-any.whl") == claim_of("A-1-py3-none-any.whl")
