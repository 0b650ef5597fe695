"""`--env current`: what identifies an environment that wheelsmith did not make."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.source_servers import plan_of
from wheelsmith.errors import EnvironmentBuildError
from wheelsmith.events import ignore
from wheelsmith.planning.model import GitSource
from wheelsmith.store import Store
from wheelsmith.toolchain.environment import provide_environment
from wheelsmith.toolchain.python import running_python
from wheelsmith.toolchain.uv import Uv


class Site:
    """A directory of installed packages, as the running interpreter sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def install(self, name: str, version: str = "1", requires: str = "", content: str = "a", by: str = "pip") -> None:
        info = self.path / f"{name}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (self.path / name).mkdir(exist_ok=True)  # importlib_metadata, once imported, leaves out files that are missing
        (self.path / name / "x.h").write_text(content)
        lines = [f"Requires-Dist: {text}\n" for text in requires.split(", ") if text]
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{''.join(lines)}")
        record = f"{name}/x.h,sha256={content},1\n{name}-{version}.dist-info/INSTALLER,sha256={by},4\n"
        (info / "RECORD").write_text(record + f"../../../bin/{name},sha256={by},9\n")

    def digest(self, *requires: str) -> str:
        plan = plan_of(GitSource("https://host.invalid/x", "1" * 40, None))
        target = dataclasses.replace(plan.target, python=running_python(), environment="current")
        plan = dataclasses.replace(plan, target=target, requires=requires)
        return provide_environment(plan, Store(self.path.parent / "store"), Uv(True, None, ignore)).digest


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path / "site")
    monkeypatch.syspath_prepend(str(made.path))
    made.install("zz_top", requires="zz_below>=1, zz_extra; extra == 'more', zz_absent; python_version < '3'")
    made.install("zz_below", requires="zz_top")  # a ring: it ends all the same
    made.install("zz_extra")
    return made


def test_a_package_that_the_plan_does_not_need_may_come_and_go(site: Site) -> None:
    before = site.digest("zz_top")
    site.install("zz_other")
    site.install("zz_extra", content="b")
    site.install("zz_below", requires="zz_top", by="uv")  # the same files, installed by another tool
    assert site.digest("zz_top") == before


def test_what_the_plan_needs_counts_down_to_its_files(site: Site) -> None:
    digests = [site.digest("zz_top"), site.digest("zz_top[more]")]
    site.install("zz_below", content="b")
    digests.append(site.digest("zz_top"))
    site.install("zz_extra", content="b")
    digests.append(site.digest("zz_top[more]"))
    assert len(set(digests)) == 4


def test_what_is_missing_is_named(site: Site) -> None:
    with pytest.raises(EnvironmentBuildError, match=r"zz_gone is not installed; zz-below is 1, not >=2"):
        site.digest("zz_gone", "zz-below>=2")


@pytest.mark.e2e
def test_who_compiles_bytecode_dies_with_wheelsmith(tmp_path):
    from wheelsmith.toolchain import environment

    for number in range(150):
        (tmp_path / f"m{number}.py").write_text("x = [\n" + "    (1, 'a', None),\n" * 2000 + "]\n")
    command = [sys.executable, "-IS", "-c", environment._BYTECODE, str(tmp_path)]
    process = subprocess.Popen(command)
    while not list(tmp_path.glob("__pycache__/*.pyc")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    time.sleep(0.3)
    made = len(list(tmp_path.glob("__pycache__/*.pyc")))
    time.sleep(0.5)
    assert len(list(tmp_path.glob("__pycache__/*.pyc"))) == made < 150
    subprocess.run(command, check=True)
    assert len(list(tmp_path.glob("__pycache__/*.pyc"))) == 150
