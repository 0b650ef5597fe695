"""Variants: what they are called, and what their paths show."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.index_wheels import make_wheel
from tests.support.looking import all_pages, files_on, listed
from wheelsmith.errors import UsageError
from wheelsmith.index.location import open_storage
from wheelsmith.index.manage import remove
from wheelsmith.index.publish import publish
from wheelsmith.index.variant import check_name, derive, fits


@pytest.mark.parametrize(
    ("version", "requirements", "variant"),
    [
        ("1.0", [], None),
        ("1.0+cu130", [], "cu130"),
        ("0.15.1+cu128", ["torch==2.9.1"], "cu128-torch2.9"),
        ("1.0+cu128", ["torch>=2.9"], "cu128"),
        ("1.0+cu128", ["torch~=2.10.0"], "cu128-torch2.10"),
        ("1.0+cu128", ["torch~=2.9"], "cu128"),
        ("1.0+cu128", ["Torch==2.9.*"], "cu128-torch2.9"),
        ("1.0+cu128", ["torch==2.9.1; extra == 'all'"], "cu128"),
        ("1.0+cu130torch2.9", [], "cu130-torch2.9"),
        ("1.0+cu130.torch2.9.1", [], "cu130-torch2.9"),
        ("1.0+pt29cu128", [], "cu128-torch2.9"),
        ("1.0+rocm7.0", [], "rocm7.0"),
        ("1.0+cpu", ["torch==2.9.0"], "cpu-torch2.9"),
        ("1.0+ubuntu1", [], None),
    ],
)
def test_a_variant_is_told_by_local_version_and_torch_pin(
    version: str, requirements: list[str], variant: str | None
) -> None:
    assert derive(Version(version), map(Requirement, requirements)) == variant


def test_a_path_shows_what_contradicts_none_of_its_parts() -> None:
    place = "cu128-torch2.9"
    assert [fits(one, place) for one in (None, "cu128", "torch2.9", "cu128-torch2.9")] == [True] * 4
    assert [fits(one, place) for one in ("cu130", "cu128-torch2.10", "cu128-torch2.9-sm120")] == [False] * 3
    assert fits("cu130", "")


@pytest.mark.parametrize("name", ["simple", "pub", "..", "a/b", "CU128", "", ".wheelsmith", "cu128-", "records"])
def test_a_variant_cannot_be_called_like_a_folder_of_the_index(name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a variant"):
        check_name(name)


def test_each_variant_has_a_path_and_each_publication_one_that_never_changes(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "dist")
    wheels = {
        name: make_wheel(tmp_path / name, *name.split("-"), metadata=needs)
        for name, needs in {
            "plain-1.0": "",
            "ops-1.0+cu130": "",
            "ext-2.0+cu130": "Requires-Dist: torch==2.9.1\n",
            "ext-2.0+cu90": "Requires-Dist: torch==2.9.1\n",  # sorts above +cu130 as text
        }.items()
    }
    (plain,) = publish([wheels["plain-1.0"]], storage)
    (first,) = publish([wheels["ext-2.0+cu90"]], storage)
    frozen = {key: page for key, page in all_pages(storage).items() if key.startswith("pub/")}
    publish([wheels["ops-1.0+cu130"], wheels["ext-2.0+cu130"]], storage)

    assert listed(storage) == ["ext", "ops", "plain"]
    assert listed(storage, "cu90-torch2.9") == ["ext", "plain"]
    assert listed(storage, "cu130") == ["ops", "plain"]
    assert listed(storage, "cu130-torch2.9") == ["ext", "ops", "plain"]
    assert len(files_on(storage, "ext")) == 2
    assert files_on(storage, "ext", "cu130-torch2.9") == {"ext-2.0+cu130-py3-none-any.whl"}
    assert files_on(storage, "plain", "cu130") == {"plain-1.0-py3-none-any.whl"}
    assert listed(storage, f"pub/{first.publication}") == ["ext"]
    assert files_on(storage, "ext", f"pub/{first.publication}") == {"ext-2.0+cu90-py3-none-any.whl"}
    assert files_on(storage, "plain", f"pub/{plain.publication}") == {"plain-1.0-py3-none-any.whl"}
    now = all_pages(storage)
    assert {key: now.get(key) for key in frozen} == frozen
    assert len(frozen) == 8

    remove(storage, "ext==2.0+cu90", force=True)
    assert listed(storage, "cu90-torch2.9") is None
    assert files_on(storage, "plain", "cu90-torch2.9") == set()


def test_a_given_variant_outranks_the_derived_one(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "dist")
    (result,) = publish([make_wheel(tmp_path, "ext", "1.0+cu130")], storage, variant="cu130-torch2.9")
    assert result.variant == "cu130-torch2.9"
    assert listed(storage, "cu130-torch2.9") == ["ext"]
    assert listed(storage, "cu130") is None
