"""What GitHub and editors read of this project is what they take: workflows, issue forms, the development container."""

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    *(("github-workflows", path) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))),
    *(("github-issue-forms", path) for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))),
]
FORMS = [(kind if path.name != "config.yml" else "github-issue-config", path) for kind, path in FILES]


def _read(path: Path) -> dict[str, object]:
    yaml = pytest.importorskip("ruamel.yaml", reason="ruamel.yaml is not installed").YAML(typ="safe")
    read: dict[str, object] = yaml.load(path.read_text("utf-8"))  # YAML 1.2, in which `on` is text
    return read


@pytest.mark.parametrize(("kind", "path"), FORMS, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_the_file_is_what_github_s_schema_says(kind: str, path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    package = pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed").__path__[0]
    schema = json.loads(Path(package, "builtin_schemas/vendor", f"{kind}.json").read_text("utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(_read(path))] == []


def test_there_are_workflows_and_forms() -> None:
    assert [path.name for _, path in FORMS] == [
        *("release.yml", "test.yml"),
        *("build-failed.yml", "config.yml", "wrong-answer.yml"),
    ]


def test_workflows_call_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        steps = [step for job in _read(path)["jobs"].values() for step in job["steps"]]  # type: ignore[attr-defined]
        called = {
            name
            for step in steps
            for name in re.findall(r"(?:make |\'|\")(test[a-z-]*|release|docs|lint)\b", step.get("run", ""))
        }
        assert called <= targets


def test_every_python_that_the_package_takes_is_in_the_matrix_of_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    listed = [name.rsplit(" ", 1)[1] for name in project["classifiers"] if re.fullmatch(r".*Python :: 3\.\d+", name)]
    matrix = _read(ROOT / ".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert matrix == listed == ["3.11", "3.12", "3.13", "3.14"]


def test_the_development_container_has_what_the_readme_asks_for() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))
    recipe = (ROOT / ".devcontainer" / container["build"]["dockerfile"]).read_text("utf-8")
    assert re.match(r"FROM python:3\.1[1-4]-", recipe)  # with venv and headers
    assert {"g++", "make", "git"} <= set(recipe.split())
    assert {"SYS_ADMIN", "NET_ADMIN"} <= set(container["capAdd"])  # for the namespaces that confine a build
    assert ".[dev]" in container["onCreateCommand"]
