"""Wheels as a package index publishes them: which there are, and their bytes into the store.

In: a requirement and an index. Out: `PublishedWheel`s, and paths in the store. Which of them is the best is decided by
`wheelsmith.compat.picker`. Fails with `OfflineError`, `NetworkError`, `SourceError` and `UsageError`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from wheelsmith.errors import OfflineError, SourceError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.events import Listener
    from wheelsmith.store import Store


@dataclass(frozen=True, slots=True)
class PublishedWheel:
    """A wheel on an index's page: where it is, and what the page says of it."""

    filename: str
    url: str
    sha256: str | None
    requires_python: str | None
    yanked: bool


@dataclass(frozen=True, slots=True)
class PackageIndex:
    """A package index as somebody reads it: its simple API (None: the default index), and whether it may be asked."""

    url: str | None
    store: Store
    listener: Listener
    offline: bool = False


def parse_requirement(text: str) -> Requirement:
    """A requirement (PEP 508).

    Raises:
        UsageError: it is none.
    """
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise UsageError(f"{text!r} is not a requirement (PEP 508).", "Write it as in vllm==0.15.1.") from error


def published_wheels(project: str, index: PackageIndex) -> tuple[PublishedWheel, ...]:
    """All wheels of a project.

    Raises:
        OfflineError: the index would have to be asked.
        NetworkError: it does not answer.
        SourceError: it has no such project, or no files of it.
    """
    from wheelsmith.sources.http import open_session
    from wheelsmith.sources.model import redact
    from wheelsmith.sources.project_page import index_or_default, project_page

    if index.offline:
        raise OfflineError(
            f"The package index would have to be asked for {project}.", "Run without --offline, or give a wheel."
        )
    session, url = open_session(index_or_default(index.url))
    with session:
        files = project_page(url, project, session)
    if not files:
        raise SourceError(f"The index {redact(url)} has no files of {project}.", "Choose another: --index-url.")
    return tuple(
        PublishedWheel(file.filename, file.url, file.sha256, file.requires_python, file.yanked)
        for file in files
        if file.kind == "wheel"
    )


def fetch_published(wheel: PublishedWheel, index: PackageIndex) -> Path:
    """The wheel under its own name in the store.

    Raises:
        OfflineError: it is not in the store, and may not be fetched.
        NetworkError, HashMismatchError: it cannot be fetched, or is something else.
        SourceError: the index gives no hash of it.
    """
    from wheelsmith.sources.http import download, open_session
    from wheelsmith.sources.project_page import index_or_default

    digest = wheel.sha256
    if digest is None:
        raise SourceError(f"The index gives no SHA-256 for {wheel.filename}.", "Choose another with --index-url.")
    if index.offline and not index.store.blob(digest).is_file():
        raise OfflineError(f"{wheel.filename} would have to be fetched.", "Run without --offline, or give a wheel.")
    session, _ = open_session(index_or_default(index.url))  # with the credentials for the index's host
    with session:
        download(wheel.url, digest, index.store, listener=index.listener, session=session)

    def link(directory: Path) -> None:
        os.link(index.store.blob(digest), directory / wheel.filename)

    directory, _ = index.store.make_directory("published", digest, link)
    return directory / wheel.filename
