"""The check that modules import from the finished wheel, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.wheel_makers import build_wheel
from wheelsmith.builder.imports import check_imports
from wheelsmith.compile.sandbox import Isolation
from wheelsmith.errors import ContractError

FILES = {
    "good/__init__.py": b"import os\nassert os.environ['CUDA_VISIBLE_DEVICES'] == ''\n",
    "needs/__init__.py": b"import surely_not_there.at_all\n",
    "inner/__init__.py": b"import inner.lost\n",
    "broken/__init__.py": b"1 / 0\n",
    "linked/__init__.py": b"raise ImportError('libfar.so.1: cannot open shared object file: No such file')\n",
}


def check(tmp_path, *modules):
    wheel = build_wheel(tmp_path / "good-1-py3-none-any.whl", FILES)
    root = tmp_path / "root"
    for name in ("home", "tmp", "proof"):
        (root / name).mkdir(parents=True, exist_ok=True)
    here = SimpleNamespace(base_prefix=Path(sys.base_prefix), executable=Path(sys.executable).resolve())
    environment = SimpleNamespace(prefix=tmp_path / "none", interpreter=here)
    tools = SimpleNamespace(
        environment=environment, toolkit=SimpleNamespace(root=tmp_path), isolation=Isolation(False, None, "a test")
    )
    return check_imports(SimpleNamespace(imports=modules), wheel, root, tools)


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
