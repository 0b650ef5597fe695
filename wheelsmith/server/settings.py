"""How a server is to behave.

In: values, once, at the start. Out: a frozen `Settings` that every part of the server reads. Fails with
`UsageError` when they contradict themselves.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from platformdirs import user_state_path

from wheelsmith.errors import UsageError
from wheelsmith.index.layout import Layout
from wheelsmith.index.location import local_directory

MIB = 2**20
_PUBLIC = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(?:/[A-Za-z0-9._~%+/-]*)?")  # what may stand in a command unquoted


def bare_url(url: str) -> str:
    """A URL without the credentials in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides how the server answers.

    Attributes:
        root: the index: a directory, or the URL of a bucket.
        state: directory for what is the server's alone: tokens, audit log, uploads on their way in, files of the
            upstream; None: `.wheelsmith` in a directory index, a folder of the user's state directory for a bucket.
        private: reading needs a token with the scope `read`; otherwise everybody reads. Uploads always need one.
        read_only: nothing is written to the index, and nothing is taken in; a directory that cannot be written is
            served so anyway.
        upstream: URL of a simple index that the names in `allow` come from; None: there is none.
        allow: project names, or patterns with `*`, that may come from there. Names that the index owns never do.
        proxy: the upstream's pages and files come through this server, checked and kept; else clients are redirected.
        page_seconds: how old a page of the upstream may be before it is asked for again.
        upstream_seconds: longest wait for the upstream to connect, or to go on.
        max_cache: bytes of files and pages of the upstream that are kept; the longest unused go first.
        reserve: project names, or patterns, that are ours though nothing of them is published yet.
        public_url: address of `simple/` as clients know it, for commands on pages; None: the address that this server
            listens on. What a request says in Host is never printed.
        max_upload: largest body of an upload, and largest file from the upstream, in bytes.
        max_unpacked: largest sum of the unpacked members of an uploaded wheel, in bytes.
        max_uploads: uploads, and files from the upstream, at the same time; more are answered 503.
        max_audit: bytes after which the audit log is renamed and begun again; five are kept.
        max_connections: connections at the same time; above that, those that wait longest for a request are closed.
        max_waiting: connections of one address that wait for a request, or are in the middle of its headers.
        max_per_address: requests of one address that are worked on at the same time; more are answered 503.
        request_seconds: a request's headers must be complete this long after the connection became free.
        stall_seconds: a reader who takes nothing, or an uploader who sends nothing, for so long is cut off.
        upload_rate: bytes per second below which an upload, or an answer of the upstream, is cut off as a whole, after
            `stall_seconds` or `upstream_seconds`.
    """

    root: Path | str
    state: Path | None = None
    private: bool = False
    read_only: bool = False
    upstream: str | None = None
    allow: tuple[str, ...] = ()
    proxy: bool = False
    page_seconds: float = 600
    upstream_seconds: float = 20
    max_cache: int = 100 * 1024 * MIB
    reserve: tuple[str, ...] = ()
    public_url: str | None = None
    max_upload: int = 4096 * MIB
    max_unpacked: int = 16384 * MIB
    max_uploads: int = 8
    max_audit: int = 64 * MIB
    max_connections: int = 1000
    max_waiting: int = 256
    max_per_address: int = 200
    request_seconds: float = 30
    stall_seconds: float = 60
    upload_rate: int = 64 * 1024

    def __post_init__(self) -> None:
        if (self.upstream is None) != (not self.allow):
            raise UsageError(
                "An upstream index and the names that may come from it belong together: only one of them is given.",
                "Give both --upstream URL and --allow NAME, or neither.",
            )
        if self.proxy and self.upstream is None:
            raise UsageError("There is no upstream index to be a proxy for.", "Give --upstream URL and --allow NAME.")
        if self.upstream is not None and (
            urlsplit(self.upstream).scheme not in {"http", "https"} or not urlsplit(self.upstream).hostname
        ):
            raise UsageError(
                f"The upstream {self.upstream!r} is no http or https URL.", "Give the URL of a simple index."
            )
        if self.public_url is not None and not _PUBLIC.fullmatch(self.public_url):
            raise UsageError(
                f"{self.public_url!r} is no address of an index.", "Give it as in https://wheels.example/simple/."
            )

    @property
    def directory(self) -> Path | None:
        """The index's directory; None for a bucket."""
        return local_directory(self.root)

    @property
    def takes_uploads(self) -> bool:
        """Whether the index may be written."""
        directory = self.directory
        return not self.read_only and (directory is None or not directory.exists() or os.access(directory, os.W_OK))

    @property
    def private_folder(self) -> Path:
        """The directory of what is the server's alone; never served."""
        if self.state is not None:
            return self.state.absolute()
        if (directory := self.directory) is not None:
            return Layout(directory).lock.parent
        digest = hashlib.sha256(str(self.root).rstrip("/").encode()).hexdigest()[:16]
        return user_state_path("wheelsmith") / "index" / digest

    @property
    def keeps_state(self) -> bool:
        """Whether the server may write what is its own."""
        folder = self.private_folder
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return os.access(folder, os.W_OK) and (self.state is not None or self.directory is None or not self.read_only)

    @property
    def tokens(self) -> Path:
        """The folder of the hashed tokens."""
        return self.private_folder / "tokens"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.private_folder / "audit.jsonl"

    @property
    def incoming(self) -> Path:
        """The folder of uploads on their way in."""
        return self.private_folder / "incoming"
