"""Shared pieces: a directory of recipes of the test's own, and a store that no other test sees."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

TOY_RECIPE = """
schema_version = 1
name = "toy"
summary = "a toy"
versions = ">=1"

[defaults]
archs = "8.6;12.0"
cuda = "13.0"

[build]
requires = ["setuptools"]

[expect]
memory_gb = 0.5
disk_gb = 0.1
cpu_minutes = 1

[releases."1.0".source.archive]
url = "https://example.invalid/toy-1.0.tar.gz"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
"""


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's store, recipes or configuration."""
    monkeypatch.setenv("WHEELSMITH_STORE", str(tmp_path_factory.mktemp("store")))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.delenv("WHEELSMITH_RECIPES", raising=False)


@pytest.fixture
def recipe_dir(tmp_path: Path) -> Path:
    """A directory with the recipe `toy`."""
    directory = tmp_path / "recipes"
    directory.mkdir()
    write_recipe(directory, "toy", TOY_RECIPE)
    return directory


def write_recipe(directory: Path, name: str, text: str) -> Path:
    """Write a recipe; common indentation is removed."""
    path = directory / f"{name}.toml"
    path.write_text(textwrap.dedent(text), "utf-8")
    return path
