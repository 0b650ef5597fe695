"""The reference of the documentation, made from the code: commands, environment, exit codes, recipes, JSON.

In: the installed wheelsmith. Out: Markdown pages that mkdocs takes as if they were files. Fails where a name is gone.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import wheelsmith
from wheelsmith import errors, variables
from wheelsmith.cli.main import parser
from wheelsmith.compat.judge import NOT_JUDGED

_ROOT = Path(__file__).parents[2]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    made = {
        "reference/commands.md": commands(),
        "reference/environment.md": environment(),
        "reference/exit-codes.md": exit_codes(),
        "reference/recipe.md": recipe(),
        "reference/json.md": documents(),
        "reference/python.md": python(),
        "changelog.md": (_ROOT / "CHANGELOG.md").read_text("utf-8"),
        "contributing.md": _moved((_ROOT / "CONTRIBUTING.md").read_text("utf-8")),
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Give the widest tables the room of the list of headings, and keep dates and tags in one line."""
    if page.file.src_uri in {"support.md", "catalogue.md"}:
        page.meta["hide"] = ["toc"]
        return re.sub(r"\d{4}-\d\d-\d\d|`cp\d+-\w+`", r'<span style="white-space: nowrap">\g<0></span>', markdown)
    return markdown


def _moved(text: str) -> str:
    """A page of the top directory, as it reads in docs/."""
    return (
        text.replace("](docs/", "](").replace("](README.md", "](index.md").replace("](SECURITY.md)", "](security.md)")
    )


def commands() -> str:
    """Every command with its options."""
    top = parser()
    lines = ["# Commands", "", (top.description or "").strip(), ""]
    lines += [
        "Every command has `--json`, errors too, and `--help`. What follows is printed by the program itself.",
        "",
    ]
    for name, command in _subcommands(top):
        lines += _command(name, command)
    return "\n".join(lines)


def _subcommands(top: argparse.ArgumentParser, prefix: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield f"{prefix}{name}", command
                yield from _subcommands(command, f"{prefix}{name} ")


def _command(name: str, command: argparse.ArgumentParser) -> list[str]:
    usage = re.sub(r"^usage: ", "", command.format_usage()).strip()
    lines = [f"## {name}", "", (command.description or "").strip(), "", "```text", usage, "```", ""]
    rows = [
        (_label(action), _cell(action.help or ""))
        for action in command._actions
        if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
        and action.help != argparse.SUPPRESS
    ]
    if rows:
        lines += ["| argument | what it is |", "|---|---|", *(f"| {label} | {text} |" for label, text in rows), ""]
    return lines


def _label(action: argparse.Action) -> str:
    metavar = action.metavar
    value = metavar if isinstance(metavar, str) else ("|".join(map(str, action.choices)) if action.choices else "")
    if not action.option_strings:
        return f"`{value or action.dest}`"
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return f"`{names}`"
    return f"`{names} {value or action.dest.upper()}`"


def _cell(text: str) -> str:
    """Text of a table's cell: one line, and what Markdown or HTML would take for its own, outside of code."""
    plain = {"|": "\\|", "<": "&lt;"}
    return re.sub(
        r"`[^`]*`|[|<]", lambda found: plain.get(found[0], found[0]), " ".join(text.replace("%%", "%").split())
    )


def environment() -> str:
    """The variables and the configuration file."""
    from wheelsmith.config import KEYS

    lines = [
        "# Settings and environment",
        "",
        "Options of the command line go first, then variables, then the file.",
        "",
    ]
    lines += ["## Variables of wheelsmith's own", "", "| variable | what it sets |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(text)} |" for name, text in variables.VARIABLES.items()]
    lines += ["", "## Variables of others that are honoured", "", "| variable | what it sets |", "|---|---|"]
    lines += [
        f"| {', '.join(f'`{one}`' for one in name.split(', '))} | {_cell(text)} |"
        for name, text in variables.OTHERS.items()
    ]
    lines += [
        "",
        "## The configuration file",
        "",
        "A TOML file; `WHEELSMITH_CONFIG` names another. Unknown keys are errors.",
        "",
    ]
    lines += ["| key | what it sets |", "|---|---|"]
    lines += [*(f"| `{name}` | {_cell(text)} |" for name, text in KEYS.items()), ""]
    return "\n".join(lines)


def exit_codes() -> str:
    """Every exit code with its error."""
    rows: dict[int, list[tuple[str, str]]] = {
        0: [("", "success")],
        1: [("", "`explain`: the failure is shown, and no signature explains it")],
        errors.DIFFERS: [
            ("", "`recipes lock`, `recipes bump`: the recipe must change for other reasons than its patches"),
            ("", "`recipes check`: something is wrong or undecided"),
        ],
        errors.DOES_NOT_FIT: [("", "`fits`: the answer is no")],
        NOT_JUDGED: [("", "`fits`: something that counts could not be judged")],
        errors.BROKEN_PIPE: [("", "nobody reads the output any more (128 + SIGPIPE)")],
    }
    for name in wheelsmith.__all__:
        value = getattr(wheelsmith, name)
        if inspect.isclass(value) and issubclass(value, errors.WheelsmithError) and value is not errors.WheelsmithError:
            first = (value.__doc__ or "").strip().split("\n\n")[0]
            rows.setdefault(value.exit_code, []).append((name, first))
    lines = [
        "# Exit codes",
        "",
        "They never change meaning. In Python each is an exception, a `WheelsmithError` with `cause`,",
    ]
    lines += ["`remedy`, `detail` and `exit_code`; with `--json` the error is printed as JSON as well.", ""]
    lines += ["| code | exception | means |", "|---|---|---|"]
    for code, meanings in sorted(rows.items()):
        lines += [f"| {code} | {f'`{name}`' if name else ''} | {_cell(text)} |" for name, text in meanings]
    return "\n".join([*lines, ""])


def recipe() -> str:
    """The schema of a recipe, table by table."""
    schema: dict[str, Any] = wheelsmith.recipe_schema()
    lines = [
        "# Recipe schema",
        "",
        "Every key of a recipe; how to write one is in [Your own recipe](../recipes.md).",
        "",
    ]
    lines += ["The same as JSON Schema, for an editor: `wheelsmith recipes schema`.", ""]
    tables = schema.get("$defs", {})
    about = {name: table.get("description", "").split("\n\n")[0] for name, table in tables.items()}
    lines += _object("The file", schema, about)
    for name, table in tables.items():
        if "properties" in table:
            lines += _object(name, table, about)
    return "\n".join(lines)


def _object(name: str, schema: dict[str, Any], about: dict[str, str]) -> list[str]:
    """A table of keys; one that says nothing of itself is described as the table that it holds."""
    lines = [
        f"## {name}",
        "",
        schema.get("description", ""),
        "",
        "| key | type | default | what it is |",
        "|---|---|---|---|",
    ]
    needed = set(schema.get("required", ()))
    for key, value in schema["properties"].items():
        kind, default = _type(value), f"`{json.dumps(value['default'])}`" if "default" in value else ""
        if key in needed or (value.get("default") and isinstance(value["default"], dict)):
            default = "required" if key in needed else "its own"
        held = re.search(r"\[(\w+)\]\(#", kind)
        text = value.get("description") or (about[held[1]] if held else "")
        lines.append(f"| `{key}` | {kind} | {_cell(default)} | {_cell(text)} |")
    return [*lines, ""]


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{re.sub(r'[^a-z0-9_-]', '', name.lower())})"
    if "anyOf" in value:
        return " or ".join(_type(one) for one in value["anyOf"])
    if "enum" in value:
        return " or ".join(f"`{json.dumps(one)}`" for one in value["enum"])
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}))}"
    if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"table of {_type(value['additionalProperties'])}"
    return str(value.get("type", "any"))


