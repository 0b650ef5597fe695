"""`wheelsmith recipes`: what can be built, the schema of a recipe, and the upkeep of recipes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wheelsmith.cli import records
from wheelsmith.cli.options import Commands, Parser, add_command, add_store, add_target, define, target_arguments

if TYPE_CHECKING:
    from wheelsmith import Bump, Lock, ReadingOptions
    from wheelsmith.documents.recipes import FindingFacts, MarkFacts, MirroredFacts, RecipeRow

_NEW = """\
Reads the metadata, pyproject.toml, setup.py (as syntax: nothing is run) and the CMake files of a project, and writes a
recipe that plans. What could not be decided is marked in place: `# undecided: …`.
"""
_CHECK = """\
Exit code: 0 nothing is wrong or undecided, 3 something is, 12 it is no recipe.
"""
_LOCK = """\
Reads the project's CMake files and submodules: every tree that its build would fetch, with the full commit of each tag,
and how the recipe stands to it. Exit code: 0 the recipe is right, 3 it differs.
"""
_BUMP = """\
Rehearses versions, one after the other: which patches and arch lists still fit, which trees, libraries, requirements,
torch, CUDA and Python change, and proposes the recipe that they need as a unified diff. What it cannot decide is marked
in the recipe with "# UNDECIDED". Exit code: 0 only the release is to be added, 22 patches do not match, 3 something
else changes.
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
    one.add_argument("--index-url", metavar="URL")

    one = add_command(actions, "check", _check, "look over a recipe: its form, its plans", description=_CHECK)
    one.add_argument("what", metavar="NAME|FILE")
    _add_recipes(one)

    records.configure(actions, _add_recipes)

    one = add_command(actions, "lock", _lock, "find what the build would fetch, and compare", description=_LOCK)
    one.add_argument("requirement", help="package and version, such as vllm==0.16.0")
    _add_reading(one)

    one = add_command(actions, "bump", _bump, "rehearse another version of a package", description=_BUMP)
    one.add_argument("name")
    one.add_argument("version", nargs="?", default="newest", help="a version, a range A..B, or newest (the default)")
    one.add_argument("--sdist", action="store_true", help="read the sdist from the package index")
    _add_reading(one)

    one = add_command(actions, "status", _status, "how recipes stand to their upstream")
    one.add_argument("names", nargs="*", metavar="NAME", help="packages; default: every recipe")
    _add_recipes(one)
    one.add_argument("--page", metavar="FILE", help="write it as a page (HTML)")
    one.add_argument("--offline", action="store_true", help="ask the store and mirrors on this machine alone")
    add_store(one)
    one.add_argument("--index-url", metavar="URL")

    one = add_command(actions, "mirror", _mirror, "copy every source of a build to a directory for [mirrors]")
    add_target(one)
    one.add_argument("--to", metavar="DIR", required=True)
    add_store(one)
    one.add_argument("--index-url", metavar="URL")
    one.add_argument("--offline", action="store_true", help="copy what the store has, fetch nothing")


def _add_recipes(parser: Parser) -> None:
    # SUPPRESS: what stands before the action must not be undone by the action's own default.
    parser.add_argument("--recipes", metavar="DIR", action="append", default=argparse.SUPPRESS)


def _add_reading(parser: Parser) -> None:
    _add_recipes(parser)
    parser.add_argument("--source", metavar="DIR|FILE", help="read this source instead of fetching the version's")
    parser.add_argument("--write", action="store_true", help="change the recipe's file; comments and order stay")
    parser.add_argument("--offline", action="store_true", help="ask nobody: tags and submodules are not looked up")
    parser.add_argument(
        "-D",
        dest="define",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=define,
        help="a CMake variable that is given",
    )
    add_store(parser)
    parser.add_argument("--index-url", metavar="URL")


def _reading(options: argparse.Namespace) -> ReadingOptions:
    return {
        "source": options.source,
        "write": options.write,
        "offline": options.offline,
        "define": dict(options.define),
        "store": options.store,
        "index_url": options.index_url,
        "recipes": getattr(options, "recipes", []),
    }


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


