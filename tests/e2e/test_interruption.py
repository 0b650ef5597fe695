"""What an interruption costs, with real compilers: device passes that had ended are not compiled again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.interrupt import unit
from tests.support import toyproject

pytestmark = pytest.mark.e2e


def passes(store: Path) -> int:
    """Device passes whose results are kept. Beside them only cudafe++'s is, which comes first, before the unit has
    ended: ccache's entries come then."""
    return sum(not path.name.startswith(".") for path in (store / "objects").glob("*/*/*")) - 1


@pytest.mark.timeout(600)
def test_device_passes_that_had_ended_are_not_compiled_again_though_the_unit_was_killed(tmp_path):
    content = toyproject.files() | {"one.cu": unit(1)}
    content["CMakeLists.txt"] = content["CMakeLists.txt"].replace("one.cu two.cu three.cu", "one.cu")
    recipes, store = toyproject.make(tmp_path, content), tmp_path / "store"
    command = [sys.executable, "-m", "wheelsmith", "build", "toycuda", "--recipes", recipes, "--store", store]
    command += ["--index", tmp_path / "dist", "--toolkit", "wheels", "--json", "--jobs", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while passes(store) < 2:  # cicc and ptxas of the first arch
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.wait(120) == 130
    kept = passes(store)
    assert 2 <= kept < 4
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    use = json.loads(again.stdout)["record"]["compile"]["cache"]
    assert (use["device_hits"], use["device_misses"]) == (kept, 4 - kept)
