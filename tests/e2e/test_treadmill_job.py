"""The nightly job of examples/ci: each of its steps run by bash here, against a package index and a remote of the
test's own; what stands for the forge's own program only notes what it is asked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources.test_crates import archive
from tests.support.recipes import TOY_RECIPE, write_recipe
from tests.support.source_servers import Server, serving

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
EXPRESSION = re.compile(r"\$\{\{\s*([\w.]+)\s*\}\}")
GH = '#!/bin/sh\necho "$@" >> "$GH_LOG"\n[ "$2" != view ]\n'


class Job:
    """A checkout with a remote, and the environment of a step."""

    def __init__(self, root: Path, index: str) -> None:
        yaml = pytest.importorskip("ruamel.yaml").YAML(typ="safe")
        self.jobs = yaml.load((ROOT / "examples/ci/treadmill-github.yml").read_text("utf-8"))["jobs"]
        self.work, self.log, programs = root / "work", root / "gh.log", root / "bin"
        for directory in (self.work / "recipes", programs, root / "home"):
            directory.mkdir(parents=True)
        (programs / "gh").write_text(GH)
        (programs / "gh").chmod(0o755)
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = os.environ | {
            "PATH": path,
            "GH_LOG": str(self.log),
            "HOME": str(root / "home"),
            "GITHUB_OUTPUT": str(root / "output"),
            "WHEELSMITH_STORE": str(root / "store"),
            "UV_DEFAULT_INDEX": index,
        }
        write_recipe(self.work / "recipes", "toy", TOY_RECIPE.replace('versions = ">=1"', 'versions = ">=1,<2"'))
        self.git("init", "--quiet", "--bare", str(root / "origin.git"))
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("add", "--all")
        self.git("-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "--quiet", "--message", "one")
        self.git("remote", "add", "origin", str(root / "origin.git"))

    def git(self, *words: str) -> str:
        command = ["git", *words]
        return subprocess.run(command, cwd=self.work, check=True, capture_output=True, text=True).stdout

    def run(self, job: str, **values: str) -> None:
        """Every step of a job that runs something, but that which fetches wheelsmith."""

        def filled(text: str) -> str:
            return EXPRESSION.sub(lambda match: values[match[1].replace(".", "_")], text)

        for step in self.jobs[job]["steps"]:
            if "run" in step and step["name"] != "Get wheelsmith":
                variables = {name: filled(text) for name, text in step.get("env", {}).items()}
                command = ["bash", "-e", "-o", "pipefail", "-c", filled(step["run"])]
                done = subprocess.run(
                    command,
                    cwd=self.work,
                    env=self.environment | variables,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{step['name']}: {done.stdout}{done.stderr}"

    @property
    def behind(self) -> list[str]:
        output = Path(self.environment["GITHUB_OUTPUT"]).read_text("utf-8")
        return json.loads(output.splitlines()[-1].removeprefix("behind="))


def offer(server: Server, version: str) -> None:
    """Another sdist of toy on the index."""
    pyproject = '[build-system]\nrequires = ["setuptools", "ninja"]\n[project]\nname = "toy"\n'
    data = archive(f"toy-{version}", {"pyproject.toml": pyproject, "setup.py": ""})
    name, digest = f"toy-{version}.tar.gz", hashlib.sha256(data).hexdigest()
    server.pages[f"/files/{name}"] = ("application/gzip", data)
    page = server.pages.get("/simple/toy/", ("", b""))[1]
    page += f'<a href="/files/{name}#sha256={digest}">{name}</a>\n'.encode()
    server.pages["/simple/toy/"] = ("text/html", page)


def test_the_nightly_job_rehearses_what_is_new_and_opens_the_change_once(tmp_path):
    with serving() as server:
        offer(server, "1.0")
        job = Job(tmp_path, f"{server.url}/simple")
        job.run("status")
        assert job.behind == []

        offer(server, "2.0")
        job.run("status")
        assert job.behind == ["toy"]
        assert "toy" in (job.work / "status.html").read_text("utf-8")
        job.run("bump", matrix_name="toy", github_token="t")

    job.git("fetch", "--quiet", "origin")
    change = job.git("show", "--format=%s", "origin/treadmill/toy")
    assert change.startswith("recipes: toy, the newest version\n")
    assert '+versions = ">=1,<3"' in change
    assert '+[releases."2.0".source.sdist]' in change
    assert '+  "ninja",' in change
    asked = job.log.read_text("utf-8").splitlines()
    assert [line.split()[:2] for line in asked] == [["pr", "view"], ["pr", "create"]]
    assert "toy 2.0: the proposal decides all of" in (job.work / "body.md").read_text("utf-8")
