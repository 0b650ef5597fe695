"""A matrix: which cells a file has, which are refused and why, and what a run of them makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

import wheelsmith
from tests.support import pure_build, toyproject
from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.cli.main import main
from wheelsmith.errors import InterruptedBuildError, TargetError, UsageError
from wheelsmith.events import Event
from wheelsmith.planning.matrix import expand

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
LOCAL = '\n[wheel]\nlocal_version = "cu{cuda_digits}"\n'


def write(directory: Path, text: str) -> Path:
    path = directory / "wheels.toml"
    path.write_text(f"schema_version = 1\n{text}")
    return path


def told(path: Path) -> list[tuple[str | None, ...]]:
    cells = expand(path, lambda requirement: requirement.startswith("torchy"))
    return [(one.package, one.python, one.cuda, one.torch, one.gpus) for one in cells]


def test_the_cells_of_a_matrix(tmp_path):
    path = write(
        tmp_path,
        """
python = ["3.11", "3.12"]
torch = ["2.9.1", "2.10.0"]
[[package]]
requirement = "Plain==1.0"
cuda = ["12.8", "13.0"]
[[package]]
requirement = "torchy"
python = ["3.12"]
gpus = ["8.6;12.0", "9.0"]
[[exclude]]
package = "plain"
python = "3.11"
cuda = "12.8"
[[exclude]]
torch = "2.10.0"
gpus = "9.0"
[[include]]
requirement = "torchy"
python = "3.13"
[[include]]
requirement = "torchy"
python = "3.13"
""",
    )
    assert told(path) == [
        ("plain", "3.11", "13.0", None, None),
        ("plain", "3.12", "12.8", None, None),
        ("plain", "3.12", "13.0", None, None),
        ("torchy", "3.12", None, "2.9.1", "8.6;12.0"),
        ("torchy", "3.12", None, "2.9.1", "9.0"),
        ("torchy", "3.12", None, "2.10.0", "8.6;12.0"),
        ("torchy", "3.13", None, None, None),
    ]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "wheels.toml names no package."),
        ("[[package]]\nrequirment = 'a'", "wheels.toml:3: unknown key 'package.0.requirment'."),
        ("python = '3.11'\n[[package]]\nrequirement = 'a'", "wheels.toml:2: python: expected list, got text."),
        ("python = ['3']\n[[package]]\nrequirement = 'a'", "wheels.toml:2: python.0: '3' does not match the pattern"),
        (
            "[[package]]\nrequirement = 'a b'",
            "wheels.toml:3: package.0.requirement: not a requirement (PEP 508): 'a b'",
        ),
        (
            "[[package]]\nrequirement = 'a'\n[[exclude]]\npython = '3.9'",
            "wheels.toml:4: this [[exclude]] fits no cell: python = '3.9'.",
        ),
        ("[[package]]\nrequirement = 'a'\n[[exclude]]\npackage = 'A'", "wheels.toml excludes all of its cells."),
        (
            f"gpus = {['9.0'] * 70}\ncuda = {['12.8'] * 70}\n[[package]]\nrequirement = 'a'",
            "wheels.toml has more than 4,096 cells.",
        ),
    ],
)
def test_a_file_that_is_wrong(tmp_path, text, cause):
    with pytest.raises(UsageError) as caught:
        expand(write(tmp_path, text), lambda requirement: False)
    assert caught.value.cause.removeprefix(f"{tmp_path}/").startswith(cause)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        wheelsmith.matrix(tmp_path / "none.toml")


def test_its_schema_takes_the_example_and_refuses_a_slip():
    import tomllib

    example = tomllib.loads((ROOT / "examples/ci/wheels.toml").read_text())
    jsonschema.validate(example, wheelsmith.matrix_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(example | {"pyton": ["3.11"]}, wheelsmith.matrix_schema())


def test_what_cannot_be_built_is_named_with_its_reason(tmp_path, recipe_dir):
    write_recipe(recipe_dir, "local", TOY_RECIPE.replace('"toy"', '"local"') + LOCAL)
    path = write(
        tmp_path,
        """
