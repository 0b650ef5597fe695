"""`wheelsmith recipes`: what can be built, the schema of a recipe, a draft of one, and copies of what it needs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wheelsmith.cli import records, upkeep
from wheelsmith.cli.options import Commands, Parser, add_command, add_store, add_target, target_arguments

if TYPE_CHECKING:
    from wheelsmith.documents.recipes import FindingFacts, MarkFacts, MirroredFacts, RecipeRow

_NEW = """\
Reads the metadata, pyproject.toml, setup.py (as syntax: nothing is run) and the CMake files of a project, and writes a
recipe that plans. What could not be decided is marked in place: `# undecided: …`.
"""
_CHECK = """\
Exit code: 0 nothing is wrong or undecided, 3 something is, 12 it is no recipe.
"""


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "recipes", _list, "list recipes, lock their trees, rehearse their next version")
    _add_recipes(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    _add_recipes(add_command(actions, "list", _list, "what can be built (the default)"))
    add_command(actions, "schema", _schema, "print the JSON Schema of a recipe file")

    one = add_command(actions, "new", _new, "draft a recipe from a project's own files", description=_NEW)
    one.add_argument("what", metavar="NAME|SDIST|DIR|GIT", help="such as flash-attn, ./mypackage, git+https://…@v1.0")
    one.add_argument("--to", metavar="DIR", default="recipes", help="where NAME.toml goes (default: recipes)")
    one.add_argument("--name", help="of the package, where the project does not say it")
    one.add_argument("--version", help="of the release, where the project does not say it")
    one.add_argument("--force", action="store_true", help="write over a recipe that is there")
    add_store(one)
    one.add_argument("--index-url", metavar="URL", help="package index for sdists and build requirements")

    one = add_command(actions, "check", _check, "look over a recipe: its form, its plans", description=_CHECK)
    one.add_argument("what", metavar="NAME|FILE", help="a recipe that is found by name, or a file")
    _add_recipes(one)

    records.configure(actions, _add_recipes)

    upkeep.configure(actions, _add_recipes)

    one = add_command(actions, "mirror", _mirror, "copy every source of a build to a directory for [mirrors]")
    add_target(one)
    one.add_argument("--to", metavar="DIR", required=True, help="directory to copy to")
    add_store(one)
    one.add_argument("--index-url", metavar="URL", help="package index for sdists and build requirements")
    one.add_argument("--offline", action="store_true", help="copy what the store has, fetch nothing")


def _add_recipes(parser: Parser) -> None:
    # SUPPRESS: what stands before the action must not be undone by the action's own default.
    parser.add_argument(
        "--recipes", metavar="DIR", action="append", default=argparse.SUPPRESS, help="a directory of your own recipes"
    )


def _schema(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    show.as_json(wheelsmith.recipe_schema())
    return 0


def _pinned(releases: list[str]) -> str:
    """The newest release, and how many others; `--json` has all of them."""
    from packaging.version import Version

    newest = max(releases, key=Version)
    return newest if len(releases) == 1 else f"{newest} and {len(releases) - 1} more"


def _list(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    found = [(item.recipe, item.origin) for item in wheelsmith.recipes(recipes=getattr(options, "recipes", []))]
    if options.json:
        rows: list[RecipeRow] = [
            {
                "name": r.name,
                "releases": list(r.releases),
                "defaults": {
                    "archs": str(r.defaults.archs),
                    "cuda": r.defaults.cuda,
                    "python": r.defaults.python,
                    "torch": r.defaults.torch,
                },
                "options": {n: {"default": option.default, "why": option.why} for n, option in r.options.items()},
                "file": origin,
            }
            for r, origin in found
        ]
        show.as_json({"schema_version": 1, "recipes": rows})
        return 0
    show.table(
        ("name", "pinned", "archs", "CUDA", "torch", "options", "summary", "file"),
        (
            (
                r.name,
                _pinned(list(r.releases)),
                str(r.defaults.archs),
                r.defaults.cuda,
                r.defaults.torch or "-",
                ", ".join(f"{name}={'on' if option.default else 'off'}" for name, option in r.options.items()) or "-",
                r.summary,
                origin,
            )
            for r, origin in found
        ),
    )
    return 0


def _new(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with Reporter(quiet=options.quiet) as listener:
        made = wheelsmith.recipe_new(
            options.what,
            to=options.to,
            name=options.name,
            version=options.version,
            force=options.force,
            store=options.store,
            index_url=options.index_url,
            listener=listener,
        )
    draft = made.draft
    marks: list[MarkFacts] = [{"line": line, "text": text} for line, text in draft.undecided]
    if options.json:
        show.as_json(
            {
                "schema_version": 1,
                "name": draft.name,
                "version": draft.version,
                "file": None if made.path is None else str(made.path),
                "text": draft.text,
                "undecided": marks,
                "notes": list(draft.notes),
            }
        )
        return 0
    for note in draft.notes:
        print(f"  {note}")
    print(f"\n{made.path}: a recipe for {draft.name} {draft.version}")
    for mark in marks:
        print(f"  line {mark['line']}: undecided: {mark['text']}")
    print("\nnext:")
    print(f"  wheelsmith recipes check {made.path}")
    print(f"  wheelsmith build {draft.name} --recipes {options.to} --no-publish")
    return 0


def _check(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.errors import DIFFERS

    checked = wheelsmith.recipe_check(options.what, recipes=getattr(options, "recipes", []))
    if options.json:
        facts: list[FindingFacts] = [{"line": i.line, "kind": i.kind, "text": i.text} for i in checked.findings]
        show.as_json(
            {
                "schema_version": 1,
                "name": checked.name,
                "file": str(checked.path),
                "sound": checked.is_sound,
                "findings": facts,
            }
        )
    else:
        for finding in checked.findings:
            print(f"{checked.path}:{finding.line}: {finding.kind}: {finding.text}")
        print(f"{checked.path}: {'nothing is wrong or undecided' if checked.is_sound else 'to be looked at'}")
    return 0 if checked.is_sound else DIFFERS


def _mirror(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with Reporter(quiet=options.quiet) as listener:
        copied = wheelsmith.recipe_mirror(
            options.requirement,
            options.to,
            offline=options.offline,
            store=options.store,
            index_url=options.index_url,
            listener=listener,
            **target_arguments(options),
        )
    if options.json:
        rows: list[MirroredFacts] = [
            {"source": item.what, "place": str(item.place), "bytes": item.size} for item in copied
        ]
        show.as_json({"schema_version": 1, "sources": rows})
        return 0
    show.table(("source", "place", "bytes"), ((item.what, str(item.place), f"{item.size:,}") for item in copied))
    print(f"\nUse it with WHEELSMITH_CONFIG={options.to}/config.toml, wherever the directory is carried.")
    return 0
