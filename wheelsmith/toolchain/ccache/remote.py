"""The shared cache behind the local one: entries in a bucket or in Redis.

In: a URL. Out: `Entries`. Opening fails with `UsageError`, everything after that with `OSError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheelsmith.distribution import extra_remedy
from wheelsmith.errors import UsageError
from wheelsmith.toolchain.ccache.entries import LARGEST, Entries, entry_path
from wheelsmith.trust import authorities

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

SCHEMES = ("s3", "gs", "az", "redis", "rediss", "unix")
_TIMEOUT = 10  # seconds


def connect(url: str) -> Entries:
    """Open `s3://bucket/prefix`, `gs://…`, `az://…`, `redis://host:port/db`, `rediss://…`, `unix:///path`.

    Credentials come from the URL (Redis) or from the vendor's own variables (`AWS_ACCESS_KEY_ID`, …). Nothing is sent
    yet: a server that is not there shows at the first entry.

    Raises:
        UsageError: the scheme is not known, a library is not installed, or the URL is not valid.
    """
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise UsageError(
            f"{shown(url)} is no compile cache: {scheme}:// is not known.",
            f"Use a directory, or a URL that begins with one of {', '.join(SCHEMES)}.",
        )
    try:
        return _redis(url) if scheme in ("redis", "rediss", "unix") else _bucket(url)
    except ModuleNotFoundError as error:
        raise UsageError(f"The cache {shown(url)} needs the package {error.name}.", extra_remedy("cloud")) from error
    except ValueError as error:
        raise UsageError(
            f"The cache {shown(url)} cannot be opened: {error}.", "Check the URL and the variables."
        ) from error


def shown(url: str) -> str:
    """The URL without a password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url


@dataclass(frozen=True, slots=True)
class _Calls:
    """A remote made of two functions."""

    getting: Callable[[str], bytes | None]
    putting: Callable[[str, bytes], object]

    def get(self, name: str) -> bytes | None:
        return self.getting(name)

    def put(self, name: str, data: bytes) -> None:
        self.putting(name, data)


def _redis(url: str) -> Entries:
    import redis

    trusted: dict[str, str] = {}
    if url.startswith("rediss") and (place := authorities()):
        trusted = {"ssl_ca_path" if os.path.isdir(place) else "ssl_ca_certs": place}  # noqa: PTH112
    client = redis.Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, **trusted)

    def get(name: str) -> bytes | None:
        with _as_os_error(redis.RedisError):
            found = client.get(f"wheelsmith:{name}")
            return found if isinstance(found, bytes) else None

    def put(name: str, data: bytes) -> None:
        with _as_os_error(redis.RedisError):
            client.set(f"wheelsmith:{name}", data)

    return _Calls(get, put)


def _bucket(url: str) -> Entries:
    from datetime import timedelta

    import obstore
    from obstore.exceptions import BaseError, UnknownConfigurationKeyError
    from obstore.store import from_url

    plain = url.startswith("s3") and os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    options: ClientConfig = {"timeout": f"{_TIMEOUT}s", "connect_timeout": f"{_TIMEOUT}s"}
    if plain:
        options["allow_http"] = True
    try:
        retries: RetryConfig = {"max_retries": 1, "retry_timeout": timedelta(seconds=_TIMEOUT)}
        store = from_url(url, client_options=options, retry_config=retries)
    except (BaseError, UnknownConfigurationKeyError) as error:
        raise ValueError(str(error)) from error

    def get(name: str) -> bytes | None:
        with _as_os_error(BaseError):
            try:
                found = obstore.get(store, entry_path(name))
                if found.meta["size"] > LARGEST:
                    raise OSError(f"an entry has {found.meta['size']:,} bytes")
                return bytes(found.bytes())
            except FileNotFoundError:
                return None

    def put(name: str, data: bytes) -> None:
        with _as_os_error(BaseError):
            obstore.put(store, entry_path(name), data)

    return _Calls(get, put)


@contextmanager
def _as_os_error(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        raise OSError(str(error).partition("\n")[0][:200]) from error
