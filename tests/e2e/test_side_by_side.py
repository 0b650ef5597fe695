"""Wheels of one release for two sets of GPUs lie in one index, and each client gets the one that was meant.

docs/recipes.md, "What a wheel is called", says what pip and uv take: held to it with wheels that were compiled.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

import wheelsmith
from tests.support import toyproject

pytestmark = pytest.mark.e2e

DEFAULT, MORE = "1.0+cu130", "1.0+cu130.sm86.sm89.sm120"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with the default's wheel, and with one that runs on an RTX 4090 as well, in the wrong order."""
    top = tmp_path_factory.mktemp("side-by-side")
    recipes = toyproject.make(top)
    for archs in ("8.6;8.9;12.0", "8.6;12.0"):
        wheelsmith.build(
            "toycuda", arch=archs, recipes=[recipes], store=top / "store", index=top / "dist", toolkit="wheels"
        )
    return top / "dist"


def archs_of(target: Path) -> set[str]:
    """What the installed library has machine code for, as `inspect` says."""
    return {str(code.arch) for library in wheelsmith.inspect(target).libraries for code in library.code}


def install(client: str, page: Path, requirement: str, target: Path) -> str:
    """The version that a real pip or uv installs from one page of the index."""
    tool: list[str] = [find_uv_bin(), "pip"] if client == "uv" else [sys.executable, "-m", "pip", "--isolated"]
    command = [
        *tool,
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(target),
        "--index-url",
        page.as_uri(),
        requirement,
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    subprocess.run(command, check=True, env=environment | {"UV_NO_CACHE": "1"}, timeout=120)
    (found,) = target.glob("toycuda-*.dist-info")
    return found.name.removeprefix("toycuda-").removesuffix(".dist-info")


@pytest.mark.parametrize("client", ["pip", "uv"])
@pytest.mark.parametrize(
    ("page", "requirement", "version", "archs"),
    [
        ("simple", f"toycuda=={DEFAULT}", DEFAULT, {"8.6", "12.0"}),
        ("simple", f"toycuda=={MORE}", MORE, {"8.6", "8.9", "12.0"}),
        ("simple", "toycuda==1.0", MORE, {"8.6", "8.9", "12.0"}),  # PEP 440: the longest local version is the newest
        ("cu130/simple", "toycuda", DEFAULT, {"8.6", "12.0"}),
        ("cu130-sm86.sm89.sm120/simple", "toycuda", MORE, {"8.6", "8.9", "12.0"}),
    ],
)
def test_each_client_gets_the_wheel_that_was_meant(index, tmp_path, client, page, requirement, version, archs):
    assert install(client, index / page, requirement, tmp_path / "site") == version
    assert archs_of(tmp_path / "site") == archs


def test_the_files_differ_in_what_they_are_for_and_in_nothing_that_a_client_compares(index):
    wheels = sorted(index.glob("*.whl"))
    assert [wheel.name.split("-")[1] for wheel in wheels] == [DEFAULT, MORE]
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            names = {name.partition("/")[0] for name in archive.namelist()}
        assert names == {"toycuda", f"toycuda-{wheel.name.split('-')[1]}.dist-info"}
