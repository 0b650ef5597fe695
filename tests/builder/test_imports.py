"""The check that modules import from the finished wheel, in a process of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.wheel_makers import build_wheel
from wheelsmith.builder import imports
from wheelsmith.builder.imports import check_imports
from wheelsmith.compile.sandbox import Isolation
from wheelsmith.errors import ContractError

FILES = {
    "good/__init__.py": b"import os\nassert os.environ['CUDA_VISIBLE_DEVICES'] == ''\n",
    "needs/__init__.py": b"import surely_not_there.at_all\n",
    "inner/__init__.py": b"import inner.lost\n",
    "broken/__init__.py": b"1 / 0\n",
    "talks/__init__.py": b"import os\nwhile True: os.write(2, b'x' * 65536)\n",
    "prints/__init__.py": b"import os\nfor _ in range(400): os.write(1, b'x' * 65536)\n",
    "sleeps/__init__.py": b"import os, time\nos.close(2)\nwhile True: time.sleep(1)\n",
    "forks/__init__.py": b"import os, time\nif not os.fork():\n os.setsid()\n time.sleep(60)\n",
    "linked/__init__.py": b"raise ImportError('libfar.so.1: cannot open shared object file: No such file')\n",
}


def check(tmp_path, *modules):
    wheel = build_wheel(tmp_path / "good-1-py3-none-any.whl", FILES)
    root = tmp_path / "root"
    for name in ("home", "tmp", "proof"):
        (root / name).mkdir(parents=True, exist_ok=True)
    here = SimpleNamespace(base_prefix=Path(sys.base_prefix), executable=Path(sys.executable).resolve())
    environment = SimpleNamespace(prefix=tmp_path / "none", interpreter=here)
    tools: Any = SimpleNamespace(
        environment=environment, toolkit=SimpleNamespace(root=tmp_path), isolation=Isolation(False, None, "a test")
    )
    plan: Any = SimpleNamespace(imports=modules)
    return check_imports(plan, wheel, root, tools)


def test_a_module_imports_or_it_is_said_why_that_is_not_known(tmp_path):
    assert check(tmp_path) == {}
    assert check(tmp_path, "good", "needs", "linked") == {
        "good": "imported",
        "needs": "not checked: it needs surely_not_there, which the build environment does not have",
        "linked": "not checked: it needs libfar.so.1, which the build environment does not have",
    }


@pytest.mark.parametrize("module", ["broken", "inner", "good.lost"])
def test_a_fault_of_the_wheels_own_breaks_the_build(tmp_path, module):
    with pytest.raises(ContractError, match=f"module {module} does not import") as caught:
        check(tmp_path, module)
    assert "Error" in (caught.value.detail or "")


def test_a_module_that_talks_or_sleeps_without_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(imports, "_SECONDS", 5.0)
    monkeypatch.setattr(imports, "_ALL_SECONDS", 16.0)
    started = time.monotonic()
    assert check(tmp_path, "talks", "prints", "forks", "sleeps") == {
        "talks": "not checked: it had written more than 16,777,216 bytes",
        "prints": "imported",
        "forks": "imported",
        "sleeps": "not checked: it had not ended after 5 s",
    }
    assert time.monotonic() - started < 20
    monkeypatch.setattr(imports, "_ALL_SECONDS", 0.0)
    assert check(tmp_path, "good")["good"] == "not checked: it had not ended after 0 s"
