"""`examples/stable-abi`: one wheel for several torch versions, built against one and loaded under that and another,
each from the package index. Gigabytes of downloads. `make test-torch`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from uv import find_uv_bin

import wheelsmith
from wheelsmith.binary.elf import exported_symbols

pytestmark = pytest.mark.torch

EXAMPLE = Path(__file__).parents[2] / "examples/stable-abi"
#: On a CPU the operator can be found and refuses: its kernel is for GPUs.
PROGRAM = """
import json, pathlib, sys, torch, softcap
try:
    softcap.softcap(torch.ones(3), 2.0)
except NotImplementedError as error:
    refused = "'CPU' backend" in str(error)
schema = str(torch.ops.softcap.softcap.default._schema)
libraries = [str(path) for path in pathlib.Path(torch.__file__).parent.glob("lib/*.so*")]
print(json.dumps([torch.__version__, refused, schema, libraries]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Against torch 2.11.0."""
    place = tmp_path_factory.mktemp("built")
    return wheelsmith.build(
        "softcap==1.0",
        arch="8.6;12.0",
        recipes=[EXAMPLE / "recipes"],
        store=place / "store",
        index=place / "dist",
        toolkit="wheels",
    )


def test_it_requires_what_was_proved_symbol_by_symbol(built):
    (library,) = built.record["report"]["libraries"]
    assert (library["torch_abi"], len(library["torch_symbols"])) == ("stable", 39)
    (required,) = [Requirement(text) for text in built.record["report"]["requires_dist"]]
    proved = built.record["torch"]["proved"]
    assert required.name == "torch"
    assert (proved[0], "2.14.0" in proved) == ("2.11.0", True)
    assert all(required.specifier.contains(version) for version in proved)
    # The recipe says >=2.10; that one is for CUDA 12, and of the newest nobody knows what comes after it.
    assert not required.specifier.contains("2.10.0")
    assert not required.specifier.contains(f"{Version(proved[-1]).major}.{Version(proved[-1]).minor + 1}.0")


@pytest.mark.parametrize("torch", ["2.11.0", "2.14.0"])
def test_the_wheel_is_installed_and_loaded_under(built, torch, tmp_path):
    python = tmp_path / "venv/bin/python"
    subprocess.run([find_uv_bin(), "venv", "-q", "--python", sys.executable, tmp_path / "venv"], check=True)
    subprocess.run(
        [find_uv_bin(), "pip", "install", "-q", "--python", python, built.wheel, f"torch=={torch}", "numpy"], check=True
    )
    done = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path, check=True)
    version, refused, schema, libraries = json.loads(done.stdout.splitlines()[-1])
    assert version.partition("+")[0] == torch
    assert (refused, schema) == (True, "softcap::softcap(Tensor x, float cap) -> Tensor")
    # The table that the requirement was made from, against the libraries themselves.
    offered = {name for path in libraries for name in exported_symbols(Path(path).read_bytes())}
    (library,) = built.record["report"]["libraries"]
    assert set(library["torch_symbols"]) <= offered
