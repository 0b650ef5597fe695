"""Records that are damaged or gone come back: from their copies, the pages, the publications and the wheels."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.attesting import provenance
from tests.support.index_wheels import make_wheel
from tests.support.looking import all_pages, files_on, listed, page
from wheelsmith.errors import IndexConflictError, StoreError
from wheelsmith.index.location import open_storage
from wheelsmith.index.manage import collect, list_records, remove, set_status, yank
from wheelsmith.index.publish import publish
from wheelsmith.index.retention import Rules
from wheelsmith.index.storage import Storage
from wheelsmith.index.verify import rebuild, verify

pytestmark = pytest.mark.e2e

RECORDS = ("records/projects/", "records/publications/", "records/catalog.json")


@pytest.fixture(name="storage", params=["directory", "memory:///"])
def storage_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Three projects, four publications: yanked, with attestations, of a given variant, removed, deprecated."""
    storage = open_storage(tmp_path / "dist" if request.param == "directory" else request.param)
    attested = make_wheel(tmp_path / "in", "pkg", "1.0+cu130", metadata="Requires-Python: >=3.9\n")
    attested.with_name(f"{attested.name}.provenance").write_bytes(provenance(attested))
    publish([attested, make_wheel(tmp_path / "in", "pkg", "1.1+cu130")], storage)
    publish([make_wheel(tmp_path / "in", "other", "1.0")], storage, variant="cu130-torch2.9")
    publish([make_wheel(tmp_path / "in", "third", version) for version in ("1.0", "2.0", "3.0")], storage)
    yank(storage, "pkg==1.1+cu130", reason="bad <b>")
    remove(storage, "third==3.0", force=True)
    set_status(storage, "third", "deprecated", reason="use pkg")
    publish([make_wheel(tmp_path / "in", "pkg", "1.2+cu130")], storage)
    return storage


def _delete(storage: Storage, key: str) -> None:
    storage.delete(key)


def _garble(storage: Storage, key: str) -> None:
    storage.write(key, storage.read(key).data[:-20] + b"}")


def _empty(storage: Storage, key: str) -> None:
    storage.write(key, b"")


@pytest.mark.parametrize("damage", [_delete, _garble, _empty])
def test_every_record_comes_back_with_every_page(
    storage: Storage, tmp_path: Path, damage: Callable[[Storage, str], None]
) -> None:
    records = {key: storage.read(key).data for key in storage.names("records/") if key.startswith(RECORDS)}
    before = all_pages(storage)
    assert len(records) == 3 + 4 + 1
    for key in records:
        damage(storage, key)

    seen = verify(storage)
    assert {finding.kind for finding in seen.findings} <= {"record", "page"}
    assert not seen.is_sound
    assert seen.files == 6  # of damaged projects too
    mended = verify(storage, repair=True)

    assert mended.is_sound
    assert verify(storage).findings == ()
    assert all_pages(storage) == before
    removed = {key for key, data in records.items() if key.startswith(RECORDS[1]) and b"third-3.0" in data}
    assert len(removed) == 1  # pages do not tell what a publication once had; its name is a digest of that
    assert {key for key, data in records.items() if storage.read(key).data != data} == removed
    texts = {finding.text for finding in mended.findings if finding.key in removed}
    assert {text.partition(": ")[2] for text in texts} == {"it came back, without files removed since"}
    with pytest.raises(IndexConflictError, match="other bytes"):
        publish([make_wheel(tmp_path / "b", "third", "3.0", code="x = 1")], storage)


def test_one_damaged_record_stops_neither_verification_nor_repair_of_the_others(storage: Storage) -> None:
    _garble(storage, "records/projects/pkg.json")
    storage.write(next(key for key, _ in storage.wheels() if "other-1.0" in key), b"half")
    with pytest.raises(StoreError, match=r"records/projects/pkg\.json is damaged"):
        list_records(storage)
    assert [finding.kind for finding in verify(storage).findings] == ["record", "damaged"]
    assert verify(storage, repair=True).is_sound
    assert listed(storage) == ["pkg", "third"]
    assert len(files_on(storage, "pkg")) == 3


def test_from_the_wheels_alone_all_but_times_yanks_and_status_comes_back(storage: Storage) -> None:
    before = {file["filename"]: file for name in ("pkg", "other", "third") for file in page(storage, name)["files"]}
    for key in list(storage.names()):
        if "/index." in key or (key.startswith("records/") and key != "records/catalog.json"):
            storage.delete(key)

    seen = verify(storage, repair=True)

    texts = {finding.key: finding.text for finding in seen.findings if finding.kind == "record"}
    assert texts["records/projects/third.json"] == (
        "it is gone: made again with 2 files; the upload times of 2 are those of the stored files; "
        "names of removed files are free again; yanks and the project's status are not known"
    )
    assert verify(storage).findings == ()
    after = {file["filename"]: file for name in ("pkg", "other", "third") for file in page(storage, name)["files"]}
    assert after.keys() == before.keys()
    for name, file in after.items():
        told = {key: before[name][key] for key in file if key != "upload-time"}
        assert {key: value for key, value in file.items() if key != "upload-time"} == told
    assert [("yanked" in file, "yanked" in before[name]) for name, file in after.items()].count((False, True)) == 1


