"""Files over HTTP(S), or from a local path, into the store, with their digest checked on the way.

In: a URL and the SHA-256 it must have. Out: a blob in the store. Fails with `NetworkError` (which names the URL, never
its credentials), `HashMismatchError` and `SourceError`; a full disk stays an `OSError`. What fails leaves nothing.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth

from wheelsmith.errors import HashMismatchError, NetworkError, SourceError
from wheelsmith.events import Progress
from wheelsmith.fsutil import sha256_of
from wheelsmith.packing import pack
from wheelsmith.sources.model import STAGE, AbsentError, redact
from wheelsmith.sources.patience import LIMIT_REMEDY, MOST_REDIRECTS, TIMEOUT, Patient, Session, most_bytes, steady
from wheelsmith.trust import TLS_REMEDY, authorities, is_tls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.events import Listener
    from wheelsmith.store import Store

_CHUNK = 1 << 18
REMEDY = (
    "Check the connection, the proxy variables and the URL; name a mirror of it under [mirrors] in the configuration"
    " file (for a package index --index-url does as well); --offline works with what was fetched before."
)


class _HostAuth(AuthBase):
    """Basic authentication for one host: credentials of an index must not reach the host of its files."""

    def __init__(self, host: str, user: str, password: str) -> None:
        self._host = host
        self._basic = HTTPBasicAuth(user, password)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return self._basic(request) if urlsplit(request.url or "").netloc == self._host else request


def open_session(url: str) -> tuple[requests.Session, str]:
    """A session for `url`, and `url` without the credentials, which the session keeps for that host alone.

    The proxy variables of the caller hold, `~/.netrc`, and the authorities of `wheelsmith.trust`.
    """
    session = Session()
    session.verify = authorities() or True
    session.max_redirects = MOST_REDIRECTS
    session.headers["User-Agent"] = "wheelsmith"
    for scheme in ("http://", "https://"):
        session.mount(scheme, Patient())
    parts = urlsplit(url)
    userinfo, _, host = parts.netloc.rpartition("@")
    if userinfo:
        user, _, password = userinfo.partition(":")
        session.auth = _HostAuth(host, unquote(user), unquote(password))
    return session, urlunsplit(parts._replace(netloc=host))


@contextmanager
def network_errors(url: str) -> Iterator[None]:
    """Turn the exceptions of requests and urllib3 into `NetworkError`, in words that hold no credentials."""
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code
        remedy = REMEDY
        if status in {401, 403, 407}:
            remedy = "Give credentials for this host in ~/.netrc, or in the URL given to --index-url."
        raise NetworkError(f"{redact(url)} answered with HTTP status {status}.", remedy) from error
    except RecursionError as error:
        raise NetworkError(f"{redact(url)} answers with a page that is nested too deeply.", REMEDY) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        reason = _reason(error)
        untrusted = isinstance(error, requests.exceptions.SSLError) or is_tls(str(error))
        remedy = TLS_REMEDY if untrusted else REMEDY
        raise NetworkError(f"{redact(url)} cannot be fetched: {reason}.", remedy) from error


def _reason(error: BaseException) -> str:
    """The innermost reason, in the words of the library that knows it."""
    while True:
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    slow = isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError))
    if slow and not isinstance(error, urllib3.exceptions.NewConnectionError):
        return f"no answer within {TIMEOUT[0]:.0f} s to connect, {TIMEOUT[1]:.0f} s to read"
    return redact(str(error).rpartition("): ")[2]).rstrip(".") or type(error).__name__


def has_blob(store: Store, sha256: str) -> bool:
    """Whether the store holds this blob undamaged. A damaged one is removed."""
    blob = store.blob(sha256)
    if not blob.is_file():
        return False
    if sha256_of(blob) == sha256:
        return True
    blob.unlink(missing_ok=True)
    return False


def download(
    url: str,
    sha256: str,
    store: Store,
    *,
    listener: Listener,
    session: requests.Session | None = None,
) -> int:
    """Bring the file at `url` (http, https, file) into the store, unless it is there.

    Returns:
        How many bytes were fetched; 0 when another process was faster.

    Raises:
        NetworkError: the host cannot be reached, breaks off, or answers with an error.
        HashMismatchError: the bytes are others than `sha256` says.
        SourceError: the local file is not there, or the scheme is not supported.
    """
    with store.lock(f"blob-{sha256}", wait=True):
        if has_blob(store, sha256):
            return 0
        blob = store.blob(sha256)
        # One name, not a random one: what a killed process left is overwritten, not collected.
        temporary = blob.with_name(f".{sha256}.part")
        try:
            digest, size = _receive(url, temporary, listener, session)
            if digest != sha256:
                raise HashMismatchError(
                    f"{redact(url)} has the SHA-256 {digest}, not {sha256} as the recipe pins.",
                    "Nothing of it was kept. Ask its publisher which one is right before changing the recipe.",
                )
            temporary.replace(blob)
        finally:
            temporary.unlink(missing_ok=True)
    return size


def read_url(url: str, most: int = 1 << 20) -> bytes:
    """A small file at `url` (http, https, file), not kept.

    Raises:
        NetworkError: the host cannot be reached, answers with an error, or sends more than `most` bytes.
        SourceError: the local file is not there, or the scheme is not supported.
    """
    data = b""
    with network_errors(url), _open(url, None) as (chunks, _):
        for chunk in chunks:
            data += chunk
            if len(data) > most:
                raise NetworkError(f"{redact(url)} has more than {most:,} bytes.", REMEDY)
    return data


def _receive(url: str, to: Path, listener: Listener, session: requests.Session | None) -> tuple[str, int]:
    if url.startswith("file:") and (directory := Path(url2pathname(urlsplit(url).path))).is_dir():
        with to.open("wb") as file:
            pack(directory, file)
        return sha256_of(to), to.stat().st_size
    label = redact(url).rpartition("/")[2]
    digest, done = hashlib.sha256(), 0
    with to.open("wb") as file, network_errors(url), _open(url, session) as (chunks, total):
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            listener(Progress(STAGE, label, done, total))
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), done


@contextmanager
def _open(url: str, session: requests.Session | None) -> Iterator[tuple[Iterator[bytes], int | None]]:
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        path = Path(url2pathname(parts.path))
        try:
            file = path.open("rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise AbsentError(f"There is no file {path}.", "Correct the archive's url in the recipe.") from error
        with file:
            yield iter(lambda: file.read(_CHUNK), b""), path.stat().st_size
        return
    if parts.scheme not in {"http", "https"}:
        raise SourceError(f"{redact(url)} is not an http, https or file URL.", "Correct the URL in the recipe.")
    if session is None:
        session, url = open_session(url)
    # The digest is that of the file as published: no server may compress it on the way, and nothing unpacks it.
    with session.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as response:
        response.raise_for_status()
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() and len(length) < 20 else None
        if total is not None and total > (most := most_bytes()):
            cause = f"{redact(url)} says that it has {total:,} bytes, and {most:,} are the most that is fetched."
            raise NetworkError(cause, LIMIT_REMEDY)
        yield steady(response), total
