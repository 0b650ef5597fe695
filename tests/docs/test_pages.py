"""The documentation keeps to the program: its commands exist, its examples run, its tables name what the code reads."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import wheelsmith
from tests.support.pages import Block, blocks, commands
from wheelsmith import errors, variables
from wheelsmith.cli.main import parser
from wheelsmith.config import KEYS
from wheelsmith.errors import UsageError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = [(page, block, command) for page in PAGES for block in blocks(page) for command in commands(block)]
FILES = [block for page in PAGES for block in blocks(page) if block.language in ("toml", "yaml")]
STORIES = [
    page for page in PAGES if any(block.language in ("sh", "python") and not block.why for block in blocks(page))
]


#: What newcomers looked for, and the page that has it.
LOOKED_FOR = {
    "installing": "howto/install.md",
    "vLLM, from build to serving": "howto/vllm.md",
    "a first recipe": "tutorial.md#6-a-recipe-of-your-own",
    "CI": "howto/ci.md",
    "settings and environment": "reference/environment.md",
    "TLS and proxies": "howto/company.md",
    "credentials of buckets": "howto/buckets.md",
    "why it failed": "diagnostics.md",
    "Python API": "reference/python.md",
    "upgrading": "howto/upgrade.md",
}


def _name(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else ""


def _words(command: str) -> list[str]:
    """The words of the program's own call: without variables before it, and what the shell does with its output."""
    plain = re.split(r" (?:\|\|?|&&|>|2>&1|#)(?: |$)", command.replace("…", "X"))[0]
    words = shlex.split(plain, comments=True)
    return words[next(i for i, word in enumerate(words) if word == "wheelsmith") + 1 :]


@pytest.mark.parametrize("what", LOOKED_FOR)
def test_the_first_page_leads_to_what_newcomers_look_for(what: str) -> None:
    assert f"]({LOOKED_FOR[what]})" in (ROOT / "docs" / "index.md").read_text("utf-8")


def test_the_pages_show_commands() -> None:
    assert len(SHOWN) > 45


def test_every_command_on_every_page_exists_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for page, block, command in SHOWN:
        words = _words(command)
        if any(word in ("X", "COMMAND") for word in words[:1]):
            continue
        try:
            _, unknown = parser().parse_known_args(words)
        except (SystemExit, UsageError) as error:
            if not (isinstance(error, SystemExit) and error.code == 0):  # --help, --version
                wrong.append(f"{page.name}:{block.line}: {command}: {error}")
        else:
            if unknown:
                wrong.append(f"{page.name}:{block.line}: {command}: unknown {unknown}")
    assert wrong == []


def test_every_command_named_within_a_sentence_exists() -> None:
    wrong = []
    for page in PAGES:
        for span in re.findall(r"`wheelsmith ([a-z][^`]*)`", page.read_text("utf-8")):
            words = shlex.split(span.partition("|")[0])
            command, known = parser(), {"--json", "--quiet", "--help"}
            while choices := next((a.choices for a in command._actions if isinstance(a.choices, dict)), None):
                if not words or words[0] not in choices:
                    break
                command = choices[words.pop(0)]
                known |= set(command._option_string_actions)
            named = [word for word in words if word.startswith("--")]
            if command is parser() or not set(named) <= known:
                wrong.append(f"{page.name}: wheelsmith {span}")
    assert wrong == []


def test_the_first_page_has_every_command() -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("| command | does |")[2].partition("\n\n")[0]
    (commands_,) = (action.choices for action in parser()._actions if isinstance(action.choices, dict))
    assert sorted(re.findall(r"^\| `(\S+)` \|", table, re.MULTILINE)) == sorted(commands_)


def test_the_first_page_has_every_exit_code() -> None:
    readme = (ROOT / "README.md").read_text("utf-8").partition("## When something fails")[2]
    table = readme[readme.index("|---|") : readme.index("Ctrl-C")]
    listed = {
        int(code) for row in table.splitlines()[1:] for code in re.findall(r"\b\d+\b", "".join(row.split("|")[1::3]))
    }
    own = {
        error.exit_code for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "exit_code")
    }
    assert own - {1} <= listed <= own | {errors.DOES_NOT_FIT, errors.DIFFERS, *range(54, 56)}