def documents() -> str:
    """What `--json` prints, by command."""
    lines = [
        "# JSON outputs",
        "",
        "Each command prints one document with `--json`; `wheelsmith schema NAME` prints its schema.",
        "",
    ]
    lines += ["`schema_version` rises when a key changes its meaning or goes; new keys come without that.", ""]
    for name in sorted(wheelsmith.DOCUMENTS):
        schema = wheelsmith.document_schema(name)
        definition = schema
        if "$ref" in schema:
            definition = schema["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        lines += [f"## {name}", "", definition.get("description", ""), ""]
        if "properties" in definition:
            lines += ["| key | type | what it is |", "|---|---|---|"]
            for key, value in definition["properties"].items():
                kind = re.sub(r"\[(\w+)\]\([^)]*\)", r"\1", _type(value))
                lines.append(f"| `{key}` | {kind} | {_cell(value.get('description', ''))} |")
            lines.append("")
    return "\n".join(lines)


def python() -> str:
    """The public functions, values and events."""
    rooms = ("building", "wheels", "indexing", "serving", "images", "recipes", "machine")
    lines = [
        "# Python API",
        "",
        re.sub(r"((?:^>>> .*\n?)+.*)", r"```pycon\n\1\n```", inspect.getdoc(wheelsmith) or "", flags=re.MULTILINE),
        "",
        "Everything below is imported from `wheelsmith`.",
        "",
    ]
    by_module: dict[str, list[str]] = {}
    for name in wheelsmith.__all__:
        value = getattr(wheelsmith, name)
        if callable(value):
            by_module.setdefault(value.__module__, []).append(name)
    functions = [f"wheelsmith.api.{room}" for room in rooms]
    for module in [*functions, *sorted(set(by_module) - set(functions) - {"wheelsmith.errors"})]:
        names = by_module.get(module, [])
        if names:
            lines += [f"## `{module}`", ""]
            lines += [
                line for name in names for line in (f"::: {module}.{name}", "    options: {heading_level: 3}", "")
            ]
    return "\n".join(lines)
