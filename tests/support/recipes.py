"""A recipe of the tests' own, and how one is written to a directory."""

from __future__ import annotations

import textwrap
from pathlib import Path

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
sha256 = "abababababababababababababababababababababababababababababababab"
"""


def write_recipe(directory: Path, name: str, text: str) -> Path:
    """Write a recipe; common indentation is removed."""
    path = directory / f"{name}.toml"
    path.write_text(textwrap.dedent(text), "utf-8")
    return path