def _lock(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter
    from wheelsmith.errors import DIFFERS, NetworkError

    with Reporter(quiet=options.quiet) as listener:
        lock = wheelsmith.recipe_lock(options.requirement, listener=listener, **_reading(options))
    if options.json:
        show.as_json(lock.to_dict())
    else:
        _show_lock(lock)
        if options.write and lock.changes:
            print("\nThe recipe was changed.")
    if lock.unreached:
        return NetworkError.exit_code
    return DIFFERS if lock.changes and not options.write else 0


def _bump(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with Reporter(quiet=options.quiet) as listener:
        result = wheelsmith.recipe_bump(
            options.name, options.version, sdist=options.sdist, listener=listener, **_reading(options)
        )
    if options.json:
        show.as_json(result.to_dict())
        return result.exit_code
    if not result.steps:
        print(f"{result.name}: upstream has nothing that the recipe does not pin.")
    for step in result.steps:
        _show_bump(step)
        print()
    if options.write:
        print("The recipe was changed." if result.diff else "The recipe needed no change.")
    elif result.diff:
        print(result.diff, end="")
    return result.exit_code


def _status(options: argparse.Namespace) -> int:
    from pathlib import Path

    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with Reporter(quiet=options.quiet) as listener:
        made = wheelsmith.recipe_status(
            options.names,
            offline=options.offline,
            store=options.store,
            index_url=options.index_url,
            recipes=getattr(options, "recipes", []),
            listener=listener,
        )
    if options.page:
        Path(options.page).write_text(wheelsmith.recipe_status_page(made), "utf-8")
    if options.json:
        show.as_json(made)
        return 0
    show.table(
        ("recipe", "pinned", "newest", "behind", "rehearsed", "what came of it"),
        (
            (
                row["name"],
                row["pinned"],
                row["newest"] or "not known",
                str(len(row["behind"])) if row["newest"] else "-",
                f"{row['rehearsed']} ({row['rehearsed_at']})" if row["rehearsed"] else "never",
                row["rehearsal"] or "-",
            )
            for row in made["recipes"]
        ),
    )
    for row in made["recipes"]:
        for text in (*row["blocks"], *([row["problem"]] if row["problem"] else [])):
            print(f"{row['name']}: {text}")
    return 0


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


def _show_lock(lock: Lock, *, tables: bool = True) -> None:
    from wheelsmith.cli import show

    show.table(
        ("tree", "state", "commit", "tag", "recipe has", "found at", "note"),
        (
            (
                tree.name,
                tree.state,
                tree.commit or "-",
                tree.tag or "-",
                "the same" if tree.was == tree.commit else tree.was or "-",
                tree.where or tree.inside or "-",
                tree.note,
            )
            for tree in lock.trees
        ),
    )
    for warning in lock.warnings:
        print(f"warning: {warning}")
    for tree in lock.changes if tables else ():
        if tree.state != "gone" and tree.commit:
            print(f"\n{tree.table()}")


def _show_bump(bump: Bump) -> None:
    from wheelsmith.cli import show

    print(f"{bump.name} {bump.version}, read from {bump.source} in {bump.seconds:.0f} s\n")
    _show_lock(bump.lock, tables=False)
    rows = [patch.to_dict() for patch in bump.patches]
    if rows:
        print()
        show.table(
            ("patch or arch list", "tree", "for this version", "matches", "why"),
            (
                (
                    row["what"],
                    row["tree"] or "-",
                    "yes" if row["wanted"] else "SKIPPED, still there" if row["skipped"] else "no",
                    {True: "yes", False: "NO", None: "not tried"}[row["matches"]],
                    row["why"],
                )
                for row in rows
            ),
        )
        for row in rows:
            if row["problem"] and (row["wanted"] or row["skipped"]):
                print(f"\n{row['what']}: {row['problem']}")
    print()
    show.table(
        ("build requirement", "project", "recipe", "state"),
        ((need.name, need.project, need.recipe, need.state) for need in bump.needs),
    )
    if bump.branches:
        print(f"\nCMake decides by CUDA at {', '.join(bump.branches)}.")
    print()
    show.table(
        ("kind", "decided", "finding"),
        ((found.kind, "yes" if found.decided else "NO", found.text) for found in bump.findings),
    )
    print(f"\n{bump.verdict}")
