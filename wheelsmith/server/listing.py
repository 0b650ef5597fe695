"""What a page of an upstream index lists, and that list as a page of ours.

In: a JSON page (PEP 691) of a stranger, and the URL that it came from. Out: a `Listing`, and pages whose links lead to
this server. Taken over is only what can be held to: files with a SHA-256, of the project that was asked for, under
names that are wheels' or source distributions'. Fails with `UpstreamError` on what is no page of this project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urldefrag, urljoin

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion

from wheelsmith.index import pages
from wheelsmith.server.upstream import UpstreamError

_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.(?:whl|tar\.gz|zip)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN: dict[str, tuple[type, ...]] = {
    "size": (int,),
    "upload-time": (str,),
    "requires-python": (str,),
    "yanked": (bool, str),
}


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file on a page.

    Attributes:
        filename: its name.
        url: where the upstream has it.
        sha256: 64 hexadecimal digits.
        size: bytes, if the page says so.
        metadata: SHA-256 of the METADATA beside it (PEP 714), or None.
        shown: what our page says of it, but for its URL.
    """

    filename: str
    url: str
    sha256: str
    size: int | None
    metadata: str | None
    shown: dict[str, Any]

    def link(self, project: str, base: str) -> str:
        """The way to it through this server; `base` leads from the page to the root."""
        return f"{base}upstream/{quote(project)}/{self.sha256}/{quote(self.filename)}"


@dataclass(frozen=True, slots=True)
class Listing:
    """A project's page: its files, its versions and its status (PEP 792), if it has one."""

    project: str
    files: tuple[ListedFile, ...]
    versions: tuple[str, ...]
    status: dict[str, str]

    @classmethod
    def of(cls, project: str, page: Any, url: str) -> Listing:
        """Read a JSON page that came from `url`.

        Raises:
            UpstreamError: it is no such page, or that of another project.
        """
        try:
            if canonicalize_name(page["name"]) != project or not page["meta"]["api-version"].startswith("1."):
                raise UpstreamError("upstream-lie", "The upstream's page is of another project, or of another API.")
            status = page.get("project-status", {})
            return cls(
                project=project,
                files=tuple(file for entry in page["files"] if (file := _file(project, url, entry)) is not None),
                versions=tuple(map(str, page.get("versions", ()))),
                status={key: str(status[key]) for key in ("status", "reason") if key in status},
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UpstreamError("upstream-lie", "The upstream's page is no JSON page of a simple index.") from error

    def find(self, filename: str, sha256: str) -> ListedFile | None:
        """The file of this name and digest."""
        return next((file for file in self.files if (file.filename, file.sha256) == (filename, sha256)), None)

    def as_json(self, base: str) -> bytes:
        """The page as JSON (PEP 691)."""
        document: dict[str, Any] = {"meta": {"api-version": pages.API_VERSION}, "name": self.project}
        if self.status:
            document["project-status"] = self.status
        document["versions"] = list(self.versions)
        document["files"] = [{**file.shown, "url": file.link(self.project, base)} for file in self.files]
        return pages.page_json(document)

    def as_html(self, base: str) -> bytes:
        """The page as HTML (PEP 503)."""
        marks = {
            "pypi:project-status": self.status.get("status"),
            "pypi:project-status-reason": self.status.get("reason"),
        }
        links = (_link(file, file.link(self.project, base)) for file in self.files)
        return pages.page_html(f"Links for {self.project}", links, marks)


def _file(project: str, page_url: str, file: dict[str, Any]) -> ListedFile | None:
    """What a page says of a file; None: it cannot be verified, or is no file of this project."""
    filename, sha256 = file["filename"], file["hashes"].get("sha256", "")
    if not _FILENAME.fullmatch(filename) or not _SHA256.fullmatch(sha256) or not _is_of(project, filename):
        return None
    stated = file.get("core-metadata", file.get("dist-info-metadata"))
    metadata = stated.get("sha256") if isinstance(stated, dict) and filename.endswith(".whl") else None
    metadata = metadata if isinstance(metadata, str) and _SHA256.fullmatch(metadata) else None
    size = file.get("size")
    shown: dict[str, Any] = {"filename": filename, "hashes": {"sha256": sha256}}
    if metadata:
        shown["core-metadata"] = {"sha256": metadata}
    shown |= {key: file[key] for key, kinds in _SHOWN.items() if isinstance(file.get(key), kinds)}
    return ListedFile(
        filename=filename,
        url=urldefrag(urljoin(page_url, file["url"])).url,
        sha256=sha256,
        size=size if isinstance(size, int) and size >= 0 else None,
        metadata=metadata,
        shown=shown,
    )


def _is_of(project: str, filename: str) -> bool:
    try:
        named = (parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename)(filename)[0]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return False
    return named == project


def _link(file: ListedFile, url: str) -> str:
    yanked = file.shown.get("yanked", False)
    return pages.link(
        file.filename,
        {
            "href": f"{url}#sha256={file.sha256}",
            "data-requires-python": file.shown.get("requires-python"),
            "data-core-metadata": f"sha256={file.metadata}" if file.metadata else None,
            "data-yanked": yanked if isinstance(yanked, str) else "" if yanked else None,
        },
    )
