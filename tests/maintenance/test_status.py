"""How recipes stand to their upstream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import wheelsmith
from tests.maintenance.test_update import stored_sdist
from tests.support.recipes import TOY_RECIPE, write_recipe

ROOT = Path(__file__).parents[2]
UNLOCKED = '[[tree]]\nname = "t"\n[tree.git]\nurl = "https://example.invalid/t.git"\ntag = "v1"\n'


def test_status_says_how_far_behind_a_recipe_is_and_what_blocks(tmp_path: Path, recipe_dir: Path) -> None:
    write_recipe(recipe_dir, "toy", f"# UNDECIDED 1.0: something\n{TOY_RECIPE}{UNLOCKED}")
    for version in ("1.1", "2.0"):
        stored_sdist(tmp_path / "s", version)
    options: dict[str, Any] = {"offline": True, "store": tmp_path / "s", "recipes": [recipe_dir]}
    (row,) = wheelsmith.recipe_status(["toy"], **options)["recipes"]
    assert (row["pinned"], row["newest"], row["behind"], row["rehearsed"]) == ("1.0", "2.0", ["1.1", "2.0"], None)
    assert row["blocks"] == ["1.0: the tree t is not locked", "1.0: something"]
    wheelsmith.recipe_bump("toy", "2.0", sdist=True, **options)
    made = wheelsmith.recipe_status(["toy"], **options)
    (row,) = made["recipes"]
    assert (row["rehearsed"], row["rehearsal"].startswith("toy 2.0")) == ("2.0", True)
    assert "<td>2.0</td>" in wheelsmith.recipe_status_page(made)


def test_an_upstream_that_cannot_be_asked_is_an_answer(tmp_path: Path, recipe_dir: Path) -> None:
    write_recipe(recipe_dir, "toy", TOY_RECIPE)
    (row,) = wheelsmith.recipe_status(["toy"], offline=True, store=tmp_path / "s", recipes=[recipe_dir])["recipes"]
    assert (row["newest"], row["behind"]) == (None, [])
    assert row["problem"].startswith("Offline, ")


def test_a_page_shows_text_of_a_recipe_as_text() -> None:
    row: Any = {
        "name": "a<b>",
        "pinned": "1",
        "newest": None,
        "behind": [],
        "rehearsed": None,
        "rehearsed_at": None,
        "rehearsal": "",
        "blocks": ["<script>"],
        "problem": "p",
    }
    page = wheelsmith.recipe_status_page({"schema_version": 1, "at": "now", "recipes": [row]})
    assert "<script>" not in page
    assert "a&lt;b&gt;" in page


def test_the_nightly_job_is_what_its_system_takes() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = pytest.importorskip("check_jsonschema").__path__[0]
    yaml = pytest.importorskip("ruamel.yaml").YAML(typ="safe")
    schema = json.loads(Path(schemas, "builtin_schemas/vendor/github-workflows.json").read_text("utf-8"))
    data = yaml.load((ROOT / "examples/ci/treadmill-github.yml").read_text("utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(data)] == []
