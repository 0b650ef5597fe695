"""Yank, status, removal and collection: in a directory and in a bucket alike."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.index_wheels import make_wheel
from tests.support.looking import all_pages, files_on, listed, page
from wheelsmith.errors import IndexConflictError, UsageError
from wheelsmith.index.entry import Entry
from wheelsmith.index.location import open_storage
from wheelsmith.index.manage import collect, list_records, remove, set_status, yank
from wheelsmith.index.publish import publish
from wheelsmith.index.retention import Rules, expired
from wheelsmith.index.storage import Storage
from wheelsmith.index.verify import rebuild, verify

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(name="storage", params=["directory", "memory:///"])
def storage_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "dist" if request.param == "directory" else request.param)


def _wheels(folder: Path, *names: str) -> list[Path]:
    return [make_wheel(folder, *name.split("-")) for name in names]


def _names(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.filename.removesuffix("-py3-none-any.whl") for entry in entries]


def test_yank_marks_files_everywhere_but_where_they_are_pinned(storage: Storage, tmp_path: Path) -> None:
    (one, _) = publish(_wheels(tmp_path, "pkg-1.0+cu130", "pkg-1.0+cu128"), storage)
    before = all_pages(storage)
    assert _names(yank(storage, "pkg==1.0+cu130", reason="bad", dry_run=True)) == ["pkg-1.0+cu130"]
    assert all_pages(storage) == before

    yank(storage, "pkg==1.0+cu130", reason="bad")

    for place, expected in {"": [None, "bad"], "cu130": ["bad"], f"pub/{one.publication}": [None, None]}.items():
        assert [file.get("yanked") for file in page(storage, "pkg", place)["files"]] == expected
    assert yank(storage, "pkg==1.0+cu130", reason="bad") == ()
    assert _names(yank(storage, "pkg", reason=None)) == ["pkg-1.0+cu130"]
    assert all_pages(storage) == before


@pytest.mark.parametrize("what", ["absent", "pkg==2.0", "pkg==1.0", "pkg-9-py3-none-any.whl"])
def test_what_is_not_there_is_said_so(storage: Storage, tmp_path: Path, what: str) -> None:
    publish(_wheels(tmp_path, "pkg-1.0+cu130"), storage)
    with pytest.raises(UsageError, match="has no file for"):
        yank(storage, what)


def test_quarantine_takes_files_off_every_page_and_back(storage: Storage, tmp_path: Path) -> None:
    (one, _) = publish(_wheels(tmp_path, "pkg-1.0+cu130", "other-1.0"), storage)
    before = all_pages(storage)

    set_status(storage, "Pkg", "quarantined", reason="malware?")

    name = b"pkg-1.0%2Bcu130"
    assert [key for key, data in all_pages(storage).items() if name in data] == []
    assert page(storage, "pkg")["project-status"] == {"status": "quarantined", "reason": "malware?"}
    assert page(storage, "pkg", "cu130")["files"] == []
    assert files_on(storage, "other", f"pub/{one.publication}") == {"other-1.0-py3-none-any.whl"}
    assert verify(storage).findings == ()
    with pytest.raises(IndexConflictError, match="pkg is quarantined and takes no new files"):
        publish(_wheels(tmp_path, "pkg-2.0"), storage)
    set_status(storage, "pkg", "active")
    assert all_pages(storage) == before


def test_archived_and_deprecated_are_shown_and_only_archived_takes_no_files(storage: Storage, tmp_path: Path) -> None:
    publish(_wheels(tmp_path, "pkg-1.0"), storage)
    set_status(storage, "pkg", "deprecated")
    publish(_wheels(tmp_path, "pkg-1.1"), storage)
    set_status(storage, "pkg", "archived")
    assert page(storage, "pkg")["project-status"] == {"status": "archived"}
    assert len(files_on(storage, "pkg")) == 2
    with pytest.raises(IndexConflictError, match="archived"):
        publish(_wheels(tmp_path, "pkg-1.2"), storage)
    (again,) = publish(_wheels(tmp_path, "pkg-1.1"), storage)
    assert again.already_there


def test_a_removed_name_never_gets_other_bytes(storage: Storage, tmp_path: Path) -> None:
    wheels = _wheels(tmp_path / "a", "pkg-1.0", "pkg-2.0")
    publish(wheels, storage)
    with pytest.raises(IndexConflictError, match=r"pkg-2\.0-.* is pinned by a publication"):
        remove(storage, "pkg==2.0")
    assert _names(remove(storage, "pkg==2.0", force=True, dry_run=True)) == ["pkg-2.0"]
    assert len(files_on(storage, "pkg")) == 2

    remove(storage, "pkg==2.0", force=True)

    assert files_on(storage, "pkg") == {"pkg-1.0-py3-none-any.whl"}
    assert [key for key in storage.names() if "pkg-2.0" in key] == []
    with pytest.raises(IndexConflictError, match="other bytes"):
        publish([make_wheel(tmp_path / "b", "pkg", "2.0", code="x = 1")], storage)
    publish(wheels, storage)
    assert len(files_on(storage, "pkg")) == 2
    remove(storage, "pkg", force=True)
    assert listed(storage) == []
    assert page(storage, "pkg") is None
    assert rebuild(storage) == ()


def _entry(version: str, days: float, variant: str | None = None) -> Entry:
    time = NOW - timedelta(days=days)
    return Entry(f"p-{version}-py3-none-any.whl", "p", version, "a" * 64, 1, "b" * 64, None, time, variant=variant)


@pytest.mark.parametrize(
    ("rules", "pinned", "gone"),
    [
        (Rules(), [], []),
        (Rules(newest=1), [], ["p-1.9+cu130", "p-1.9+cu128"]),
        (Rules(newest=2), [], []),
        (Rules(days=30), [], ["p-1.9+cu130", "p-1.9+cu128", "p-1.10+cu130"]),
        (Rules(newest=1, days=30), [], ["p-1.9+cu130", "p-1.9+cu128"]),
        (Rules(newest=1), ["1.9+cu130"], ["p-1.9+cu128"]),
        (Rules(publication_days=1), [], []),
    ],
)
def test_a_file_goes_only_if_no_rule_keeps_it(rules: Rules, pinned: list[str], gone: list[str]) -> None:
    entries = [
        _entry("1.9+cu130", 50, "cu130"),
        _entry("1.9+cu128", 50, "cu128"),
        _entry("1.10+cu130", 40, "cu130"),
        _entry("1.10+cu128", 29, "cu128"),
    ]
    names = {f"p-{version}-py3-none-any.whl" for version in pinned}
    assert _names(expired(entries, rules, NOW, names)) == gone


def test_collection_never_takes_what_a_publication_pins(storage: Storage, tmp_path: Path) -> None:
    for version in ("1.0", "1.1"):
        publish(_wheels(tmp_path, f"pkg-{version}"), storage)
    later = datetime.now(UTC) + timedelta(days=10)

    kept = collect(storage, Rules(newest=1), now=later)
    assert (kept.entries, kept.pinned) == ((), ("pkg-1.0-py3-none-any.whl",))
    planned = collect(storage, Rules(newest=1, publication_days=5), now=later, dry_run=True)
    assert len(files_on(storage, "pkg")) == 2
    done = collect(storage, Rules(newest=1, publication_days=5), now=later)

    assert planned == done
    assert (_names(done.entries), len(done.publications)) == (["pkg-1.0"], 2)
    assert files_on(storage, "pkg") == {"pkg-1.1-py3-none-any.whl"}
    assert [key for key in storage.names() if key.startswith("pub/") or "pkg-1.0" in key] == []
    assert verify(storage).findings == ()
    assert _names(list_records(storage)[0].entries) == ["pkg-1.1"]


def test_an_upload_that_no_record_names_is_collected_when_it_is_old(tmp_path: Path) -> None:
    storage = open_storage("memory:///")
    publish(_wheels(tmp_path, "pkg-1.0"), storage)
    storage.write(f"files/{'0' * 64}/lost-1.0-py3-none-any.whl", b"half")
    assert collect(storage, Rules()).leftovers == ()
    gone = collect(storage, Rules(), now=datetime.now(UTC) + timedelta(days=2))
    assert gone.leftovers == (f"files/{'0' * 64}/lost-1.0-py3-none-any.whl",)
    assert [key for key, _ in storage.wheels() if "lost" in key] == []
