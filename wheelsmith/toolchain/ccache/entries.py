"""Entries of a compile cache: whose they are, who may be believed, and how a directory of them stays small.

In: a plan, and the operator's key. Out: a `Scope`, in which the builds of one recipe share and nobody else does;
entries sealed with it (HMAC, RFC 2104); a directory of them. An entry that is not sealed for this scope and name
is none: `Unauthenticated`. Reading a key fails with `UsageError`, a directory with `OSError`.

A build cannot see the directory, the key or another scope: it asks a server outside of its confinement (`server.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wheelsmith.errors import UsageError
from wheelsmith.planning.model import DiffPatch, Plan
from wheelsmith.secretfile import read_secret

KEY, KEY_FILE = "WHEELSMITH_CACHE_KEY", "WHEELSMITH_CACHE_KEY_FILE"
KEY_REMEDY = f"Make one, `openssl rand -hex 32`, and give all machines that share the cache the same in {KEY}."
_LEAST_KEY, _LARGEST_KEY = 32, 4096  # bytes
LARGEST = 256 << 20  # bytes of an entry; of vLLM's objects the largest has some 50 MB
_MAGIC = b"WSE1"
_SEAL = hashlib.sha256().digest_size
_PART = ".part"


class Unauthenticated(Exception):  # noqa: N818 - a state of an entry
    """The entry was not written by somebody who has the key, or not for this scope, or it is damaged."""


class Entries(Protocol):
    """Entries by name, here or somewhere else. Any failure is an OSError."""

    def get(self, name: str) -> bytes | None:
        """The entry, or None."""

    def put(self, name: str, data: bytes) -> None:
        """Keep an entry."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Builds that take each other's objects. `package` is for people, `digest` (hex) is what counts."""

    package: str
    digest: str


def scope_of(plan: Plan) -> Scope:
    """The builds of the same recipe, byte for byte, with its diffs and its lock: whatever their version and archs.

    Two recipes of one name are two scopes: a stranger's copy that adds a patch, a source or a build requirement has
    other code run in its builds. Without its recipe, a plan is a scope of its own.
    """
    digest = hashlib.sha256()
    try:
        recipe = Path(plan.recipe).read_bytes()
    except OSError:
        recipe = plan.digest.encode()
    diffs = sorted(patch.text for patch in plan.patches if isinstance(patch, DiffPatch))
    for part in (plan.name.encode(), recipe, (plan.lock or "").encode(), *(text.encode() for text in diffs)):
        digest.update(b"%d\0%s" % (len(part), part))
    return Scope(plan.name, digest.hexdigest()[:32])


def load_key() -> bytes | None:
    """The operator's key, `WHEELSMITH_CACHE_KEY` or the file `WHEELSMITH_CACHE_KEY_FILE`; None: there is none.

    Raises:
        UsageError: it is too short, or the file cannot be read or can be read by others.
    """
    text, path = os.environ.get(KEY, "").encode(), os.environ.get(KEY_FILE, "")
    if not text and not path:
        return None
    key = (text or read_secret(Path(path), _LARGEST_KEY, KEY_REMEDY)).strip()
    if len(key) < _LEAST_KEY:
        raise UsageError(f"The key of the compile cache has {len(key)} bytes; {_LEAST_KEY} are the least.", KEY_REMEDY)
    return key


@dataclass(frozen=True, slots=True)
class Sealed:
    """Entries of one scope, sealed with a key; without one, the seal only finds damage and other scopes' entries."""

    below: Entries
    scope: Scope
    key: bytes | None

    def get(self, name: str) -> bytes | None:
        """The entry, or None.

        Raises:
            Unauthenticated: there is one, and it is not to be believed.
        """
        data = self.below.get(f"{self.scope.digest}/{name}")
        if data is None:
            return None
        content = data[len(_MAGIC) + _SEAL :]
        if not hmac.compare_digest(data[: len(_MAGIC) + _SEAL], self._head(name, content)):
            raise Unauthenticated(name)
        return content

    def put(self, name: str, data: bytes) -> None:
        """Keep an entry."""
        self.below.put(f"{self.scope.digest}/{name}", self._head(name, data) + data)

    def _head(self, name: str, data: bytes) -> bytes:
        seal = hmac.new(self.key or b"", f"{self.scope.digest}\0{name}\0".encode(), "sha256")
        seal.update(data)
        return _MAGIC + seal.digest()


@dataclass(frozen=True, slots=True)
class Directory:
    """Entries as files."""

    root: Path

    def get(self, name: str) -> bytes | None:
        """The entry, or None. It counts as used."""
        path = self.root / entry_path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        with contextlib.suppress(OSError):  # of a cache that is read-only
            os.utime(path)
        return data

    def put(self, name: str, data: bytes) -> None:
        """Keep an entry; a reader sees all of it or nothing. A power cut may damage it: then its seal breaks."""
        path = self.root / entry_path(name)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{_PART}")
        try:
            temporary.write_bytes(data)
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)

    def trim(self, most: int) -> None:
        """Remove the least recently used entries beyond `most` bytes, and what a killed process left half-written."""
        found = sorted(self._files())
        surplus = sum(size for _, size, _ in found) - most
        for _, size, path in found:
            if surplus <= 0 and not path.name.endswith(_PART):
                continue
            with contextlib.suppress(OSError):
                path.unlink()
                surplus -= size

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for directory, _, names in os.walk(self.root):
            for name in names:
                path = Path(directory, name)
                with contextlib.suppress(OSError):
                    status = path.lstat()
                    yield status.st_mtime, status.st_size, path


def entry_path(name: str) -> str:
    """Where `scope/name` lies in a directory or a bucket."""
    scope, _, rest = name.rpartition("/")
    return f"{scope}/{rest[:2]}/{rest[2:]}"
