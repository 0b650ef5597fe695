"""Tokens: who may read, who may publish what, until when.

In: a folder that only the server's user may read. Out: `Token` values, and a secret that is shown once and
never stored: the folder holds its SHA-256 only. A secret has 256 random bits, so a slow password hash would add
nothing (NIST SP 800-63B, section "Look-Up Secrets"). One file per token, written by rename and read for every
use: a revocation counts from the next request on, for all processes. Fails with `UsageError` on a bad name,
scope or time, and with `StoreError` on a folder that cannot be written or a damaged file.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

import msgspec

from wheelsmith.errors import StoreError, UsageError
from wheelsmith.index.files import storage_errors, write_atomic
from wheelsmith.schema import read_json, told

if TYPE_CHECKING:
    from pathlib import Path

_SECRET = re.compile(r"wsm_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_ID = re.compile(r"[0-9a-f]{12}")
_PATTERN = re.compile(r"[a-z0-9*]+(-[a-z0-9*]+)*")


@dataclass(frozen=True, slots=True)
class Token:
    """One token, without its secret.

    Attributes:
        id: 12 hexadecimal digits; part of the secret, and what the audit log and `revoke` name.
        name: what people call it.
        digest: SHA-256 of the whole secret, in hexadecimal digits.
        read: may read a private index.
        publish: normalized project names, or patterns with `*`, that it may publish.
        created: when, in UTC.
        expires: when it ends, in UTC; None: never.
        revoked: when it was revoked, in UTC, or None.
        schema: version of the record's format.
    """

    id: str
    name: str
    digest: str
    read: bool
    publish: tuple[str, ...]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    schema: Literal[1] = 1

    def may_publish(self, project: str) -> bool:
        """Whether its scope covers a normalized project name."""
        return any(fnmatchcase(project, pattern) for pattern in self.publish)

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """What it is worth at a moment."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "valid"


@dataclass(frozen=True, slots=True)
class TokenBook:
    """The tokens in a folder."""

    folder: Path

    def create(self, name: str, *, read: bool, publish: tuple[str, ...], days: float | None) -> tuple[Token, str]:
        """Make a token and return it with its secret, which cannot be had again.

        Args:
            name: what people call it.
            read: it may read a private index.
            publish: normalized project names or patterns with `*`.
            days: how long it is valid; None: until it is revoked.

        Raises:
            UsageError: it would have no scope, a pattern is no project name, or it would be expired.
            StoreError: the folder cannot be written.
        """
        if not read and not publish:
            raise UsageError("The token would allow nothing.", "Give --read, --publish PATTERN, or both.")
        for pattern in publish:
            if not _PATTERN.fullmatch(pattern):
                raise UsageError(
                    f"{pattern!r} is no normalized project name or pattern.",
                    "Use lower-case letters, digits, single dashes and *, as in torch-* (PEP 503).",
                )
        if days is not None and not 0 < days <= 36500:
            raise UsageError(f"A token cannot be valid for {days} days.", "Give a number of days above 0.")
        now = datetime.now(UTC)
        expires = None if days is None else now + timedelta(days=days)
        ident = secrets.token_hex(6)
        secret = f"wsm_{ident}_{secrets.token_urlsafe(32)}"
        token = Token(ident, name, _digest(secret), read, publish, now, expires)
        self._write(token)
        return token, secret

    def all(self) -> tuple[Token, ...]:
        """All tokens, oldest first, revoked ones included.

        Raises:
            StoreError: a file is damaged.
        """
        if not self.folder.is_dir():
            return ()
        found = (self.get(path.stem) for path in self.folder.glob("*.json"))
        return tuple(sorted((token for token in found if token), key=lambda token: token.created))

    def get(self, ident: str) -> Token | None:
        """The token of an id, or None.

        Raises:
            StoreError: its file is damaged.
        """
        if not _ID.fullmatch(ident):
            return None
        try:
            record = (self.folder / f"{ident}.json").read_bytes()
        except FileNotFoundError:
            return None
        try:
            return read_json(Token, record)
        except msgspec.ValidationError as error:
            raise StoreError(
                f"The token file {ident}.json is damaged.", "Delete it and make a new token.", detail=told(error)
            ) from error

    def revoke(self, ident: str) -> Token:
        """End a token now; ending it twice keeps the first time.

        Raises:
            UsageError: there is no such token.
            StoreError: the folder cannot be written.
        """
        token = self.get(ident)
        if token is None:
            raise UsageError(f"There is no token {ident!r}.", "`wheelsmith index token list` shows their ids.")
        if token.revoked is None:
            token = replace(token, revoked=datetime.now(UTC))
            self._write(token)
        return token

    def check(self, secret: str) -> Token | None:
        """The token of a secret, whatever its state, or None if there is none."""
        match = _SECRET.fullmatch(secret)
        token = self.get(match[1]) if match else None
        if token is None or not hmac.compare_digest(token.digest, _digest(secret)):
            return None
        return token

    def _write(self, token: Token) -> None:
        with storage_errors(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            record = msgspec.json.format(msgspec.json.encode(token), indent=2)
            write_atomic(self.folder / f"{token.id}.json", record + b"\n", self.folder)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
