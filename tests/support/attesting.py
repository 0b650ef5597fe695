"""Attestations as Sigstore makes them, but by an authority of the test's own."""

import base64
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

PUBLISH = "urn:test:publish:1"


def attest(wheel: Path, *, kind: str = PUBLISH, name: str | None = None, sha256: str | None = None) -> dict[str, Any]:
    """An attestation of a wheel, signed by a fresh key with a certificate that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(who, who, key.public_key(), 1, now, now + datetime.timedelta(minutes=10))
    certificate = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    digest = sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name or wheel.name, "digest": {"sha256": digest}}],
        "predicateType": kind,
        "predicate": None,
    }
    payload = json.dumps(statement).encode()
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    return {
        "version": 1,
        "verification_material": {"certificate": _text(certificate), "transparency_entries": [{"logIndex": "1"}]},
        "envelope": {"statement": _text(payload), "signature": _text(key.sign(signed, ec.ECDSA(SHA256())))},
    }


def provenance(wheel: Path, **values: Any) -> bytes:
    """A provenance object with one attestation of a wheel."""
    bundle = {"publisher": {"kind": "test"}, "attestations": [attest(wheel, **values)]}
    return json.dumps({"version": 1, "attestation_bundles": [bundle]}).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
