"""`wheelsmith recipes lock`, `bump` and `status`: how a recipe stands to its upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wheelsmith.cli.options import Commands, Parser, add_command, add_store, define

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from wheelsmith import Bump, Lock, ReadingOptions

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


def configure(actions: Commands[Parser], add_recipes: Callable[[Parser], None]) -> None:
    """Add the actions."""
    one = add_command(actions, "lock", _lock, "find what the build would fetch, and compare", description=_LOCK)
    one.add_argument("requirement", help="package and version, such as vllm==0.16.0")
    _add_reading(one, add_recipes)

    one = add_command(actions, "bump", _bump, "rehearse another version of a package", description=_BUMP)
    one.add_argument("name", help="package")
    one.add_argument("version", nargs="?", default="newest", help="a version, a range A..B, or newest (the default)")
    one.add_argument("--sdist", action="store_true", help="read the sdist from the package index")
    _add_reading(one, add_recipes)

    one = add_command(actions, "status", _status, "how recipes stand to their upstream")
    one.add_argument("names", nargs="*", metavar="NAME", help="packages; default: every recipe")
    add_recipes(one)
    one.add_argument("--page", metavar="FILE", help="write it as a page (HTML)")
    one.add_argument("--offline", action="store_true", help="ask the store and mirrors on this machine alone")
    add_store(one)
    one.add_argument("--index-url", metavar="URL", help="package index for sdists and build requirements")


def _add_reading(parser: Parser, add_recipes: Callable[[Parser], None]) -> None:
    add_recipes(parser)
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
    parser.add_argument("--index-url", metavar="URL", help="package index for sdists and build requirements")


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
    return DIFFERS if lock.lacking or (lock.changes and not options.write) else 0


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
