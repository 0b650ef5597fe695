"""Attestations (PEP 740) and build statements: what is stored beside a wheel, and what is refused."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.attesting import PUBLISH, attest, provenance
from tests.support.index_wheels import make_wheel
from tests.support.looking import page
from wheelsmith.attest.pep740 import provenance_of
from wheelsmith.errors import InvalidWheelError
from wheelsmith.index.location import open_storage
from wheelsmith.index.publish import publish
from wheelsmith.index.verify import verify
from wheelsmith.index.web.site import project_page

NAME = "pkg-1.0-py3-none-any.whl"


@pytest.mark.parametrize("where", ["directory", "memory:///"])
def test_what_lies_beside_a_wheel_is_published_with_it(tmp_path: Path, where: str) -> None:
    storage = open_storage(tmp_path / "dist" if where == "directory" else where)
    wheel = make_wheel(tmp_path / "in", "pkg", "1.0")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    text, statement = provenance(wheel), _statement(sha256)
    wheel.with_name(f"{NAME}.provenance").write_bytes(text)
    wheel.with_name(f"{NAME}.provenance.json").write_bytes(statement)

    publish([wheel], storage)

    folder = "" if where == "directory" else f"files/{sha256}/"
    (file,) = page(storage, "pkg")["files"]
    assert file["provenance"] == f"../../{folder}{NAME}.provenance"
    assert f'data-provenance="../../{folder}{NAME}.provenance"'.encode() in storage.read("simple/pkg/index.html").data
    assert storage.read(f"{folder}{NAME}.provenance").data == text
    assert storage.read(f"{folder}{NAME}.provenance.json").data == statement

    storage.write(f"{folder}{NAME}.provenance", text + b" ")
    first = verify(storage, repair=True).findings[0]
    assert (first.kind, first.repaired) == ("provenance", True)
    assert verify(storage).findings == ()
    (file,) = page(storage, "pkg")["files"]
    assert "provenance" not in file


def test_people_see_which_is_which(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "in", "pkg", "1.0")
    statement = _statement(hashlib.sha256(wheel.read_bytes()).hexdigest())
    wheel.with_name(f"{NAME}.provenance.json").write_bytes(statement)
    publish([wheel], tmp_path / "dist")
    text = project_page(tmp_path / "dist", "pkg").decode()
    assert f'<a href="../../{NAME}.provenance.json">build statement (SLSA)</a>' in text
    assert "no attestations" in text


def test_a_build_statement_about_other_bytes_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "pkg", "1.0")
    for data, cause in ((_statement("0" * 64), "is about a wheel with the SHA-256 0000"), (b"{}", "is no provenance")):
        wheel.with_name(f"{NAME}.provenance.json").write_bytes(data)
        with pytest.raises(InvalidWheelError, match=cause):
            publish([wheel], "memory:///")


def _statement(sha256: str) -> bytes:
    definition = {"buildType": "urn:wheelsmith:build:1", "externalParameters": {"requirement": "pkg==1.0"}}
    definition |= {
        "internalParameters": {"plan": {}, "plan_digest": "0" * 64, "lock": None},
        "resolvedDependencies": [],
    }
    details = {"builder": {"id": "urn:wheelsmith:builder:local"}, "wheelsmith_toolchain": {}}
    details |= {
        "metadata": {"invocationId": "x", "startedOn": "2026-01-01T00:00:00Z", "finishedOn": "2026-01-01T00:00:00Z"}
    }
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": NAME, "digest": {"sha256": sha256}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {"buildDefinition": definition, "runDetails": details},
        }
    ).encode()


def _changed(path: str, value: object) -> Callable[[Path], list[Any]]:
    """An attestation in which one value is another."""

    def make(wheel: Path) -> list[Any]:
        made = attest(wheel)
        *folders, last = path.split(".")
        place = made
        for folder in folders:
            place = place[folder]
        place[last] = value
        return [made]

    return make


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda wheel: [], "attestations: it: Expected array of length >= 1"),
        (lambda wheel: {}, "attestations: it: Expected array, got object"),
        (lambda wheel: [attest(wheel)] * 2, f"'{PUBLISH}' comes twice"),
        (
            lambda wheel: [attest(wheel, sha256="0" * 64)],
            "whl' with the SHA-256 '0000",
        ),
        (lambda wheel: [attest(wheel, name="pkg-2.0-py3-none-any.whl")], r"it is about 'pkg-2\.0-py3"),
        (lambda wheel: [attest(wheel, name="/etc/passwd")], "it is about '/etc/passwd'"),
        (_changed("version", 2), "version: Invalid enum value 2"),
        (_changed("verification_material.certificate", "?"), "certificate: Invalid base64"),
        (_changed("verification_material.certificate", "AAAA"), "its certificate cannot be read"),
        (
            _changed("verification_material.transparency_entries", []),
            "transparency_entries: Expected array of length >= 1",
        ),
        (_changed("envelope.signature", "AAAA"), "its signature is not by the key of its certificate"),
        (_changed("envelope.statement", "e30="), "statement: _type: the key is missing"),
        (_changed("envelope.statement", base64.b64encode(b"[" * 5000).decode()), "statement: it: Expected object"),
        (_changed("envelope.statement", base64.b64encode(b'{"x":' * 50_000).decode()), "statement: it: no JSON"),
        (_changed("envelope", None), "envelope: Expected object, got null"),
    ],
)
def test_what_is_no_attestation_of_this_file_is_refused(
    tmp_path: Path, make: Callable[[Path], object], cause: str
) -> None:
    wheel = make_wheel(tmp_path, "pkg", "1.0")
    text = json.dumps(make(wheel))
    with pytest.raises(InvalidWheelError, match=cause):
        provenance_of(text, wheel.name, hashlib.sha256(wheel.read_bytes()).hexdigest(), {})
    bundle = f'{{"version": 1, "attestation_bundles": [{{"publisher": {{"kind": "x"}}, "attestations": {text}}}]}}'
    wheel.with_name(f"{NAME}.provenance").write_text(bundle)
    with pytest.raises(InvalidWheelError, match="has no valid attestations"):
        publish([wheel], "memory:///")


def test_other_spellings_of_the_name_and_two_kinds_are_accepted(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "My_Pkg", "1.0", tag="py2.py3-none-any")
    given = [
        attest(wheel, name="my_pkg-1.0.0-py3.py2-none-any.whl"),
        attest(wheel, kind="https://slsa.dev/provenance/v1"),
    ]
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    made = json.loads(provenance_of(json.dumps(given), wheel.name, sha256, {"token": "abc"}))
    assert made == {
        "version": 1,
        "attestation_bundles": [
            {"publisher": {"kind": "wheelsmith-token", "claims": {"token": "abc"}}, "attestations": given}
        ],
    }