[[package]]
requirement = "local"
cuda = ["13.0", "9.2"]
gpus = ["8.6", "9.0"]
[[package]]
requirement = "nobody"
[[include]]
requirement = "local"
gpus = "8.6"
""",
    )
    made = wheelsmith.matrix(path, recipes=[recipe_dir])
    # The last one comes to the plan of the first.
    assert [(one.planned.id, one.state) for one in made.cells][:2] == [
        (made.cells[0].planned.id, "planned"),
        (made.cells[1].planned.id, "planned"),  # another GPU is another local version
    ]
    assert made.cells[0].planned.id.startswith("local-1.0-py3.")
    assert made.cells[0].planned.id.endswith("-cu13.0-8.6")
    assert len(made.cells) == 5
    assert made.cells[1].planned.plan.requirement == "local==1.0+cu130.sm90"
    causes = [one.error.cause for one in made.cells[2:]]
    assert "CUDA 9.2" in causes[0]
    assert causes[2] == "There is no recipe for 'nobody'."
    assert made.exit_code == TargetError.exit_code
    with pytest.raises(
        TargetError, match=r"^3 cells of the 5 of .*wheels\.toml cannot be built; nothing was started\.$"
    ) as e:
        wheelsmith.build_matrix(path, recipes=[recipe_dir], store=tmp_path / "store", index=tmp_path / "dist")
    assert len(e.value.detail.splitlines()) == 3
    assert not (tmp_path / "dist").exists()
    with pytest.raises(UsageError, match="has no cell 'local-1'"):
        wheelsmith.matrix(path, recipes=[recipe_dir], cells=["local-1"])


class Ground:
    """Two packages, of which the second can be told to fail, and a matrix of both."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.recipes = pure_build.project(root / "p")
        inside = "if pathlib.Path(settings['fail']).exists(): raise SystemExit('told to fail')"
        content = {
            "pyproject.toml": pure_build.PYPROJECT,
            "backend.py": pure_build.BACKEND,
            "inside.py": "",
            "lib.b64": (self._library(root)),
        }
        other = root / "q"
        other.mkdir()
        content["inside.py"] = "import time\n" + inside.replace("settings['fail']", "'fail'")
        content |= {"fail": ""}
        self.failing = self._other(other, content)
        self.toolkit = str(pure_build.toolkit(root / "cuda"))
        self.matrix = write(root, "[[package]]\nrequirement = 'toyother'\n[[package]]\nrequirement = 'toycuda'\n")

    def _library(self, root: Path) -> str:
        import tarfile

        with tarfile.open(root / "p/toycuda-1.0.tar.gz") as archive:
            return archive.extractfile("toycuda-1.0/lib.b64").read().decode()

    def _other(self, place: Path, content: dict[str, str]) -> Path:
        renamed = {name: text.replace("toycuda", "toyother") for name, text in content.items()}
        recipe = pure_build.RECIPE.replace("toycuda", "toyother").replace("SETTINGS", "")
        recipes = toyproject.make(place, renamed, recipe)
        (recipes / "toycuda.toml").rename(recipes / "toyother.toml")
        return recipes

    def mend(self) -> None:
        """The second package builds from now on: its recipe removes what makes it fail."""
        recipe = self.failing / "toyother.toml"
        patch = (
            '\n[[patch]]\nwhy = "mended"\nfile = "inside.py"\nfind = "raise SystemExit"\nreplace = "print"\ncount = 1\n'
        )
        recipe.write_text(recipe.read_text() + patch)

    def build(self, store: str = "store", **more):
        return wheelsmith.build_matrix(
            self.matrix,
            store=self.root / store,
            index=self.root / "dist",
            toolkit=self.toolkit,
            environment="current",
            recipes=[self.recipes, self.failing],
            **more,
        )


@pytest.fixture
def ground(tmp_path):
    return Ground(tmp_path)


def test_one_fails_and_the_other_is_built_and_the_next_run_goes_on(ground, tmp_path, capfd, monkeypatch):
    said: list[Event] = []
    made = ground.build(listener=said.append)
    assert [one.state for one in made.cells] == ["failed", "built"]
    assert made.exit_code == 40
    done = [(event.state, event.cell) for event in said if isinstance(event, wheelsmith.CellDone)]
    assert [state for state, _ in done] == ["failed", "built"]
    document = made.to_dict()
    jsonschema.validate(document, wheelsmith.document_schema("matrix"))
    assert document["counts"] == {"failed": 1, "built": 1}
    assert "told to fail" in Path(document["cells"][0]["log"]).read_text()

    # Elsewhere, without anything of the first store: the index has the one, and the other is mended.
    ground.mend()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        monkeypatch.setenv(name, str(tmp_path / name))
    options = ["--store", tmp_path / "other", "--index", tmp_path / "dist", "--toolkit", ground.toolkit, "--quiet"]
    options += ["--env", "current", "--recipes", ground.recipes, "--recipes", ground.failing, "--json"]
    assert main(["build", "--matrix", str(ground.matrix), "--report", str(tmp_path / "r"), *map(str, options)]) == 0
    out = capfd.readouterr().out
    printed = json.loads(out)
    assert [cell["state"] for cell in printed["cells"]] == ["built", "published"]
    assert printed["cells"][1]["sha256"] == document["cells"][1]["sha256"]
    assert json.loads((tmp_path / "r/matrix.json").read_text()) == printed
    assert (tmp_path / "r" / f"{printed['cells'][0]['id']}.log").is_file()
    cases = ET.parse(tmp_path / "r/junit.xml").getroot().findall("testcase")
    assert [case.get("name") for case in cases] == [cell["id"] for cell in printed["cells"]]
    names = " ".join(sorted(path.name for path in (tmp_path / "dist").glob("*.whl")))
    assert (tmp_path / "GITHUB_OUTPUT").read_text() == f"wheels={names}\nready=2\nmissing=0\n"
    assert "| built |" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()


