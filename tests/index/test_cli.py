"""`wheelsmith index` from the command line: what it prints, its JSON, its exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.index_wheels import make_wheel
from wheelsmith.cli.main import main
from wheelsmith.index.keys import is_page


@pytest.fixture(name="index")
def index_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    wheels = [make_wheel(tmp_path, "pkg", version) for version in ("1.0+cu130", "1.1+cu130")]
    monkeypatch.chdir(tmp_path)
    assert main(["publish", *map(str, wheels)]) == 0
    return tmp_path / "dist"


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict:
    capsys.readouterr()
    assert main(["index", *arguments, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    return document


def _files(index: Path) -> list[dict]:
    return json.loads((index / "simple/pkg/index.json").read_bytes())["files"]


@pytest.mark.usefixtures("index")
def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    (project,) = _json(capsys, "list")["projects"]
    assert (project["name"], project["status"]) == ("pkg", "active")
    assert [(file["version"], file["variant"]) for file in project["files"]] == [
        ("1.0+cu130", "cu130"),
        ("1.1+cu130", "cu130"),
    ]
    assert main(["index", "list"]) == 0
    assert "pkg-1.1+cu130-py3-none-any.whl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["yank", "pkg==1.0+cu130", "--reason", "bad"], {"files"}),
        (["rm", "pkg==1.0+cu130", "--force"], {"files"}),
        (["gc", "--keep-newest", "1", "--drop-publications", "1"], {"files", "pinned"}),
        (["status", "pkg", "quarantined"], {"before", "after"}),
        (["rebuild"], {"changed"}),
    ],
)
def test_a_dry_run_changes_nothing(
    capsys: pytest.CaptureFixture[str], index: Path, command: list[str], says: set[str]
) -> None:
    before = {path: path.read_bytes() for path in index.rglob("*") if path.is_file()}
    planned = _json(capsys, *command, "--dry-run")
    assert planned["dry_run"] is True
    assert says <= set(planned)
    assert {path: path.read_bytes() for path in index.rglob("*") if path.is_file()} == before
    done = _json(capsys, *command)
    assert {name: done[name] for name in says} == {name: planned[name] for name in says}


def test_yank_and_back(capsys: pytest.CaptureFixture[str], index: Path) -> None:
    assert main(["index", "yank", "pkg==1.1+cu130", "--reason", "bad"]) == 0
    assert capsys.readouterr().out.endswith("yanked: pkg-1.1+cu130-py3-none-any.whl\n")
    assert [file.get("yanked") for file in _files(index)] == [None, "bad"]
    assert len(_json(capsys, "unyank", "pkg")["files"]) == 1
    assert [file.get("yanked") for file in _files(index)] == [None, None]


def test_verify_has_an_exit_code_of_its_own_until_it_is_repaired(
    capsys: pytest.CaptureFixture[str], index: Path
) -> None:
    assert _json(capsys, "verify")["sound"] is True
    (index / "pkg-1.0+cu130-py3-none-any.whl").write_bytes(b"half")
    found = _json(capsys, "verify", code=72)
    assert [finding["kind"] for finding in found["findings"]] == ["damaged"]
    assert _json(capsys, "verify", "--repair")["sound"] is True
    assert [file["filename"] for file in _files(index)] == ["pkg-1.1+cu130-py3-none-any.whl"]


@pytest.mark.parametrize("command", [["list"], ["verify"], ["rebuild"], ["gc"], ["yank", "a"], ["rm", "a"]])
def test_where_no_index_is_none_is_made(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str]) -> None:
    assert main(["index", *command, "--index", str(tmp_path / "dits")]) == 2
    assert f"There is no index at {tmp_path / 'dits'}" in capsys.readouterr().err
    assert not (tmp_path / "dits").exists()


def test_pages_are_told_from_other_files() -> None:
    pages = [
        "simple/index.html",
        "simple/simple/index.json",
        "cu130/simple/a/index.html",
        "pub/2026-a/simple/index.html",
    ]
    others = ["index.html", "project/simple/index.html", "records/simple/index.json", "simple/a/b/index.html"]
    assert [name for name in (*pages, *others) if is_page(name)] == pages


def test_tokens_are_made_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = str(tmp_path / "dist")
    assert main(["index", "token", "create", "ci", "--publish", "torch-*", "--index", index, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["secret"].startswith(f"wsm_{made['id']}_")
    assert main(["index", "token", "revoke", made["id"], "--index", index]) == 0
    capsys.readouterr()
    assert main(["index", "token", "list", "--index", index, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["tokens"]
    assert (row["name"], row["publish"], row["state"], "secret" in row) == ("ci", ["torch-*"], "revoked", False)


@pytest.mark.e2e
def test_pages_are_the_same_whether_their_templates_are_kept_damaged_or_not_to_be_kept(tmp_path):
    wheel = make_wheel(tmp_path, "pkg", "1.0")
    store, pages = tmp_path / "store", []

    def publish(name: str, where: Path) -> None:
        command = [sys.executable, "-m", "wheelsmith", "publish", str(wheel), "--index", str(tmp_path / name)]
        subprocess.run(command, env=os.environ | {"WHEELSMITH_STORE": str(where)}, check=True, capture_output=True)
        pages.append((tmp_path / name / "project/pkg/index.html").read_text())

    publish("a", store)
    kept = sorted((store / "templates").iterdir())
    assert len(kept) > 1
    publish("b", store)
    for path in kept:
        path.write_bytes(path.read_bytes()[:30])  # a full disk
    publish("c", store)
    (tmp_path / "file").write_text("")
    publish("d", tmp_path / "file")
    stamp = re.compile(r"20\d\d-\d\d-\d\d[T ][\d:.]*Z?")
    assert len({stamp.sub("", page) for page in pages}) == 1
