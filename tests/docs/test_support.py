"""The support matrix and the catalogue say what the records of builds say, and the README no more than they."""

import json
import re
from pathlib import Path

import pytest

import wheelsmith
from wheelsmith.errors import UsageError

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "recipes" / "records"


def _build(**changed: object) -> dict[str, object]:
    """What `build --json` tells of a package with two libraries, one of which leaves a unit to other GPUs on 8.6."""
    row = {"library": "x/a.so", "arch": "8.6", "outcome": "native", "served_by": "sm_86", "only_ptx": 0, "units": 3}
    rows = [
        {**row, "lacking": 1, "allowed": 1},
        {**row, "arch": "12.0", "served_by": "sm_120", "lacking": 0, "allowed": 0},
    ]
    return {
        "plan": {
            "name": "toy",
            "version": "1.0",
            "local_version": "cu130",
            "target": {"archs": "8.6;12.0", "torch": None},
            "options": {"fast": False},
        },
        "toolchain": {"python": "3.12.3", "cuda": "13.0.88"},
        "compile": {"summary": {"units": 4, "cpu_seconds": 5.25}},
        "wheel": {"filename": "toy-1.0+cu130-cp312-cp312-manylinux_2_34_x86_64.whl", "size": 10, "sha256": "ab"},
        "verdict": {"headline": "all of it", "rows": rows},
        "drivers": {"8.6": "580.65.06", "12.0": None},
        "imports": {"toy": "imported"},
        **changed,
    }


def _record(tmp_path: Path, build: dict[str, object], ran: tuple[str, ...] = ()) -> Path:
    file = tmp_path / "build.json"
    file.write_text(json.dumps({"record": build}))
    return wheelsmith.recipe_record(file, where="here", records=tmp_path / "records", ran=ran, when="2026-11-26")


@pytest.mark.parametrize(
    ("page", "command"), [("support.md", wheelsmith.support_matrix), ("catalogue.md", wheelsmith.recipe_catalogue)]
)
def test_the_page_is_what_the_records_say(page, command) -> None:
    made = command(records=RECORDS)
    text = made if isinstance(made, str) else made.markdown()
    name = page.removesuffix(".md")
    assert (ROOT / "docs" / page).read_text("utf-8") == text, f"run `wheelsmith recipes {name} --write docs/{page}`"


def test_the_readme_s_table_is_backed_by_records() -> None:
    rows = wheelsmith.support_matrix(records=RECORDS).to_dict()["rows"]
    table = (ROOT / "README.md").read_text("utf-8").split("| built and proved | for |")[1].split("\n\n")[0]
    claims = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert len(claims) >= 3
    unbacked = []
    for what, archs, cuda, torch, python, ran in claims:
        name, version = re.fullmatch(r"`(\S+)` (\S+)", what).groups()
        for arch in archs.split(", "):
            backed = any(
                (row["package"], row["version"].split("+")[0], row["arch"]) == (name, version, arch)
                and row["cuda"].startswith(f"{cuda}.")
                and row["python"].startswith(f"{python}.")
                and (row["torch"] or "-") == torch
                and (", ".join(sorted({run["gpu"] for run in row["runs"]})) or "-") == ran
                for row in rows
            )
            if not backed:
                unbacked.append((what, arch))
    assert unbacked == []


def test_a_record_has_each_arch_s_own_proof_and_driver(tmp_path: Path) -> None:
    _record(tmp_path, _build(), ("RTX 5090, 580.95.05: 3 of 3 agree",))
    newest, older = wheelsmith.support_matrix(records=tmp_path / "records").to_dict()["rows"]
    assert (newest["arch"], newest["proved"], newest["oldest_driver"]) == ("12.0", "machine code for sm_120", "")
    assert newest["runs"] == [
        {"gpu": "RTX 5090", "driver": "580.95.05", "when": "2026-11-26", "result": "3 of 3 agree"}
    ]
    assert (
        older["proved"] == "machine code for sm_86, but for 1 translation units that the contract leaves to other GPUs"
    )
    assert (older["oldest_driver"], older["runs"], older["python_tag"]) == ("580.65.06", [], "cp312-cp312")
    assert older["options"] == {"fast": False}


def test_runs_of_the_same_bytes_are_kept_and_those_of_others_are_not(tmp_path: Path) -> None:
    first = _record(tmp_path, _build(), ("A40, 580.95.05: one",))
    assert _record(tmp_path, _build(), ("A40, 580.95.05: two",)) == first
    results = [run["result"] for run in json.loads(first.read_text())["runs"]]
    assert results == ["one", "two"]
    wheel = {**_build()["wheel"], "sha256": "cd"}  # type: ignore[dict-item]
    _record(tmp_path, _build(wheel=wheel))
    assert json.loads(first.read_text())["runs"] == []


def test_builds_for_other_archs_have_records_of_their_own(tmp_path: Path) -> None:
    one = _record(tmp_path, _build())
    plan = {**_build()["plan"], "target": {"archs": "9.0", "torch": None}}  # type: ignore[dict-item]
    assert _record(tmp_path, _build(plan=plan)) != one
    assert len(list((tmp_path / "records").iterdir())) == 2


@pytest.mark.parametrize("ran", ["A40", "A40: it ran", "A40, 580.95.05:", "A40, 580.95.05"])
def test_a_run_without_gpu_driver_or_result_is_refused(tmp_path: Path, ran: str) -> None:
    with pytest.raises(UsageError):
        _record(tmp_path, _build(), (ran,))
    assert not (tmp_path / "records").exists()


def test_a_run_on_a_gpu_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(wheelsmith.UnknownGpuError):
        _record(tmp_path, _build(), ("Voodoo 5, 580.95.05: it ran",))


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"package": "x"}')
    with pytest.raises(UsageError, match=r"x\.json"):
        wheelsmith.support_matrix(records=tmp_path)