def test_an_interrupt_ends_the_run_and_says_what_was_not_begun(ground, monkeypatch):
    def interrupted(*args, **more):
        raise InterruptedBuildError("Interrupted.", "Again.")

    monkeypatch.setattr("wheelsmith.api.matrices.build", interrupted)
    made = ground.build()
    assert [one.state for one in made.cells] == ["interrupted", "not begun"]
    assert made.exit_code == 130


def test_another_plans_wheel_in_the_index_is_known_before_anything_starts(ground, tmp_path):
    made = ground.build(
        cells=[
            wheelsmith.matrix(ground.matrix, recipes=[ground.recipes, ground.failing], environment="current")
            .cells[1]
            .planned.id
        ]
    )
    assert [one.state for one in made.cells] == ["built"]
    recipe = ground.recipes / "toycuda.toml"
    recipe.write_text(recipe.read_text().replace('archs = "8.6;12.0"', 'archs = "12.0"'))
    with pytest.raises(TargetError, match="1 cell of the 2") as caught:
        ground.build()
    assert "which is not of this build" in caught.value.detail


def refused(cell: str, cause: str):
    error = {"code": 40, "name": "CompileError", "cause": cause, "remedy": "mend it", "detail": "a\nb"}
    facts = dict.fromkeys(("python", "cuda", "torch", "gpus", "archs", "wheel_version", "plan_digest", "log", "cached"))
    facts |= {"id": cell, "requirement": "a", "options": {}, "state": "failed", "wheel": None, "sha256": None}
    return facts | {"size": None, "seconds": 1.0, "error": error}


def test_what_strangers_write_commands_no_ci(tmp_path):
    hostile = "bad | <b>x</b> `y`\n::set-output name=a::b"
    document: Any = {"schema_version": 1, "matrix": "m", "index": None, "counts": {"failed": 1}, "seconds": 1.0}
    document["cells"] = [refused("one", hostile)]
    annotation = wheelsmith.matrix_report(document, "github")
    assert annotation == (
        "::error title=wheelsmith%3A one failed::bad | <b>x</b> `y`%0A::set-output name=a::b"
        "%0AWhat to do: mend it%0Aa%0Ab\n"
    )
    assert "<b>" not in wheelsmith.matrix_report(document, "markdown")
    case = ET.fromstring(wheelsmith.matrix_report(document, "junit")).find("testcase/failure")
    assert case.get("message") == hostile.replace("\n", "\n")


def checked(kind: str, *files: Path) -> None:
    """Hold files against the schema of their system, as check-jsonschema carries it."""
    schemas = pytest.importorskip("check_jsonschema").__path__[0]
    yaml = pytest.importorskip("ruamel.yaml").YAML(typ="safe")  # YAML 1.2, in which `on` is text
    schema = json.loads(Path(schemas, "builtin_schemas/vendor", f"{kind}.json").read_text("utf-8"))
    for file in files:
        data = yaml.load(file.read_text("utf-8"))
        validator = jsonschema.validators.validator_for(schema)(schema)
        assert [error.message for error in validator.iter_errors(data)] == []


def test_the_ci_examples_are_what_their_systems_take(tmp_path):
    made = wheelsmith.matrix(ROOT / "examples/ci/wheels.toml")
    assert [(one.state, one.planned.cell.package) for one in made.cells] == [
        *[("planned", "cuvec")] * 3,
        *[("planned", "causal-conv1d")] * 2,
    ]
    jobs = json.loads(wheelsmith.matrix_jobs(made, "github"))
    assert [job["cell"] for job in jobs["include"]] == [one.planned.id for one in made.cells]
    assert jobs["include"][0]["python"] == "3.11"
    assert "\n" not in wheelsmith.matrix_jobs(made, "github")
    checked("github-workflows", ROOT / "examples/ci/github.yml")
    cells = tmp_path / "cells.yml"
    cells.write_text((ROOT / "examples/ci/gitlab-cell.yml").read_text() + wheelsmith.matrix_jobs(made, "gitlab"))
    checked("gitlab-ci", ROOT / "examples/ci/gitlab.yml", cells)
    assert cells.read_text().count("extends: .wheelsmith-cell") == 5
    nothing = tmp_path / "nothing.yml"
    document = made.to_dict()
    from wheelsmith.report.matrix import github_jobs, gitlab_jobs

    for cell in document["cells"]:
        cell["state"] = "published"
    nothing.write_text((ROOT / "examples/ci/gitlab-cell.yml").read_text() + gitlab_jobs(document))
    checked("gitlab-ci", nothing)
    assert github_jobs(document) == '{"include":[]}'


def test_the_command_says_what_it_needs(capsys, tmp_path):
    assert main(["matrix"]) == 2
    assert main(["build"]) == 2
    assert main(["build", "--matrix", "x.toml", "--cuda", "13.0"]) == 2
    err = capsys.readouterr().err
    assert "No matrix is named." in err
    assert "No package is named." in err
    assert "--matrix says itself what is built, and --cuda does too." in err
