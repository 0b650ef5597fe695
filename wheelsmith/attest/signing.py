"""Signatures of provenance with a local Ed25519 key, in DSSE envelopes.

In: a statement and a private key, or a `Provenance` and a public key; both keys are PEM files as openssl writes them.
Out: an envelope, or the id of the key that signed. Fails with `UsageError` on a file that is no such key, and with
`VerificationError` on a missing or wrong signature. Formats: DSSE 1.0.2, RFC 8032, RFC 8410.

    openssl genpkey -algorithm ed25519 -out wheelsmith.key
    openssl pkey -in wheelsmith.key -pubout -out wheelsmith.pub
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from wheelsmith.attest.provenance import PAYLOAD_TYPE
from wheelsmith.errors import UsageError, VerificationError
from wheelsmith.secretfile import read_secret

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.attest.provenance import Provenance

_LARGEST_KEY = 1 << 16  # bytes
_MAKE_KEY = "Make one: openssl genpkey -algorithm ed25519 -out wheelsmith.key"
_MAKE_PUBLIC = "Give the signer's: openssl pkey -in wheelsmith.key -pubout -out wheelsmith.pub"


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a PKCS#8 PEM file without a password.

    Raises:
        UsageError: it cannot be read, others can read it, it has a password, or is another kind of key.
    """
    try:
        key = load_pem_private_key(read_secret(path, _LARGEST_KEY, _MAKE_KEY), password=None)
    except TypeError as error:
        raise UsageError(
            f"The key {path} is protected by a password.", f"Use a file that only you can read. {_MAKE_KEY}"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is no private key in PEM form.", _MAKE_KEY) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"The key {path} is not an Ed25519 key.", _MAKE_KEY)
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read a SubjectPublicKeyInfo PEM file.

    Raises:
        UsageError: it cannot be read, or is another kind of key.
    """
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is no public key in PEM form.", _MAKE_PUBLIC) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"The key {path} is not an Ed25519 key.", _MAKE_PUBLIC)
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 (hex) of the key as DER."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def sign(statement: bytes, key: Ed25519PrivateKey) -> bytes:
    """An envelope with the statement and one signature. Ed25519 is deterministic: so is this."""
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(statement).decode(),
        "signatures": [
            {
                "keyid": key_id(key.public_key()),
                "sig": base64.b64encode(key.sign(_signed_bytes(statement))).decode(),
            }
        ],
    }
    return (json.dumps(envelope) + "\n").encode()


def check_signature(provenance: Provenance, key: Ed25519PublicKey) -> str:
    """The id of `key`, if it signed.

    Raises:
        VerificationError: nobody signed, another key did, or what was signed was changed since.
    """
    if not provenance.signatures:
        raise VerificationError(
            f"The provenance of {provenance.filename} is not signed.", "Ask for one made with `build --sign KEY`."
        )
    message = _signed_bytes(provenance.payload)
    for _, signature in provenance.signatures:  # a key id is a hint (DSSE): only the signature counts
        try:
            key.verify(signature, message)
        except InvalidSignature:
            continue
        return key_id(key)
    named = ", ".join(name[:16] for name, _ in provenance.signatures)
    raise VerificationError(
        f"No signature of the provenance of {provenance.filename} is by the key {key_id(key)[:16]}: it names {named}.",
        "It was changed after it was signed, or another key signed it: do not use the wheel before you know which.",
    )


def _signed_bytes(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"The key {path} cannot be read: {error.strerror}.", "Give the path of a PEM file.") from error
