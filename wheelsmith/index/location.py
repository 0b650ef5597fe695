"""Where an index is kept, and how such a place is opened.

In: a location, such as `dist`, `file:///srv/wheels` or `s3://bucket/prefix`. Out: a `Storage`. Fails with `UsageError`
on a location that is none.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wheelsmith.distribution import extra_remedy
from wheelsmith.errors import UsageError
from wheelsmith.index.storage import Storage

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CLOUD = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "memory")


def open_storage(where: str | os.PathLike[str] | Storage) -> Storage:
    """Open the index at `where`: a directory, a `file:` URL, or `s3://`, `gs://`, `az://` with bucket and prefix.

    Credentials and endpoint of a bucket come from the environment, under the names of each vendor's own tools
    (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_KEY`, …).

    Raises:
        UsageError: it is no location, or support for buckets is not installed.
    """
    if isinstance(where, Storage):
        return where
    text = os.fspath(where)
    if not _SCHEME.match(text):
        from wheelsmith.index.directory import DirectoryStorage

        return DirectoryStorage(Path(text).absolute())
    parts = urlsplit(text)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        from wheelsmith.index.directory import DirectoryStorage

        return DirectoryStorage(Path(unquote(parts.path)).absolute())
    if parts.scheme in _CLOUD:
        return _open_bucket(text)
    raise UsageError(
        f"{text!r} is no location of an index.",
        "Give a directory, file:///path, or s3://, gs:// or az:// with a bucket.",
    )


def local_directory(where: str | os.PathLike[str]) -> Path | None:
    """The directory of an index that is one; None for a bucket."""
    storage = open_storage(where)
    root = getattr(storage, "root", None)
    return root if isinstance(root, Path) else None


def _open_bucket(url: str) -> Storage:
    try:
        from wheelsmith.index.bucket import BucketStorage
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise UsageError(
            f"{url} needs the package `obstore`, which is not installed.", extra_remedy("cloud")
        ) from error
    return BucketStorage.open(url)
