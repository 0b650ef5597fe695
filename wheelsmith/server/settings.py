"""How a server is to behave.

In: values, once, at the start. Out: a frozen `Settings` that every part of the server reads. Fails with
`UsageError` when they contradict themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wheelsmith.errors import UsageError
from wheelsmith.index.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20


def bare_url(url: str) -> str:
    """A URL without the credentials in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides how the server answers.

    Attributes:
        root: the index's directory.
        private: reading needs a token with the scope `read`; otherwise everybody reads. Uploads always need one.
        upstream: URL of a simple index that the names in `allow` come from; None: there is none.
        allow: project names, or patterns with `*`, that may come from there. Names that the index owns never do.
        proxy: the upstream's pages and files come through this server, checked and kept; else clients are redirected.
        page_seconds: how old a page of the upstream may be before it is asked for again.
        upstream_seconds: longest wait for the upstream to connect, or to go on.
        reserve: project names, or patterns, that are ours though nothing of them is published yet.
        public_url: address of `simple/` as clients know it, for commands on pages; None: as each request says.
        max_upload: largest body of an upload, and largest file from the upstream, in bytes.
        max_unpacked: largest sum of the unpacked members of an uploaded wheel, in bytes.
        max_uploads: uploads, and files from the upstream, at the same time; more are answered 503.
        max_connections: connections at the same time; more are answered 503.
        request_seconds: a request's headers must be complete this long after the connection became free.
        stall_seconds: a reader who takes nothing, or an uploader who sends nothing, for so long is cut off.
        upload_rate: bytes per second below which an upload, or an answer of the upstream, is cut off as a whole, after
            `stall_seconds` or `upstream_seconds`.
    """

    root: Path
    private: bool = False
    upstream: str | None = None
    allow: tuple[str, ...] = ()
    proxy: bool = False
    page_seconds: float = 600
    upstream_seconds: float = 20
    reserve: tuple[str, ...] = ()
    public_url: str | None = None
    max_upload: int = 4096 * MIB
    max_unpacked: int = 65536 * MIB
    max_uploads: int = 8
    max_connections: int = 1000
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

    @property
    def layout(self) -> Layout:
        """Where things are."""
        return Layout(self.root.absolute())

    @property
    def tokens(self) -> Path:
        """The folder of the hashed tokens; never served."""
        return self.layout.lock.parent / "tokens"

    @property
    def audit(self) -> Path:
        """The audit log; never served."""
        return self.layout.lock.parent / "audit.jsonl"

    @property
    def incoming(self) -> Path:
        """The folder of uploads on their way in; never served."""
        return self.layout.lock.parent / "incoming"
