"""The pages of the index, as bytes.

In: entries, or project names. Out: HTML (PEP 503, 592, 714) and JSON (PEP 691, 700, 592, 714), the same bytes
for the same input. Nothing can fail: entries were checked when they were published. URLs are relative, so
the pages work under any host, any path and `file:`.
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wheelsmith.index.entry import Entry

API_VERSION = "1.1"  # PEP 700: versions, size, upload-time
BASE = "../../"  # from <root>/simple/<project>/ to the folder of the wheels


def file_url(filename: str, base: str = BASE) -> str:
    """Return the percent-encoded URL of a file relative to its project page (`+` becomes `%2B`)."""
    return base + quote(filename, safe="")


def project_html(project: str, entries: Sequence[Entry], base: str = BASE) -> bytes:
    """Return the HTML page of one project (PEP 503)."""
    return _html(f"Links for {project}", (_file_link(entry, base) for entry in entries))


def project_json(project: str, entries: Sequence[Entry], base: str = BASE) -> bytes:
    """Return the JSON page of one project (PEP 691, 700)."""
    return _json(
        {
            "meta": {"api-version": API_VERSION},
            "name": project,
            "versions": list(dict.fromkeys(entry.version for entry in entries)),
            "files": [_file_object(entry, base) for entry in entries],
        }
    )


def root_html(projects: Iterable[str]) -> bytes:
    """Return the HTML page that lists all projects (PEP 503)."""
    links = (f'<a href="{quote(name)}/">{escape(name)}</a>' for name in projects)
    return _html("Simple index", links)


def root_json(projects: Iterable[str]) -> bytes:
    """Return the JSON page that lists all projects (PEP 691)."""
    return _json({"meta": {"api-version": API_VERSION}, "projects": [{"name": name} for name in projects]})


def _file_link(entry: Entry, base: str) -> str:
    attributes = {
        "href": f"{file_url(entry.filename, base)}#sha256={entry.sha256}",
        "data-requires-python": entry.requires_python,
        "data-core-metadata": f"sha256={entry.metadata_sha256}",
        "data-yanked": entry.yanked,
    }
    text = " ".join(f'{key}="{escape(value)}"' for key, value in attributes.items() if value is not None)
    return f"<a {text}>{escape(entry.filename)}</a>"


def _file_object(entry: Entry, base: str) -> dict[str, Any]:
    item: dict[str, Any] = {
        "filename": entry.filename,
        "url": file_url(entry.filename, base),
        "hashes": {"sha256": entry.sha256},
        "core-metadata": {"sha256": entry.metadata_sha256},
        "size": entry.size,
        "upload-time": entry.upload_time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    if entry.requires_python is not None:
        item["requires-python"] = entry.requires_python
    if entry.yanked is not None:
        item["yanked"] = entry.yanked or True
    return item


def _html(title: str, links: Iterable[str]) -> bytes:
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta name="pypi:repository-version" content="{API_VERSION}">',
        f"<title>{escape(title)}</title>",
        "</head>",
        "<body>",
        f"<h1>{escape(title)}</h1>",
        *(f"{link}<br>" for link in links),
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(lines).encode()


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
