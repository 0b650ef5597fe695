"""Files that must survive a power cut, and the digest that names them. Used by every room that writes.

In: paths. Out: a durable directory, or a digest. Fails with `OSError`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable: a rename is, only after its directory is synced (fsync(2))."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
