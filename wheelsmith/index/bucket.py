"""An index in a bucket (S3, GCS, Azure) through `obstore`: safe for many writers on many machines.

In: keys and bytes. Out: objects. Nothing is locked: a wheel is uploaded under its own digest, where no two writers can
disagree, and small objects are replaced by compare-and-swap on their ETag. Fails with `StoreError`, `NetworkError` or
`UsageError` (no such bucket, no permission).

An upload that was cut off is no object; the bucket's lifecycle rule for incomplete multipart uploads removes its parts.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from obstore.store import from_url

from wheelsmith.errors import HashMismatchError, NetworkError, StoreError, UsageError
from wheelsmith.events import Progress
from wheelsmith.fsutil import sha256_of
from wheelsmith.index import keys
from wheelsmith.index.directory import open_wheel
from wheelsmith.index.storage import Arrival, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    from obstore import Attributes, PutMode, UpdateVersion
    from obstore.store import ObjectStore

    from wheelsmith.events import Listener

_CHUNK = 8 << 20  # of a multipart upload: S3 allows 10,000 parts, so 80 GB
_AT_ONCE = 16
_IMMUTABLE = "public, max-age=31536000, immutable"
_ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL",), "az": ("AZURITE_BLOB_STORAGE_URL",)}
_LASTING = (".whl", ".metadata")
_TYPES = {
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".metadata": "text/plain; charset=utf-8",
    ".provenance": "application/vnd.pypi.integrity.v1+json",
}


@dataclass(frozen=True, slots=True)
class BucketStorage:
    """The index in an object store. Implements `Storage`."""

    url: str
    store: ObjectStore

    @classmethod
    def open(cls, url: str) -> BucketStorage:
        """Open `s3://bucket/prefix`, `gs://…` or `az://…`.

        Raises:
            UsageError: the URL, or the configuration in the environment, is not usable.
        """
        plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS.get(url[:2], ()))
        try:
            store = from_url(url, client_options={"allow_http": True}) if plain else from_url(url)
        except (BaseError, UnknownConfigurationKeyError, ValueError) as error:
            raise UsageError(
                f"{url} cannot be opened: {error}.", "Check the URL and the vendor's variables."
            ) from error
        return cls(url.rstrip("/"), store)

    def read(self, key: str) -> Stored | None:
        """See `Storage`."""
        with self._errors(), suppress(FileNotFoundError):
            result = obstore.get(self.store, key)
            return Stored(bytes(result.bytes()), f"{result.meta['e_tag'] or ''}\n{result.meta['version'] or ''}")
        return None

    def swap(self, key: str, data: bytes, expected: Stored | None) -> bool:
        """See `Storage`."""
        if expected is not None and expected.data == data:
            return True
        mode: PutMode = "create" if expected is None else _unchanged(expected)
        try:
            with self._errors():
                self._put(key, data, mode)
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            return False
        return True

    def write(self, key: str, data: bytes) -> None:
        """See `Storage`."""
        with self._errors():
            self._put(key, data, "overwrite")

    def delete(self, *names: str) -> None:
        """See `Storage`."""
        with self._errors():
            for name in names:
                with suppress(FileNotFoundError):
                    obstore.delete(self.store, name)

    def names(self, prefix: str = "") -> Iterator[str]:
        """See `Storage`."""
        with self._errors():
            found = [item["path"] for batch in obstore.list(self.store, prefix or None) for item in batch]
        yield from sorted(found)

    def wheels(self) -> Iterator[tuple[str, datetime]]:
        """See `Storage`."""
        with self._errors():
            found = [
                (item["path"], item["last_modified"])
                for batch in obstore.list(self.store, keys.FILES)
                for item in batch
                if item["path"].endswith(".whl")
            ]
        yield from sorted(found)

    def stored_at(self, filename: str, sha256: str) -> str | None:
        """Wheels lie under their digest, so an upload never meets other bytes."""
        return f"{keys.FILES}{sha256}/{filename}"

    def size(self, key: str) -> int | None:
        """See `Storage`."""
        with self._errors(), suppress(FileNotFoundError):
            return obstore.head(self.store, key)["size"]
        return None

    @contextmanager
    def local(self, key: str) -> Iterator[Path | None]:
        """See `Storage`. The object is downloaded for as long as the context lasts."""
        with tempfile.TemporaryDirectory(prefix="wheelsmith-index-") as folder:
            path = Path(folder) / Path(key).name
            found = False
            with self._errors(), suppress(FileNotFoundError), path.open("wb") as file:
                for chunk in obstore.get(self.store, key).stream(_CHUNK):
                    file.write(chunk)
                found = True
            yield path if found else None

    def stream(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes `start` up to `end` of a large object, piece by piece."""
        with self._errors():
            for chunk in obstore.get(self.store, key, options={"range": (start, end)}).stream(1 << 20):
                yield bytes(chunk)

    def signed(self, key: str, time: timedelta) -> str:
        """A URL that lets anybody read an object for some time.

        Raises:
            UsageError: this kind of bucket, or these credentials, cannot sign.
        """
        try:
            return str(obstore.sign(self.store, "GET", key, time))  # type: ignore[call-overload]
        except (BaseError, TypeError, ValueError) as error:
            raise UsageError(
                f"{self.url} signs no links: {_first_line(error)}.", "Give credentials that may sign, or serve it."
            ) from error

    def set_aside(self, key: str) -> None:
        """See `Storage`."""
        with self._errors():
            obstore.rename(self.store, key, f".wheelsmith/damaged/{key.replace('/', '-')}")

    def exclusive(self) -> AbstractContextManager[None]:
        """See `Storage`. A bucket has no lock; `swap` does it all."""
        return nullcontext()

    @contextmanager
    def inbox(self, listener: Listener) -> Iterator[BucketInbox]:
        """See `Storage`."""
        yield BucketInbox(self, listener)

    def leftovers(self) -> tuple[str, ...]:
        """Nothing but uploads that no record names, which `gc` removes."""
        return ()

    def settle(self, is_published: Callable[[str], bool]) -> tuple[str, ...]:
        """Nothing to roll back: what no record names is not published."""
        return ()

    def each(self, work: Callable[[str], object], names: Iterable[str]) -> None:
        """See `Storage`. Sixteen at a time: a bucket answers late but often."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(work, names):
                pass

    def upload(self, key: str, chunks: Iterator[bytes]) -> None:
        """Store a large object by parts; it appears when the last one is there, and not if `chunks` raises."""
        with self._errors():
            obstore.put(self.store, key, chunks, use_multipart=True, chunk_size=_CHUNK, attributes=_attributes(key))

    def _put(self, key: str, data: bytes, mode: PutMode) -> None:
        """Put a small object; AWS may answer a lost race with 409 instead of 412, which obstore does not know."""
        try:
            obstore.put(self.store, key, data, mode=mode, use_multipart=False, attributes=_attributes(key))
        except BaseError as error:
            if "ConditionalRequestConflict" in str(error) or "409 Conflict" in str(error):
                raise PreconditionError(str(error)) from error
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what obstore raises into our errors, except for the answers that callers wait for."""
        try:
            yield
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
            if "NoSuchBucket" in str(error):
                raise UsageError(
                    f"There is no bucket for {self.url}.", "Make the bucket, or correct the URL."
                ) from error
            raise
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StoreError(
                f"{self.url} may not be read or written: {_first_line(error)}.",
                "Give credentials that may get, put, list and delete objects there.",
                detail=str(error),
            ) from error
        except BaseError as error:
            raise NetworkError(
                f"{self.url} did not do as asked: {_first_line(error)}.", "Try again.", detail=str(error)
            ) from error


