"""Who asks, and whether they may.

In: an `Authorization` header and the tokens. Out: the `Token`, None for nobody, or a `Refusal` with its HTTP
status. Accepts HTTP Basic (RFC 7617) with the user `__token__`, which is what netrc, URL credentials, pip, uv and
twine send, and Bearer (RFC 6750) for everything else. Nothing else can fail.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wheelsmith.server.tokens import Token, TokenBook

USER = "__token__"


@dataclass(eq=False)  # not frozen: context managers set the traceback of what passes them
class Refusal(Exception):  # noqa: N818  it is an answer, not a failure of ours
    """An answer that says no.

    Attributes:
        status: HTTP status code.
        reason: one sentence for the person at the client; it names no secret.
        event: short name for the audit log and the metrics.
        token: id of the token that was shown, if it is one of ours.
    """

    status: int
    reason: str
    event: str
    token: str | None = None


def identify(header: str | None, book: TokenBook) -> Token | None:
    """Return the valid token of an `Authorization` header, or None if there is no header.

    Raises:
        Refusal: 401: the credentials are unreadable, unknown, expired or revoked.
    """
    if header is None:
        return None
    secret = _secret(header)
    token = book.check(secret) if secret else None
    if token is None:
        raise Refusal(401, f"This token is unknown. The user is {USER}, the password is a token.", "token-unknown")
    state = token.state(datetime.now(UTC))
    if state != "valid":
        raise Refusal(401, f"The token {token.id} is {state}.", f"token-{state}", token.id)
    return token


def require_read(token: Token | None) -> None:
    """Accept a token that may read.

    Raises:
        Refusal: 401 without a token, 403 with one that may not.
    """
    if token is None:
        raise Refusal(401, "This index is private: a token is needed to read.", "token-missing")
    if not token.read:
        raise Refusal(403, f"The token {token.id} may not read.", "scope", token.id)


def require_publish(token: Token | None) -> Token:
    """Accept a token that may publish something, and return it.

    Raises:
        Refusal: 401 without a token, 403 with one that may not.
    """
    if token is None:
        raise Refusal(401, "A token is needed to publish.", "token-missing")
    if not token.publish:
        raise Refusal(403, f"The token {token.id} may not publish.", "scope", token.id)
    return token


def _secret(header: str) -> str | None:
    scheme, _, value = header.partition(" ")
    if scheme.casefold() == "bearer":
        return value.strip()
    if scheme.casefold() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if user == USER else None
