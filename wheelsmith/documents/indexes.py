"""What an index holds, and what changed in it, as JSON.

In: nothing. Out: shapes (see `wheelsmith.documents.table`). Nothing can fail.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class PublishedFacts(TypedDict):
    """A wheel that is in the index now."""

    filename: str
    sha256: str
    size: int
    already_there: bool


class PublishDocument(TypedDict):
    """`wheelsmith publish`."""

    schema_version: int
    index: str
    published: list[PublishedFacts]


class IndexFile(TypedDict):
    """A file of the index."""

    filename: str
    version: str
    variant: str | None
    size: int
    sha256: str
    upload_time: str
    yanked: str | None
    publication: str | None
    path: str


class IndexProject(TypedDict):
    """A project of the index."""

    name: str
    status: str
    status_reason: str | None
    files: list[IndexFile]


class IndexListDocument(TypedDict):
    """`wheelsmith index list`."""

    schema_version: int
    index: str
    projects: list[IndexProject]


class IndexFinding(TypedDict):
    """Something that is wrong with the index."""

    kind: str
    key: str
    text: str
    repaired: bool


class IndexVerifyDocument(TypedDict):
    """`wheelsmith index verify`."""

    schema_version: int
    index: str
    files: int
    bytes: int
    pages: int
    sound: bool
    findings: list[IndexFinding]


class IndexChangeDocument(TypedDict):
    """`wheelsmith index yank`, `unyank` and `rm`: the files whose state changes."""

    schema_version: int
    index: str
    dry_run: bool
    files: list[IndexFile]


class IndexStatusDocument(TypedDict):
    """`wheelsmith index status`."""

    schema_version: int
    index: str
    dry_run: bool
    project: str
    before: str
    after: str


class IndexGcDocument(TypedDict):
    """`wheelsmith index gc`: what is removed."""

    schema_version: int
    index: str
    dry_run: bool
    bytes: int
    files: list[IndexFile]
    publications: list[str]
    leftovers: list[str]
    pinned: list[str]


class IndexRebuildDocument(TypedDict):
    """`wheelsmith index rebuild`: keys of the pages that change."""

    schema_version: int
    index: str
    dry_run: bool
    changed: list[str]


class IndexExportDocument(TypedDict):
    """`wheelsmith index export`: files in the target in all, and keys of those that changed."""

    schema_version: int
    index: str
    target: str
    objects: int
    written: list[str]
    removed: list[str]


class IndexLinksDocument(TypedDict):
    """`wheelsmith index links`."""

    schema_version: int
    index: str
    html: str


class IndexServeDocument(TypedDict):
    """`wheelsmith index serve`: printed once the server accepts connections."""

    schema_version: int
    index: str
    url: str
    simple: str
    upload: str


class TokenDocument(TypedDict):
    """A token of the index server: `wheelsmith index token create`, `revoke` and, in its list, `list`."""

    schema_version: int
    id: str
    name: str
    read: bool
    publish: list[str]
    created: str
    expires: str | None
    state: str
    secret: NotRequired[str]
    """Shown once, when the token is made."""


class TokensDocument(TypedDict):
    """`wheelsmith index token list`."""

    schema_version: int
    tokens: list[TokenDocument]


class ClientConfigDocument(TypedDict):
    """`wheelsmith index client-config`."""

    schema_version: int
    client: str
    text: str
