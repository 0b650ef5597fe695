"""Provenance, signatures and RECORD: what belongs together passes, and each way of not belonging has its message."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import zipfile

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

import wheelsmith
from tests.support.wheel_makers import build_wheel
from wheelsmith.attest.provenance import Origin, Run, make_statement, read_provenance
from wheelsmith.attest.sbom import SBOM_FILE, Material, make_sbom
from wheelsmith.attest.signing import key_id, load_private_key, sign
from wheelsmith.errors import InvalidWheelError, UsageError, VerificationError
from wheelsmith.wheel.seal import seal

NAME = "demo-1.0-py3-none-any.whl"
MATERIAL = Material("source", "demo", "1.0", "pkg:generic/demo@1.0", ("0" * 64,))


def statement(wheel, **changes):
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    origin = Origin(wheel.name, digest, "demo==1.0", {"name": "demo"}, "a" * 64, None, [MATERIAL])
    facts = {"toolchain": {"cuda": "13.0.88"}}
    run = Run({"wheelsmith": "1"}, "key", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", facts)
    return make_statement(dataclasses.replace(origin, **changes), run)


def write_keys(folder, name="key", key=None):
    key = key or Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def wheel(tmp_path):
    raw = build_wheel(tmp_path / "raw" / NAME, {"demo/__init__.py": b"VALUE = 42\n"})
    extra = {SBOM_FILE: make_sbom("demo", "1.0", [MATERIAL])}
    sealed = seal(raw, tmp_path, local_version=None, epoch=0, extra=extra)
    provenance_of(sealed).write_bytes(statement(sealed))
    return sealed


def provenance_of(wheel):
    return wheel.with_name(f"{wheel.name}.provenance.json")


def test_a_sound_wheel_is_verified(wheel):
    result = wheelsmith.verify(wheel)
    assert (result.members, result.components, result.signed_by) == (5, 1, None)
    assert result.requirement == "demo==1.0"


def test_a_signature_says_who_built(wheel, tmp_path):
    private, public = write_keys(tmp_path)
    _, other = write_keys(tmp_path, "other")
    with pytest.raises(VerificationError, match="is not signed"):
        wheelsmith.verify(wheel, key=public)
    key = load_private_key(private)
    provenance_of(wheel).write_bytes(sign(statement(wheel), key))
    assert wheelsmith.verify(wheel, key=public).signed_by == key_id(key.public_key())
    with pytest.raises(VerificationError, match=r"No signature .* is by the key"):
        wheelsmith.verify(wheel, key=other)

    envelope = json.loads(provenance_of(wheel).read_bytes())
    changed = statement(wheel, requirement="evil==1.0")
    provenance_of(wheel).write_text(json.dumps(envelope | {"payload": base64.b64encode(changed).decode()}))
    with pytest.raises(VerificationError, match="No signature"):
        wheelsmith.verify(wheel, key=public)


def test_the_signature_is_dsse():
    """What is signed is the pre-authentication encoding of DSSE 1.0.2, letter by letter."""
    key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    envelope = json.loads(sign(b"{}", key))
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    message = b"DSSEv1 28 application/vnd.in-toto+json 2 {}"
    assert base64.b64decode(envelope["signatures"][0]["sig"]) == key.sign(message)


def test_another_wheel_than_the_provenance_speaks_of(wheel):
    provenance_of(wheel).write_bytes(statement(wheel, sha256="b" * 64))
    with pytest.raises(VerificationError, match="its provenance is of bbbb"):
        wheelsmith.verify(wheel)


def test_without_provenance_or_sbom_nothing_is_verified(wheel, tmp_path):
    provenance_of(wheel).unlink()
    with pytest.raises(VerificationError, match="There is no provenance"):
        wheelsmith.verify(wheel)
    bare = build_wheel(tmp_path / "bare" / NAME)
    provenance_of(bare).write_bytes(statement(bare))
    with pytest.raises(VerificationError, match=r"it has no SBOM \(demo-1.0.dist-info/sboms/wheelsmith.cdx.json\)"):
        wheelsmith.verify(bare)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("demo/__init__.py,sha256=", "demo/__init__.py,sha256=x", "has another sha256 than RECORD says"),
        ("demo/__init__.py,sha256=", "demo/__init__.py,md5=", "no SHA-2 hash of 'demo/__init__.py'"),
        ("demo/__init__.py", "demo/gone.py", "RECORD does not list 'demo/__init__.py'"),
        (",11\n", ",12\n", "has 11 bytes, RECORD says 12"),
    ],
)
def test_a_record_that_lies(wheel, tmp_path, old, new, message):
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    record = content["demo-1.0.dist-info/RECORD"].decode()
    assert old in record
    content["demo-1.0.dist-info/RECORD"] = record.replace(old, new, 1).encode()
    forged = tmp_path / "forged" / NAME
    forged.parent.mkdir()
    with zipfile.ZipFile(forged, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    provenance_of(forged).write_bytes(statement(forged))
    with pytest.raises(VerificationError, match=message):
        wheelsmith.verify(forged)


def test_a_record_with_a_row_twice_is_no_record(tmp_path):
    bad = build_wheel(tmp_path / NAME, {"demo-1.0.dist-info/RECORD": b"a,,\na,,\n"} | {"x.py": b""})
    with zipfile.ZipFile(bad) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["demo-1.0.dist-info/RECORD"] *= 2
    with zipfile.ZipFile(bad, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    provenance_of(bad).write_bytes(statement(bad))
    with pytest.raises(InvalidWheelError, match="its RECORD has the row"):
        wheelsmith.verify(bad)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["_type"], "https://in-toto.io/Statement/v0.1", "_type"),
        (["subject"], [], "subject"),
        (["subject", 0, "digest", "sha256"], "A" * 64, r"subject\.0\.digest\.sha256"),
        (["predicate", "buildDefinition", "buildType"], "other", "buildDefinition.buildType"),
        (["predicate", "buildDefinition", "internalParameters", "plan"], "text", "internalParameters.plan"),
        (["predicate", "buildDefinition", "internalParameters", "lock"], 5, "internalParameters.lock"),
        (["predicate", "runDetails"], {}, "runDetails.metadata"),
    ],
)
def test_a_statement_that_is_none_names_the_place(wheel, path, value, message):
    document = json.loads(statement(wheel))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    provenance_of(wheel).write_text(json.dumps(document))
    with pytest.raises(VerificationError, match=message):
        wheelsmith.verify(wheel)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["_type", "payloadType", "payload", "signatures", "subject", "predicate", "predicateType"])


@given(st.binary(max_size=64) | st.dictionaries(KEYS, JSON, max_size=5).map(lambda value: json.dumps(value).encode()))
def test_hostile_provenance_gets_a_clear_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("hostile") / "p.json"
    path.write_bytes(data)
    with pytest.raises(VerificationError):
        read_provenance(path)


def test_nesting_without_end_is_an_error(tmp_path):
    path = tmp_path / "p.json"
    path.write_bytes(b'{"a":' * 200_000)
    with pytest.raises(VerificationError, match="no JSON"):
        read_provenance(path)


def test_keys_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_private_key(tmp_path / "absent")
    (tmp_path / "junk").write_text("junk")
    (tmp_path / "junk").chmod(0o600)
    with pytest.raises(UsageError, match="no private key"):
        load_private_key(tmp_path / "junk")
    private, _ = write_keys(tmp_path, "ec", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(UsageError, match="not an Ed25519 key"):
        load_private_key(private)
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    (tmp_path / "locked").write_bytes(locked)
    (tmp_path / "locked").chmod(0o600)
    with pytest.raises(UsageError, match="protected by a password"):
        load_private_key(tmp_path / "locked")
