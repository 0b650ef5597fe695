"""What an index is for its clients: served, exported, linked to, with tokens and configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.api.defaults import DEFAULT_INDEX, PathLike, disk_full
from wheelsmith.api.indexing import where
from wheelsmith.distribution import extra_remedy

if TYPE_CHECKING:
    from wheelsmith.index.clients import Client
    from wheelsmith.index.export import Exported
    from wheelsmith.server.tokens import Token, TokenBook


def index_serve(
    *,
    index: PathLike = DEFAULT_INDEX,
    host: str = "127.0.0.1",
    port: int = 8080,
    private: bool = False,
    public_url: str | None = None,
    upstream: str | None = None,
    allow: Sequence[str] = (),
    proxy: bool = False,
    reserve: Sequence[str] = (),
    max_upload: int = 4 << 30,
    max_cache: int = 100 << 30,
    state: PathLike | None = None,
    read_only: bool = False,
    workers: int = 1,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the index over HTTP until SIGINT or SIGTERM.

    Args:
        index: the index.
        host: address to listen on.
        port: TCP port; 0 for any free one.
        private: reading needs a token too.
        public_url: address of `simple/` as clients know it.
        upstream: URL of a simple index that the names in `allow` come from.
        allow: project names, or patterns with `*`.
        proxy: fetch, check and keep what comes from there, instead of redirecting.
        reserve: names that are ours though nothing of them is published.
        max_upload: bytes.
        max_cache: bytes of what is kept of the upstream.
        state: directory of tokens, audit log, uploads on their way in, and what is kept of the upstream; default:
            `.wheelsmith` in a directory index, a folder of the user's state directory for a bucket.
        read_only: take no uploads and write nothing to the index.
        workers: processes.
        ready: hears the server's URL when it accepts connections.

    Raises:
        UsageError: the options contradict each other, the address cannot be had, or the server's packages are missing.
        StoreError: the index cannot be read or written.
    """
    with _server_packages():
        from wheelsmith.server.run import serve
        from wheelsmith.server.settings import Settings
    settings = Settings(
        root=where(index),
        state=None if state is None else Path(state),
        read_only=read_only,
        max_cache=max_cache,
        private=private,
        upstream=upstream,
        allow=tuple(allow),
        proxy=proxy,
        reserve=tuple(reserve),
        public_url=public_url,
        max_upload=max_upload,
    )
    serve(settings, host, port, workers=workers, ready=ready)


def index_token_create(
    name: str,
    *,
    index: PathLike = DEFAULT_INDEX,
    read: bool = False,
    publish: Sequence[str] = (),
    days: float | None = 90,
    state: PathLike | None = None,
) -> tuple[Token, str]:
    """Make a token for the index's server, and return it with its secret, which cannot be had again.

    Args:
        name: what people call it.
        index: the index.
        read: it may read a private index.
        publish: project names, or patterns with `*`, that it may publish.
        days: how long it is valid; None: until it is revoked.
        state: the server's own directory, if that was said when it was started.

    Raises:
        UsageError: it would allow nothing, or a pattern is no project name.
    """
    return _tokens(index, state).create(name, read=read, publish=tuple(publish), days=days)


def index_tokens(*, index: PathLike = DEFAULT_INDEX, state: PathLike | None = None) -> tuple[Token, ...]:
    """All tokens of the index's server, oldest first, without their secrets."""
    return _tokens(index, state).all()


def index_token_revoke(ident: str, *, index: PathLike = DEFAULT_INDEX, state: PathLike | None = None) -> Token:
    """End a token now.

    Raises:
        UsageError: there is no such token.
    """
    return _tokens(index, state).revoke(ident)


def client_config(client: Client, url: str, projects: Sequence[str] = ()) -> str:
    """The configuration of a client for the index whose `simple/` is at `url`.

    Raises:
        UsageError: the URL is none, or holds credentials.
    """
    from wheelsmith.index.clients import client_config as written

    return written(client, url, projects)


def index_export(target: PathLike, *, index: PathLike = DEFAULT_INDEX) -> Exported:
    """Make the directory `target` hold all that clients may have of the index, and nothing else.

    Raises:
        UsageError: there is no such index, or `target` holds something else.
    """
    from wheelsmith.index.export import export

    with disk_full():
        return export(where(index), Path(target))


def index_links(projects: Sequence[str], *, index: PathLike, hours: float = 1) -> str:
    """HTML with signed links to the wheels of `projects` in a bucket, for `pip install --find-links`.

    Raises:
        UsageError: the index is no bucket that signs, or has no such project.
    """
    from wheelsmith.index.export import signed_links

    return signed_links(where(index), projects, hours=hours)


def _tokens(index: PathLike, state: PathLike | None) -> TokenBook:
    from wheelsmith.server.settings import Settings
    from wheelsmith.server.tokens import TokenBook

    return TokenBook(Settings(root=where(index), state=None if state is None else Path(state)).tokens)


@contextmanager
def _server_packages() -> Iterator[None]:
    """Say it in one sentence if what the server needs is not installed."""
    from wheelsmith.errors import UsageError

    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"The index server needs {error.name}, which is not installed.",
            extra_remedy("server"),
        ) from error
