"""A hostile recipe, its repositories and its build requirements: planning, fetching and maintaining run none of it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import wheelsmith
from tests.support import miniature, pure_build
from wheelsmith.errors import WheelsmithError

pytestmark = pytest.mark.e2e


@pytest.fixture
def canaries(tmp_path: Path) -> Path:
    """Whatever code runs leaves a file here."""
    (tmp_path / "canaries").mkdir()
    return tmp_path / "canaries"


def python(canaries: Path, name: str) -> bytes:
    return f"open({str(canaries / name)!r}, 'w').close()\n".encode()


def shell(canaries: Path, name: str) -> str:
    return f"touch {canaries / name}"


@pytest.fixture
def mini(tmp_path: Path, canaries: Path, monkeypatch: pytest.MonkeyPatch) -> miniature.Miniature:
    """The miniature, whose every repository is after the caller."""
    made = miniature.make(tmp_path / "upstream", ballast=1000)
    for name, upstream in made.upstreams.items():
        before = upstream.git("rev-parse", "HEAD")
        run = shell(canaries, f"cmake-{name}")
        cmake = (upstream.path / "CMakeLists.txt").read_text() if name != "triton" else ""
        files = {
            "setup.py": python(canaries, f"setup-{name}"),
            "conftest.py": python(canaries, f"conftest-{name}"),
            "sitecustomize.py": python(canaries, f"sitecustomize-{name}"),
            "evil.pth": b"import os; " + python(canaries, f"pth-{name}"),
            "backend/__init__.py": python(canaries, f"backend-{name}"),
            ".gitattributes": b"* filter=evil diff=evil merge=evil\n",
            "CMakeLists.txt": f"execute_process(COMMAND {run})\n{cmake}execute_process(COMMAND {run})\n".encode(),
        }
        if name == "minillm":
            pyproject = miniature.PYPROJECT.replace(
                'build-backend = "setuptools.build_meta"', 'build-backend = "backend"\nbackend-path = ["."]'
            )
            files["pyproject.toml"] = pyproject.encode()
        commit = upstream.commit(files)
        for key in ("uploadpack.packObjectsHook", "core.fsmonitor", "filter.evil.smudge", "filter.evil.clean"):
            upstream.git("config", key, shell(canaries, f"{key}-{name}"))
        for hook in (
            "post-checkout",
            "pre-commit",
            "post-update",
            "pre-receive",
            "post-index-change",
            "fsmonitor-watchman",
        ):
            (upstream.path / f".git/hooks/{hook}").write_text(f"#!/bin/sh\n{shell(canaries, hook)}\n")
            (upstream.path / f".git/hooks/{hook}").chmod(0o755)
        if name == "minillm":
            upstream.git("tag", "-f", "v1.0")
        if name == "headers":
            upstream.git("tag", "-f", "-a", "-m", "one", "v1.0")
        if name == "triton":
            upstream.git("tag", "-f", "v3")
        text = made.recipe.read_text("utf-8")
        made.recipe.write_text(text.replace(before, commit), "utf-8")
    # A submodule that is fetched by a command, and one whose name is an option (CVE-2017-1000117, CVE-2018-17456).
    attention = made.upstreams["attention"]
    modules = f'[submodule "a"]\n\tpath = a\n\turl = ext::sh -c touch% {canaries}/ext\n'
    modules += f'[submodule "b"]\n\tpath = b\n\turl = -u./{canaries}/option\n'
    modules += f'[submodule "c"]\n\tpath = c\n\turl = ssh://-oProxyCommand=touch {canaries}/proxy/x\n'
    modules += f"\tupdate = !touch {canaries}/update\n"
    attention.commit({"more.txt": b"more"})
    (attention.path / ".gitmodules").write_text(modules)
    for name in ("a", "b", "c"):
        attention.git("update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},{name}")
    attention.git("add", ".gitmodules")
    attention.git("commit", "-q", "-m", "submodules", "--no-verify")
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(made.config))
    for path in canaries.iterdir():  # the git that made all this may have run some
        path.unlink()
    return made


def test_plan_fetch_lock_bump_and_mirror_run_nothing_of_a_recipe(mini, canaries, tmp_path):
    store = tmp_path / "store"
    where: dict[str, Any] = {"recipes": [mini.recipes]}
    made = wheelsmith.plan("minillm", **where)
    from wheelsmith.sources.fetch import fetch
    from wheelsmith.store import Store

    fetched = fetch(made, Store(store), mirrors=__import__("wheelsmith.config", fromlist=["x"]).load_config().mirrors)
    assert len(fetched) == 5
    for action in (
        lambda: wheelsmith.recipe_lock("minillm==1.0", store=store, **where),
        lambda: wheelsmith.recipe_bump("minillm", "1.1", store=store, **where),
        lambda: wheelsmith.recipe_mirror("minillm==1.0", tmp_path / "mirror", store=store, **where),
        lambda: wheelsmith.recipe_lock("minillm==1.0", source=mini.upstreams["minillm"].path, store=store, **where),
    ):
        with contextlib.suppress(WheelsmithError):  # what such a repository deserves
            action()
        assert list(canaries.iterdir()) == []


def evil_requirement(directory: Path, canaries: Path) -> tuple[Path, str]:
    """A wheel with a .pth file, on an index of its own; the index and the lock's line."""
    code = f"import sys; open({str(canaries)!r} + '/pth-of-a-requirement', 'w').close()\n"
    info = "evilreq-1.0.dist-info"
    files = {
        "evilreq.pth": code,
        "evilreq.py": "x = 1\n",
        "sitecustomize.py": code,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: evilreq\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        for name, text in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    page = directory / "simple/evilreq"
    page.mkdir(parents=True)
    wheel = page / "evilreq-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (page / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')
    return directory / "simple", f"evilreq==1.0 --hash=sha256:{digest}\n"


def test_a_build_requirement_is_installed_and_nothing_of_it_runs(tmp_path, canaries):
    index, line = evil_requirement(tmp_path / "index", canaries)
    recipes = pure_build.project(tmp_path / "project", "import evilreq")
    recipe = recipes / "toycuda.toml"
    recipe.write_text(recipe.read_text().replace("requires = []", 'requires = ["evilreq"]\nlock = "lock.txt"'))
    (recipes / "lock.txt").write_text(line)
    toolkit = pure_build.toolkit(tmp_path / "cuda")
    more = {"recipes": [recipes], "store": tmp_path / "store", "toolkit": toolkit, "index_url": index.as_uri()}
    wheelsmith.fetch("toycuda", **more)
    assert list(canaries.iterdir()) == []
    assert list((tmp_path / "store").glob("envs/*/venv/lib/python3.*/site-packages/evilreq.pth"))
    result = wheelsmith.build("toycuda", index=tmp_path / "dist", **more)
    assert result.published
    assert list(canaries.iterdir()) == []