def test_every_example_is_run_or_says_why_not() -> None:
    silent = [
        f"{page.name}:{block.line}"
        for page in PAGES
        for block in blocks(page)
        if block.language not in ("sh", "python", "toml", "yaml", "text")
        or (block.language == "text" and re.match(r"(pip|uv|wheelsmith|docker|python3?|make|apt-get) ", block.text))
    ]
    assert silent == [], (
        "fence it: `sh` and `python` are run, unless <!-- not run: why --> stands before them; `toml` and `yaml` are"
        " read; `text` is what a program prints"
    )


def test_what_is_shown_of_files_can_be_read() -> None:
    for block in FILES:
        if block.language == "toml":
            tomllib.loads(block.text)
        else:
            yaml = pytest.importorskip("ruamel.yaml", reason="ruamel.yaml is not installed").YAML(typ="safe")
            assert isinstance(yaml.load(block.text), dict), f"{block.page.name}:{block.line}"


def test_what_is_shown_of_recipes_has_the_schema_s_keys() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    parts = [tomllib.loads(block.text) for block in FILES if block.page.name == "recipes.md"]
    schema = wheelsmith.recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema).validate
    check(parts[0])
    assert len(parts) > 8
    for part in parts[1:]:
        whole = {
            key: {**parts[0].get(key, {}), **value} if isinstance(value, dict) else value for key, value in part.items()
        }
        check({**parts[0], **whole})


def test_the_mirrors_shown_are_keys_of_the_configuration() -> None:
    (block,) = (block for block in FILES if block.page.name == "mirrors.md")
    assert set(tomllib.loads(block.text)) <= set(KEYS)


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the pages and the notebook share, so that what they build is compiled once."""
    return tmp_path_factory.mktemp("docs-store")


@pytest.mark.e2e
@pytest.mark.parametrize("page", STORIES, ids=_name)
def test_a_page_s_examples_run_from_top_to_bottom(page: Path, tmp_path: Path, one_store: Path) -> None:
    """Each page is one shell session in an empty directory; Python blocks of a page share their names."""
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
    told = [block for block in blocks(page) if block.language in ("sh", "python") and not block.why]
    script = "\n".join(["set -euo pipefail", *(_shell(told, index) for index in range(len(told)))])
    place = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    environment["WHEELSMITH_STORE"] = str(one_store)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True, timeout=1100
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.e2e
def test_the_notebook_runs_and_its_values_show_themselves(
    tmp_path: Path, one_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    monkeypatch.setenv("WHEELSMITH_STORE", str(one_store))
    notebook = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = [output["data"] for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    pages = [data["text/html"] for data in shown if "text/html" in data]
    assert any("cuvec==6.0.1" in page for page in pages)
    assert any("Timeline" in page and "machine code for sm_86, sm_120" in page.lower() for page in pages)
    assert any(data.get("text/plain") == "'does not fit'" for data in shown)


def _shell(told: list[Block], index: int) -> str:
    block = told[index]
    if block.language == "sh":
        return block.text
    before = "".join(other.text for other in told[:index] if other.language == "python")
    return f"python - <<'END_OF_PYTHON'\n{before}{block.text}END_OF_PYTHON\n"


def test_every_variable_that_the_code_reads_is_documented() -> None:
    read = set()
    for path in (ROOT / "wheelsmith").rglob("*.py"):
        if path.name != "variables.py":
            read |= set(re.findall(r"\bWHEELSMITH_[A-Z][A-Z_]*[A-Z]\b", path.read_text("utf-8")))
    assert read == set(variables.VARIABLES) | variables.INTERNAL


def test_the_reference_has_every_command_code_and_name() -> None:
    sys.path.insert(0, str(ROOT / "docs" / "hooks"))
    try:
        reference = pytest.importorskip("reference", reason="mkdocs is not installed")
    finally:
        sys.path.pop(0)
    listed = reference.commands()
    for action in parser()._actions:
        for name in getattr(action, "choices", None) or ():
            assert f"\n## {name}\n" in listed
    codes = reference.exit_codes()
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.WheelsmithError) and error.exit_code != 1:
            assert f"| {error.exit_code} | `{error.__name__}` |" in codes
    assert "\n| 55 |" in codes
    assert "`require_isolation`" in reference.environment()
    missing = [
        name
        for name in wheelsmith.__all__
        if callable(getattr(wheelsmith, name)) and f".{name}\n" not in reference.python()
    ]
    assert [name for name in missing if not name.endswith("Error")] == []


@pytest.mark.e2e
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|iframe)[^>]* src="(https?:[^"]+)|<link[^>]* href="(https?:[^"]+)', page.read_text("utf-8")
        )
        assert [pair for pair in loaded if not pair[1]] == [], page.name
