"""The pages of the index, as bytes.

In: entries, or project names. Out: HTML (PEP 503, 592, 714, 740, 792; frozen at 1.4 by PEP 833) and JSON (PEP 691,
700, 592, 714, 740, 792; 1.4), the same bytes for the same input. Nothing can fail: entries were checked when they
were published. URLs are relative, so the pages work under any host, any path and `file:`. That holds for provenance
too, where PEP 740 wants the whole URL: static pages do not know their host.
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wheelsmith.index import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wheelsmith.index.entry import Entry

API_VERSION = "1.4"  # PEP 792
BASE = "../../"  # from <root>/simple/<project>/ to the folder of the wheels


def file_url(path: str, base: str = BASE) -> str:
    """Return the percent-encoded URL of a file relative to its project page (`+` becomes `%2B`)."""
    return base + quote(path)


def project_html(
    project: str,
    entries: Sequence[Entry],
    base: str = BASE,
    *,
    status: str = "active",
    status_reason: str | None = None,
    beside: Iterable[str] = (),
) -> bytes:
    """Return the HTML page of one project (PEP 503); `status` is PEP 792's, `beside` are files in the same folder."""
    marks = {"pypi:project-status": status, "pypi:project-status-reason": status_reason}
    if status == "active" and status_reason is None:
        marks = {}
    links = [_file_link(entry, base) for entry in entries]
    links += [link(name, {"href": quote(name)}) for name in beside]
    return page_html(f"Links for {project}", links, marks)


def project_json(
    project: str,
    entries: Sequence[Entry],
    base: str = BASE,
    *,
    status: str = "active",
    status_reason: str | None = None,
    beside: Iterable[str] = (),
) -> bytes:
    """Return the JSON page of one project (PEP 691, 700); the arguments are as for `project_html`."""
    document: dict[str, Any] = {"meta": {"api-version": API_VERSION}, "name": project}
    if status != "active" or status_reason is not None:
        document["project-status"] = {"status": status}
        if status_reason is not None:
            document["project-status"]["reason"] = status_reason
    document["versions"] = list(dict.fromkeys(entry.version for entry in entries))
    document["files"] = [_file_object(entry, base) for entry in entries]
    document["files"] += [{"filename": name, "url": quote(name), "hashes": {}} for name in beside]
    return page_json(document)


def root_html(projects: Iterable[str]) -> bytes:
    """Return the HTML page that lists all projects (PEP 503)."""
    links = (f'<a href="{quote(name)}/">{escape(name)}</a>' for name in projects)
    return page_html("Simple index", links, {})


def root_json(projects: Iterable[str]) -> bytes:
    """Return the JSON page that lists all projects (PEP 691)."""
    return page_json({"meta": {"api-version": API_VERSION}, "projects": [{"name": name} for name in projects]})


def _file_link(entry: Entry, base: str) -> str:
    attributes = {
        "href": f"{file_url(entry.path, base)}#sha256={entry.sha256}",
        "data-requires-python": entry.requires_python,
        "data-core-metadata": f"sha256={entry.metadata_sha256}",
        "data-provenance": _provenance_url(entry, base),
        "data-yanked": entry.yanked,
    }
    return link(entry.filename, attributes)


def link(text: str, attributes: dict[str, str | None]) -> str:
    """Return an HTML link; attributes that are None are left out."""
    inside = " ".join(f'{key}="{escape(value)}"' for key, value in attributes.items() if value is not None)
    return f"<a {inside}>{escape(text)}</a>"


def _file_object(entry: Entry, base: str) -> dict[str, object]:
    item: dict[str, object] = {
        "filename": entry.filename,
        "url": file_url(entry.path, base),
        "hashes": {"sha256": entry.sha256},
        "core-metadata": {"sha256": entry.metadata_sha256},
        "size": entry.size,
        "upload-time": entry.upload_time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    if entry.requires_python is not None:
        item["requires-python"] = entry.requires_python
    if entry.provenance_sha256 is not None:
        item["provenance"] = _provenance_url(entry, base)
    if entry.yanked is not None:
        item["yanked"] = entry.yanked or True
    return item


def _provenance_url(entry: Entry, base: str) -> str | None:
    return file_url(keys.provenance(entry.path), base) if entry.provenance_sha256 else None


def page_html(title: str, links: Iterable[str], marks: dict[str, str | None]) -> bytes:
    """Return an HTML page of links (PEP 503); `marks` are meta elements by name, those that are None left out."""
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta name="pypi:repository-version" content="{API_VERSION}">',
        *(f'<meta name="{name}" content="{escape(value)}">' for name, value in marks.items() if value is not None),
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


def page_json(document: Mapping[str, object]) -> bytes:
    """Return a JSON page (PEP 691)."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
