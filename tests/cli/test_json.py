"""--json everywhere: what is printed is what its published schema says, errors too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import jsonschema
import pytest

import wheelsmith
from tests.support.index_wheels import make_wheel
from wheelsmith.cli.main import main, parser
from wheelsmith.cli.options import Parser

ROOT = Path(__file__).parents[2]


def strict(schema):
    """The same schema, which takes no keys that it does not name."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: strict(item) for key, item in schema.items()} | (
        {"additionalProperties": False} if "properties" in schema else {}
    )


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = strict(wheelsmith.document_schema(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def validate(name: str, document: object) -> None:
    validator(name).validate(document)


@pytest.mark.parametrize("name", wheelsmith.DOCUMENTS)
def test_the_published_schema_is_current(name):
    published = json.loads((ROOT / "docs/schemas" / f"{name}.json").read_text("utf-8"))
    assert published == wheelsmith.document_schema(name), "run `wheelsmith schema --all docs/schemas`"


def parsers(top: Parser):
    """Of every command."""
    for action in top._actions:
        if isinstance(getattr(action, "choices", None), dict):
            for child in action.choices.values():
                yield from parsers(child)
    if top.get_default("execute"):
        yield top


def leaves(top: Parser):
    return {command.prog.removeprefix("wheelsmith ").replace(" ", "-") for command in parsers(top)}


def test_every_command_has_a_document_and_takes_json():
    assert leaves(parser()) == set(wheelsmith.DOCUMENTS) - {"error"} | {"recipes", "recipes-schema", "schema"}


def test_every_argument_says_what_it_is():
    told = {
        f"{command.prog} {action.option_strings or action.dest}"
        for command in parsers(parser())
        for action in command._actions
        if not action.help and not isinstance(action.choices, dict)
    }
    assert told == set()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    place = tmp_path_factory.mktemp("published")
    wheels = [make_wheel(place / "in", "pkg", version) for version in ("1.0", "2.0")]
    wheelsmith.publish(wheels, index=place / "dist")
    return place


@pytest.fixture
def index(tmp_path, published):
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "dist")


LOG = 'a.cu(3): error: identifier "x" is undefined\nninja: build stopped: subcommand failed.\n'


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("plan", ["plan", "vllm==0.15.1", "--gpu", "RTX 5090,A40"]),
        ("plan", ["plan", "cuvec"]),
        ("gpus", ["gpus"]),
        ("completion", ["completion", "fish"]),
        ("doctor", ["doctor", "--store", "{tmp}/store"]),
        ("recipes-list", ["recipes"]),
        ("recipes-list", ["recipes", "list"]),
        ("inspect", ["inspect", "{wheel}"]),
        ("fits", ["fits", "{wheel}", "--gpu", "A40", "--store", "{tmp}/store"]),
        ("explain", ["explain", "{log}"]),
        ("publish", ["publish", "{wheel}", "--index", "{index}"]),
        ("index-list", ["index", "list", "--index", "{index}"]),
        ("index-verify", ["index", "verify", "--index", "{index}"]),
        ("index-yank", ["index", "yank", "pkg==1.0", "--index", "{index}", "--reason", "old"]),
        ("index-unyank", ["index", "unyank", "pkg==1.0", "--index", "{index}"]),
        ("index-rm", ["index", "rm", "pkg==1.0", "--force", "--index", "{index}", "--dry-run"]),
        ("index-status", ["index", "status", "pkg", "archived", "--index", "{index}"]),
        ("index-gc", ["index", "gc", "--keep-newest", "1", "--index", "{index}", "--dry-run"]),
        ("index-rebuild", ["index", "rebuild", "--index", "{index}", "--dry-run"]),
        ("index-export", ["index", "export", "{tmp}/out", "--index", "{index}"]),
        ("index-token-create", ["index", "token", "create", "ci", "--read", "--index", "{index}"]),
        ("index-token-list", ["index", "token", "list", "--index", "{index}"]),
        ("index-client-config", ["index", "client-config", "pip"]),
        ("image-parts", ["image", "parts", "{wheel}", "--output", "{tmp}/parts"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("pretended_toolkit")
def test_real_output_is_what_its_schema_says(tmp_path, index, capsys, name, arguments):
    (tmp_path / "log").write_text(LOG)
    wheel = next((tmp_path / "in").glob("*2.0*.whl"))
    places = {"tmp": tmp_path, "index": index, "wheel": wheel, "log": tmp_path / "log"}
    capsys.readouterr()
    main([*(word.format(**places) for word in arguments), "--json"])
    document = json.loads(capsys.readouterr().out)
    validate(name, document)
    if name != "plan":
        assert document["schema_version"] >= 1


@pytest.mark.parametrize(
    ("arguments", "code", "cause", "remedy"),
    [
        (["plan", "vlm", "--json"], 10, "vlm", "vllm"),
        (["--json", "plan", "vllm", "--gpu", "RTX 5O90"], 13, "RTX 5O90", "RTX 5090"),
        (["bild", "--json"], 2, "'bild' is unknown", "Did you mean build"),
        (["plan", "vllm", "--gpus", "A40", "--json"], 2, "no option --gpus", "Did you mean --gpu?"),
        (["plan", "vllm", "--env", "isolatd", "--json"], 2, "'isolatd' is unknown", "isolated"),
        (["build", "cuvec", "--jobs", "0", "--json"], 2, "'0' is not a whole number", "--help"),
        (["build", "cuvec", "--container", "none", "--memory", "12", "--json"], 2, "'12'", "Did you mean 12GB"),
        (["index", "list", "--index", "s3//bucket/x", "--json"], 2, "is no URL", "Did you mean s3://bucket/x"),
        (["index", "list", "--index", "s3:/bucket/x", "--json"], 2, "is no URL", "Did you mean s3://bucket/x"),
        (["index", "lst", "--json"], 2, "'lst' is unknown", "Did you mean list"),
        (["schema", "plann", "--json"], 2, "no document 'plann'", "Did you mean plan"),
        (["inspect", "/nonexistent.whl", "--json"], 2, "/nonexistent.whl", "Give the path"),
    ],
)
def test_an_error_is_json_too(capsys, arguments, code, cause, remedy):
    assert main(arguments) == code
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    validate("error", document)
    assert document["error"]["code"] == code
    assert cause in document["error"]["cause"]
    assert remedy in document["error"]["remedy"]
    assert document["error"]["cause"] in shown.err


def test_an_output_file_that_cannot_be_written_is_a_sentence(tmp_path, index, capsys):
    wheel = next((tmp_path / "in").glob("*1.0*.whl"))
    assert main(["inspect", str(wheel), "--html", f"{wheel}/page.html"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_reader_who_leaves_makes_no_success():
    code = (
        "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1);"
        "from wheelsmith.cli.main import main; sys.exit(main(['gpus']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_an_unfinished_build_is_no_success_though_a_pipe_broke_inside(monkeypatch):
    def broken(*what, **options):
        raise BrokenPipeError

    monkeypatch.setattr(wheelsmith, "doctor", broken)
    with open(os.devnull, "w") as sink:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", sink)
        with pytest.raises(BrokenPipeError):  # it was not our output that nobody reads: a fault, not a success
            main(["doctor"])


def test_quiet_leaves_warnings_and_results_only(tmp_path, index, capsys):
    from wheelsmith.cli.progress import Reporter
    from wheelsmith.events import Note, StageDone

    capsys.readouterr()
    assert main(["index", "verify", "--index", index, "--quiet"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "the index is sound" in shown.out
    with Reporter(quiet=True) as listener:
        listener(StageDone("index", "done", 1.0))
        listener(Note("index", "a note"))
        listener(Note("index", "beware", warning=True))
    assert capsys.readouterr().err == "index      warning: beware\n"