def test_what_was_never_published_is_not_taken_for_it(storage: Storage, tmp_path: Path) -> None:
    make_wheel(tmp_path / "dist", "pkg", "9.0")  # lies in the directory, beside the published ones
    storage.write(f"files/{'0' * 64}/pkg-8.0-py3-none-any.whl", b"half an upload")
    _delete(storage, "records/projects/pkg.json")
    verify(storage, repair=True)
    assert [entry.version for entry in list_records(storage, "pkg")[0].entries] == [
        "1.0+cu130",
        "1.1+cu130",
        "1.2+cu130",
    ]


def test_upload_times_survive_the_end_of_their_publication(storage: Storage) -> None:
    times = [entry.upload_time for entry in list_records(storage, "pkg")[0].entries]
    gone = collect(storage, Rules(publication_days=1), now=datetime.now(UTC) + timedelta(days=2))
    assert (len(gone.entries), len(gone.publications)) == (0, 4)
    for key in list(storage.names()):
        if key.startswith("records/projects/") or "/index." in key:
            storage.delete(key)
    assert verify(storage, repair=True).is_sound
    assert [entry.upload_time for entry in list_records(storage, "pkg")[0].entries] == times


def test_a_publication_of_which_nothing_is_left_is_said_so(storage: Storage) -> None:
    name = "20260101-0123456789ab"
    storage.write(f"records/publications/{name}.json", b"{")
    (found,) = (one for one in verify(storage, repair=True).findings if one.kind == "record")
    assert found.text == f"it is damaged: what it named is not known; /pub/{name}/ goes"
    assert verify(storage).findings == ()


def _lose(storage: Storage, *prefixes: str) -> None:
    for key in list(storage.names()):
        if key.startswith(prefixes):
            storage.delete(key)


@pytest.mark.parametrize("pages_too", [False, True])
def test_a_file_that_was_removed_and_published_again_lives(storage: Storage, tmp_path: Path, pages_too: bool) -> None:
    publish([make_wheel(tmp_path / "in", "third", "3.0")], storage)
    _lose(storage, "records/projects/", "records/publications/", *(("simple/", "pub/") if pages_too else ()))
    assert verify(storage, repair=True).is_sound
    assert "third-3.0-py3-none-any.whl" in files_on(storage, "third")
    assert verify(storage).findings == ()


def test_publications_pages_follow_what_came_back(storage: Storage, tmp_path: Path) -> None:
    remove(storage, "other==1.0", force=True)
    (again,) = publish([make_wheel(tmp_path / "in", "other", "1.0")], storage)
    before = all_pages(storage)
    assert f"pub/{again.publication}/simple/other/index.json" in before
    _lose(storage, "records/projects/", "records/publications/", "records/catalog.json")
    assert verify(storage, repair=True).is_sound
    assert all_pages(storage) == before


@pytest.mark.parametrize("mend", ["verify", "rebuild"])
def test_nothing_but_wheels_is_left(storage: Storage, mend: str) -> None:
    before = {name: files_on(storage, name) for name in ("pkg", "other", "third")}
    wheels = {key for key, _ in storage.wheels()}
    for key in set(storage.names()) - wheels:
        storage.delete(key)

    seen = verify(storage)
    assert (seen.is_sound, seen.files) == (False, 6)
    rebuild(storage) if mend == "rebuild" else verify(storage, repair=True)

    assert {name: files_on(storage, name) for name in before} == before
    assert verify(storage).findings == ()


def test_an_older_copy_of_the_records_is_not_called_sound(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "dist")
    publish([make_wheel(tmp_path / "in", "pkg", "1.0")], storage)
    old = storage.read("records/projects/pkg.json").data
    publish([make_wheel(tmp_path / "in", "pkg", "2.0")], storage)
    storage.write("records/projects/pkg.json", old)
    rebuild(storage)
    assert files_on(storage, "pkg") == {"pkg-1.0-py3-none-any.whl", "pkg-2.0-py3-none-any.whl"}
    storage.write("records/projects/pkg.json", old)
    seen = verify(storage)
    assert not seen.is_sound
    assert "it does not name pkg-2.0-py3-none-any.whl, which was published" in {one.text for one in seen.findings}


def test_a_wheel_that_was_never_published_is_told_and_left_alone(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "dist")
    publish([make_wheel(tmp_path / "in", "pkg", "1.0")], storage)
    make_wheel(tmp_path / "dist", "pkg", "9.0")
    seen = verify(storage, repair=True)
    assert [(one.kind, one.key, one.repaired) for one in seen.findings] == [
        ("unpublished", "pkg-9.0-py3-none-any.whl", False)
    ]
    assert files_on(storage, "pkg") == {"pkg-1.0-py3-none-any.whl"}


def test_nothing_is_published_or_removed_over_a_lost_record(storage: Storage, tmp_path: Path) -> None:
    storage.delete("records/projects/pkg.json")
    before = all_pages(storage)
    with pytest.raises(StoreError, match=r"records/projects/pkg\.json is gone"):
        publish([make_wheel(tmp_path / "in", "pkg", "7.0")], storage)
    with pytest.raises(StoreError, match="is gone"):
        remove(storage, "other", force=True)
    with pytest.raises(StoreError, match="is gone"):
        collect(storage, Rules(newest=1))
    assert all_pages(storage) == before
    assert verify(storage, repair=True).is_sound
    assert all_pages(storage) == before