@dataclass(frozen=True, slots=True)
class BucketInbox:
    """Wheels on their way into a bucket, read where they lie. Implements `Inbox`."""

    storage: BucketStorage
    listener: Listener

    def receive(self, source: Path) -> Arrival:
        """See `Inbox`. The bytes are digested now and again while they are uploaded."""
        with open_wheel(source) as stream:
            size = os.fstat(stream.fileno()).st_size
        return Arrival(source, source.name, sha256_of(source), size)

    def occupied(self, arrival: Arrival) -> str | None:
        """See `Inbox`. Under a digest there is nothing else."""
        return None

    def keep(self, arrival: Arrival, beside: Mapping[str, bytes]) -> None:
        """See `Inbox`.

        Raises:
            HashMismatchError: the file changed since it was checked.
        """
        key = self.storage.stored_at(arrival.filename, arrival.sha256) or arrival.filename
        self.storage.upload(key, self._chunks(arrival))
        for name, data in beside.items():
            self.storage.write(name, data)

    def secure(self) -> None:
        """See `Inbox`. What a bucket has acknowledged, it has."""

    def done(self) -> None:
        """See `Inbox`."""

    def _chunks(self, arrival: Arrival) -> Iterator[bytes]:
        digest = hashlib.sha256()
        with arrival.path.open("rb") as stream:
            done = 0
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                if done >= arrival.size and (digest.hexdigest() != arrival.sha256 or done > arrival.size):
                    break
                self.listener(Progress("index", arrival.filename, done, arrival.size))
                yield chunk
        if digest.hexdigest() != arrival.sha256:
            raise HashMismatchError(
                f"{arrival.path} changed while it was being published.", "Publish it again when nothing writes to it."
            )


def _unchanged(expected: Stored) -> UpdateVersion:
    """The condition that an object is still what was read: S3 and Azure compare ETags, GCS generations."""
    e_tag, _, version = expected.version.partition("\n")
    return {"e_tag": e_tag, "version": version} if version else {"e_tag": e_tag}


def _attributes(key: str) -> Attributes:
    """What a static server in front of the bucket tells clients: files are for good, all else is asked for again."""
    kind = _TYPES.get(Path(key).suffix, "application/octet-stream")
    is_page = key.endswith(".json") and keys.is_page(key)
    return {
        "Content-Type": "application/vnd.pypi.simple.v1+json" if is_page else kind,
        "Cache-Control": _IMMUTABLE if key.endswith(_LASTING) else "no-cache",
    }


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".")
