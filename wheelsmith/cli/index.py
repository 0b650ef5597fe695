"""`wheelsmith index`: look after a package index."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from wheelsmith.cli import index_serve
from wheelsmith.cli.options import Commands, Parser, add_command, add_group, add_index, natural

if TYPE_CHECKING:
    from wheelsmith import Entry
    from wheelsmith.documents.indexes import IndexFile, IndexFinding, IndexProject

_WHAT = "name, name==version (with its +local part), or a file name"
_UNSOUND = 72  # the exit code of `StoreError`


def configure(commands: Commands[Parser]) -> None:
    """Add the command and its subcommands."""
    subcommands = add_group(
        commands, "index", "list, verify, yank, remove, collect, rebuild, serve: look after an index"
    )

    listing = _add(subcommands, "list", "what the index holds", _list, changes=False)
    listing.add_argument("project", nargs="?", help="only this one")

    verify = _add(subcommands, "verify", "read every file, compare every page", _verify, changes=False)
    verify.add_argument("--repair", action="store_true", help="mend what can be; take the rest off the pages")

    yank = _add(subcommands, "yank", "let resolvers pass files by; exact pins still get them", _yank)
    yank.add_argument("what", help=_WHAT)
    yank.add_argument("--reason", default="", help="what clients print with it")

    unyank = _add(subcommands, "unyank", "take a yank back", _unyank)
    unyank.add_argument("what", help=_WHAT)

    status = _add(
        subcommands, "status", "set a project's status; the files of a quarantined one leave all pages", _status
    )
    status.add_argument("project", help="its name")
    status.add_argument("status", choices=("active", "archived", "deprecated", "quarantined"), help="PEP 792")
    status.add_argument("--reason", help="what clients print with it")

    collect = _add(subcommands, "gc", "remove what no rule keeps, and what interrupted uploads left", _gc)
    collect.add_argument(
        "--keep-newest", type=natural, metavar="N", help="keep the newest N versions per project and variant"
    )
    collect.add_argument("--keep-days", type=natural, metavar="D", help="keep what is younger than D days")
    collect.add_argument(
        "--drop-publications",
        type=natural,
        metavar="D",
        help="drop publication paths older than D days (default: none)",
    )

    remove = _add(subcommands, "rm", "delete files; their names stay taken", _rm)
    remove.add_argument("what", help=_WHAT)
    remove.add_argument("--force", action="store_true", help="also what a publication path pins")

    _add(subcommands, "rebuild", "write all pages again from the stored files", _rebuild)

    export = _add(subcommands, "export", "write what clients may have, for any web server", _export, changes=False)
    export.add_argument("target", metavar="DIR", help="directory to write")

    summary = "print HTML with signed links into a bucket, for --find-links"
    links = _add(subcommands, "links", summary, _links, changes=False)
    links.add_argument("projects", nargs="+", metavar="PROJECT", help="whose files are linked")
    links.add_argument("--hours", type=float, default=1, help="how long they work (default: 1)")

    index_serve.configure(subcommands)


def _add(
    subcommands: Commands[Parser],
    name: str,
    summary: str,
    execute: Callable[[argparse.Namespace], int],
    *,
    changes: bool = True,
) -> Parser:
    parser = add_command(subcommands, name, execute, summary, description=summary)
    add_index(parser)
    if changes:
        parser.add_argument("--dry-run", action="store_true", help="only say what would change")
    return parser


def _list(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    records = wheelsmith.index_list(options.project, index=options.index)
    if options.json:
        projects: list[IndexProject] = [
            {
                "name": record.project,
                "status": record.status,
                "status_reason": record.status_reason,
                "files": [_row(entry) for entry in record.entries],
            }
            for record in records
        ]
        show.as_json({"schema_version": 1, "index": options.index, "projects": projects})
        return 0
    show.table(
        ("file", "bytes", "variant", "published", ""),
        (
            (
                entry.filename,
                f"{entry.size:,}",
                entry.variant or "any",
                f"{entry.upload_time:%Y-%m-%d %H:%M}",
                ", ".join(_marks(entry, record.status)),
            )
            for record in records
            for entry in record.entries
        ),
    )
    return 0


def _verify(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    with Reporter(quiet=options.quiet) as listener:
        seen = wheelsmith.index_verify(index=options.index, repair=options.repair, listener=listener)
    if options.json:
        findings: list[IndexFinding] = [
            {"kind": one.kind, "key": one.key, "text": one.text, "repaired": one.repaired} for one in seen.findings
        ]
        show.as_json(
            {
                "schema_version": 1,
                "index": options.index,
                "files": seen.files,
                "bytes": seen.size,
                "pages": seen.pages,
                "sound": seen.is_sound,
                "findings": findings,
            }
        )
    else:
        if seen.findings:
            rows = ((one.kind, one.key, one.text, "repaired" if one.repaired else "") for one in seen.findings)
            show.table(("what", "where", "why", ""), rows)
        verdict = "sound" if seen.is_sound else "NOT sound: run it with --repair"
        print(f"{seen.files} wheels ({seen.size:,} bytes) and {seen.pages} pages were read: the index is {verdict}.")
    return 0 if seen.is_sound else _UNSOUND


def _yank(options: argparse.Namespace) -> int:
    import wheelsmith

    entries = wheelsmith.index_yank(options.what, index=options.index, reason=options.reason, dry_run=options.dry_run)
    return _changed(options, "yanked", entries)


def _unyank(options: argparse.Namespace) -> int:
    import wheelsmith

    entries = wheelsmith.index_unyank(options.what, index=options.index, dry_run=options.dry_run)
    return _changed(options, "no longer yanked", entries)


def _status(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    before = wheelsmith.index_status(
        options.project, options.status, index=options.index, reason=options.reason, dry_run=options.dry_run
    )
    if options.json:
        show.as_json(
            {
                "schema_version": 1,
                "index": options.index,
                "dry_run": options.dry_run,
                "project": before.project,
                "before": before.status,
                "after": options.status,
            }
        )
    else:
        would = "would go" if options.dry_run else "went"
        print(f"{before.project} {would} from {before.status} to {options.status}")
    return 0


def _gc(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    gone = wheelsmith.index_gc(
        index=options.index,
        newest=options.keep_newest,
        days=options.keep_days,
        publication_days=options.drop_publications,
        dry_run=options.dry_run,
    )
    if options.json:
        show.as_json(
            {
                "schema_version": 1,
                "index": options.index,
                "dry_run": options.dry_run,
                "bytes": gone.size,
                "files": [_row(entry) for entry in gone.entries],
                "publications": list(gone.publications),
                "leftovers": list(gone.leftovers),
                "pinned": list(gone.pinned),
            }
        )
        return 0
    rows = [(entry.filename, f"{entry.size:,}", "file") for entry in gone.entries]
    rows += [(name, "", "publication") for name in gone.publications]
    rows += [(key, "", "left by an interrupted upload") for key in gone.leftovers]
    show.table(("would be removed" if options.dry_run else "removed", "bytes", ""), rows)
    if gone.pinned:
        print(f"{len(gone.pinned)} more files stay because publication paths pin them (see --drop-publications).")
    return 0


def _rm(options: argparse.Namespace) -> int:
    import wheelsmith

    entries = wheelsmith.index_rm(options.what, index=options.index, force=options.force, dry_run=options.dry_run)
    return _changed(options, "removed", entries)


def _rebuild(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    changed = wheelsmith.index_rebuild(index=options.index, dry_run=options.dry_run)
    if options.json:
        show.as_json(
            {"schema_version": 1, "index": options.index, "dry_run": options.dry_run, "changed": list(changed)}
        )
        return 0
    for key in changed:
        print(key)
    print(f"{len(changed)} pages {'would change' if options.dry_run else 'changed'}.")
    return 0


def _export(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    done = wheelsmith.index_export(options.target, index=options.index)
    if options.json:
        show.as_json(
            {
                "schema_version": 1,
                "index": options.index,
                "target": options.target,
                "objects": done.objects,
                "written": list(done.written),
                "removed": list(done.removed),
            }
        )
    else:
        print(f"{options.target}: {done.objects} files, {len(done.written)} written, {len(done.removed)} removed.")
    return 0


def _links(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    html = wheelsmith.index_links(options.projects, index=options.index, hours=options.hours)
    if options.json:
        show.as_json({"schema_version": 1, "index": options.index, "html": html})
    else:
        print(html, end="")
    return 0


def _changed(options: argparse.Namespace, what: str, entries: Iterable[Entry]) -> int:
    from wheelsmith.cli import show

    rows = [_row(entry) for entry in entries]
    if options.json:
        show.as_json({"schema_version": 1, "index": options.index, "dry_run": options.dry_run, "files": rows})
        return 0
    for row in rows:
        print(f"{'would be ' if options.dry_run else ''}{what}: {row['filename']}")
    if not rows:
        print("Nothing changes.")
    return 0


def _row(entry: Entry) -> IndexFile:
    return {
        "filename": entry.filename,
        "version": entry.version,
        "variant": entry.variant,
        "size": entry.size,
        "sha256": entry.sha256,
        "upload_time": entry.upload_time.isoformat(),
        "yanked": entry.yanked,
        "publication": entry.publication,
        "path": entry.path,
    }


def _marks(entry: Entry, status: str) -> Iterable[str]:
    if status != "active":
        yield status
    if entry.yanked is not None:
        yield f"yanked: {entry.yanked}" if entry.yanked else "yanked"
