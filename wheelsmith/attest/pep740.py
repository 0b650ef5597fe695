"""Attestations of PEP 740: what `twine` and `uv publish` send along, and the provenance object made of it.

In: JSON of a stranger, and the name and SHA-256 of the wheel that it is about. Out: attestations, or the bytes of a
provenance object. Checked: every required key, that the statement is an in-toto Statement v1 about this very file, and
that the signature in the envelope is made by the key in the certificate. Not checked: that the certificate comes from
an authority that a reader trusts, and that the log entries are in a log; whoever relies on an identity verifies those
(`pypi-attestations verify`). Fails with `InvalidWheelError`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from wheelsmith.errors import InvalidWheelError
from wheelsmith.schema import read_json, told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_BYTES = 1 << 20  # of all attestations of a file; one has about 8,000
_PAYLOAD = b"application/vnd.in-toto+json"
T = TypeVar("T")
_REMEDY = "Make the attestations again, for this very file; or publish it without any."


class _Material(Struct, frozen=True, kw_only=True):
    certificate: bytes
    transparency_entries: Annotated[list[dict[str, Any]], Meta(min_length=1)]


class _Envelope(Struct, frozen=True, kw_only=True):
    statement: bytes
    signature: bytes


class _Attestation(Struct, frozen=True, kw_only=True):
    version: Literal[1]
    verification_material: _Material
    envelope: _Envelope


_Attestations = Annotated[list[_Attestation], Meta(min_length=1)]


class _Publisher(Struct, frozen=True, kw_only=True):
    kind: Annotated[str, Meta(min_length=1)]
    claims: dict[str, Any] | None = None


class _Bundle(Struct, frozen=True, kw_only=True):
    publisher: _Publisher
    attestations: _Attestations


class _Provenance(Struct, frozen=True, kw_only=True):
    version: Literal[1]
    attestation_bundles: Annotated[list[_Bundle], Meta(min_length=1)]


class _Digest(Struct, frozen=True, kw_only=True):
    sha256: str


class _Subject(Struct, frozen=True, kw_only=True):
    name: str
    digest: _Digest


class _Statement(Struct, frozen=True, kw_only=True):
    type: Literal["https://in-toto.io/Statement/v1"] = field(name="_type")
    subject: Annotated[list[_Subject], Meta(min_length=1, max_length=1)]
    predicate_type: Annotated[str, Meta(min_length=1)] = field(name="predicateType")


def provenance_of(attestations: str | bytes, filename: str, sha256: str, publisher: Mapping[str, str | None]) -> bytes:
    """Return the provenance object of a file, from the attestations that came with it.

    Args:
        attestations: a JSON array of attestation objects, the form field `attestations`.
        filename: the wheel's name.
        sha256: of the wheel.
        publisher: claims about who uploaded it, for readers of the object.

    Raises:
        InvalidWheelError: one is no attestation of this file, or two are of one kind.
    """
    found = _load(_Attestations, attestations, filename, "attestations")
    _check(found, filename, sha256)
    given = json.loads(attestations)
    document = {
        "version": 1,
        "attestation_bundles": [
            {"publisher": {"kind": "wheelsmith-token", "claims": dict(publisher)}, "attestations": given}
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def check_provenance(data: bytes, filename: str, sha256: str) -> None:
    """Hold a provenance object against the file that it is to lie beside.

    Raises:
        InvalidWheelError: it is none, or is about another file.
    """
    provenance = _load(_Provenance, data, filename, "provenance object")
    for bundle in provenance.attestation_bundles:
        _check(bundle.attestations, filename, sha256)


def _load(kind: type[T], data: str | bytes, filename: str, what: str) -> T:
    if len(data) > MAX_BYTES:
        raise _refusal(filename, f"{what}: more than {MAX_BYTES} bytes")
    try:
        return read_json(kind, data)
    except msgspec.ValidationError as error:
        raise _refusal(filename, f"{what}: {told(error)}") from error


def _check(attestations: Sequence[_Attestation], filename: str, sha256: str) -> None:
    kinds: set[str] = set()
    for attestation in attestations:
        envelope = attestation.envelope
        statement = _load(_Statement, envelope.statement, filename, "statement")
        (subject,) = statement.subject
        if not _same_file(subject.name, filename) or subject.digest.sha256 != sha256:
            raise _refusal(filename, f"it is about {subject.name!r} with the SHA-256 {subject.digest.sha256!r}")
        if statement.predicate_type in kinds:
            raise _refusal(filename, f"{statement.predicate_type!r} comes twice")
        kinds.add(statement.predicate_type)
        _check_signature(attestation, filename)


def _check_signature(attestation: _Attestation, filename: str) -> None:
    """DSSE 1.0.2: the signature is over the payload's type and bytes, each with its length."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

    payload, signature = attestation.envelope.statement, attestation.envelope.signature
    signed = b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD, len(payload), payload)
    try:
        key = x509.load_der_x509_certificate(attestation.verification_material.certificate).public_key()
        if not isinstance(key, EllipticCurvePublicKey):  # what Sigstore issues
            raise _refusal(filename, "its certificate is for no ECDSA key")
        key.verify(signature, signed, ECDSA(SHA256()))
    except InvalidSignature as error:
        raise _refusal(filename, "its signature is not by the key of its certificate") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refusal(filename, f"its certificate cannot be read ({error})") from error


def _same_file(stated: str, filename: str) -> bool:
    """Whether two spellings of a wheel's name mean the same (PEP 740: names are compared normalized)."""
    try:
        return parse_wheel_filename(stated) == parse_wheel_filename(filename)
    except (InvalidWheelFilename, ValueError):
        return False


def _refusal(filename: str, why: str) -> InvalidWheelError:
    return InvalidWheelError(f"{filename} has no valid attestations (PEP 740): {why}.", _REMEDY)
