"""Where a wheel comes from: an in-toto Statement v1 with a SLSA provenance v1 predicate, beside the wheel.

In: what was built from what, by what. Out: the statement as bytes; and back: bytes of a statement, or of a DSSE
envelope around one, as a `Provenance`. Whatever is not exactly that is a `VerificationError` that names the place.
Formats: in-toto Attestation Framework 1.0, SLSA 1.0 "Provenance", DSSE 1.0.2.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, ValidationError, field

from wheelsmith.errors import VerificationError
from wheelsmith.schema import matching, read, told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wheelsmith.attest.sbom import Material

#: Added to a wheel's file name. Not `.provenance`: under that name PEP 740 wants a Sigstore certificate.
SUFFIX = ".provenance.json"

BUILD_TYPE = "urn:wheelsmith:build:1"
BUILDER = "urn:wheelsmith:builder:local"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://slsa.dev/provenance/v1"
_MAX_BYTES = 64 << 20
_REMEDY = "Get it again from where the wheel was built."

M = TypeVar("M", bound=Struct)
Sha256 = Annotated[str, matching("[0-9a-f]{64}", "SHA-256, 64 lowercase hex digits")]


class _Digest(Struct, frozen=True, kw_only=True):
    sha256: Sha256


class _Subject(Struct, frozen=True, kw_only=True):
    name: str
    digest: _Digest


class _External(Struct, frozen=True, kw_only=True):
    requirement: str


class _Internal(Struct, frozen=True, kw_only=True):
    plan: dict[str, Any]
    plan_digest: Sha256
    lock: str | None


class _Definition(Struct, frozen=True, kw_only=True):
    build_type: Literal["urn:wheelsmith:build:1"] = field(name="buildType")
    external: _External = field(name="externalParameters")
    internal: _Internal = field(name="internalParameters")


class _Times(Struct, frozen=True, kw_only=True):
    invocation: str = field(name="invocationId")
    started: str = field(name="startedOn")
    finished: str = field(name="finishedOn")


class _Details(Struct, frozen=True, kw_only=True):
    metadata: _Times
    toolchain: dict[str, Any] = field(name="wheelsmith_toolchain")


class _Predicate(Struct, frozen=True, kw_only=True):
    definition: _Definition = field(name="buildDefinition")
    details: _Details = field(name="runDetails")


class _Statement(Struct, frozen=True, kw_only=True):
    kind: Literal["https://in-toto.io/Statement/v1"] = field(name="_type")
    predicate_type: Literal["https://slsa.dev/provenance/v1"] = field(name="predicateType")
    subject: Annotated[list[_Subject], Meta(min_length=1, max_length=1)]
    predicate: _Predicate


class _Signature(Struct, frozen=True, kw_only=True):
    keyid: str
    sig: str


class _Envelope(Struct, frozen=True, kw_only=True):
    payload_type: Literal["application/vnd.in-toto+json"] = field(name="payloadType")
    payload: str
    signatures: Annotated[list[_Signature], Meta(min_length=1, max_length=16)]


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a statement says. None of it is known to be true before a signature of it is checked.

    Attributes:
        filename, sha256: the wheel that it is about.
        requirement: what was asked for.
        plan, plan_digest, lock: the plan as `Plan.to_dict` gives it, its digest, and the lock that was installed.
        toolchain: versions of the tools of the machine that built it.
        finished: when, as RFC 3339 text.
        payload: the bytes that signatures are about.
        signatures: key id and signature of each.
    """

    filename: str
    sha256: str
    requirement: str
    plan: dict[str, Any]
    plan_digest: str
    lock: str | None
    toolchain: dict[str, Any]
    finished: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """One wheel, and what it was built from: the request, the plan as `Plan.to_dict` gives it, and the lock."""

    filename: str
    sha256: str
    requirement: str
    plan: Mapping[str, Any]
    plan_digest: str
    lock: str | None
    materials: Sequence[Material]


@dataclass(frozen=True, slots=True)
class Run:
    """The run that built it: versions of the builder's parts, its name, RFC 3339 times, and further facts by name."""

    builder: Mapping[str, str]
    invocation: str
    started: str
    finished: str
    facts: Mapping[str, Any]


def make_statement(origin: Origin, run: Run) -> bytes:
    """The statement about one wheel."""
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": origin.filename, "digest": {"sha256": origin.sha256}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"requirement": origin.requirement},
                "internalParameters": {"plan": origin.plan, "plan_digest": origin.plan_digest, "lock": origin.lock},
                "resolvedDependencies": [_resource(material) for material in origin.materials],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": dict(run.builder)},
                "metadata": {"invocationId": run.invocation, "startedOn": run.started, "finishedOn": run.finished},
                # SLSA lets a builder add fields of its own under its own prefix.
                **{f"wheelsmith_{key}": value for key, value in run.facts.items()},
            },
        },
    }
    return (json.dumps(statement, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _resource(item: Material) -> dict[str, object]:
    """An in-toto ResourceDescriptor. Its `digest` names one file, so a choice of files goes to the annotations."""
    annotations: dict[str, object] = {"kind": item.kind, "version": item.version}
    resource: dict[str, object] = {"name": item.name, "annotations": annotations}
    if item.purl:
        resource["uri"] = item.purl
    if item.url:
        resource["downloadLocation"] = item.url
    if item.commit:
        resource["digest"] = {"gitCommit": item.commit}
    elif len(item.sha256) == 1:
        resource["digest"] = {"sha256": item.sha256[0]}
    elif item.sha256:
        annotations["sha256"] = list(item.sha256)
    return resource


def find_provenance(wheel: Path, given: Path | None) -> Path:
    """The file with the provenance of `wheel`: the one given, or the one beside it.

    Raises:
        VerificationError: there is none.
    """
    path = wheel.with_name(f"{wheel.name}{SUFFIX}") if given is None else given
    if not path.is_file():
        raise VerificationError(
            f"There is no provenance of {wheel.name}: {path} is not a file.",
            "Give it with --provenance. Only wheels that wheelsmith built have one.",
        )
    return path


def read_provenance(path: Path) -> Provenance:
    """Read a statement, or an envelope with one.

    Raises:
        VerificationError: it is too large, no JSON, or lacks something; nothing of it is believed then.
    """
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise VerificationError(f"{path.name} has more than {_MAX_BYTES} bytes.", _REMEDY)
    document = _load(data, path.name)
    signatures: tuple[tuple[str, bytes], ...] = ()
    if "payloadType" in document:
        envelope = _validated(_Envelope, document, path.name)
        data = _decoded(envelope.payload, f"the payload of {path.name}")
        signatures = tuple((s.keyid, _decoded(s.sig, f"a signature of {path.name}")) for s in envelope.signatures)
        document = _load(data, f"the payload of {path.name}")
    statement = _validated(_Statement, document, path.name)
    subject, definition, details = (
        statement.subject[0],
        statement.predicate.definition,
        statement.predicate.details,
    )
    return Provenance(
        filename=subject.name,
        sha256=subject.digest.sha256,
        requirement=definition.external.requirement,
        plan=definition.internal.plan,
        plan_digest=definition.internal.plan_digest,
        lock=definition.internal.lock,
        toolchain=details.toolchain,
        finished=details.metadata.finished,
        payload=data,
        signatures=signatures,
    )


def _load(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{what} is no JSON ({error}).", _REMEDY) from error
    if not isinstance(document, dict):
        raise VerificationError(f"{what} holds no JSON object.", _REMEDY)
    return document


def _validated(model: type[M], document: dict[str, Any], what: str) -> M:
    try:
        return read(model, document)
    except ValidationError as error:
        raise VerificationError(f"{what} is no provenance: {told(error)}.", _REMEDY) from error


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise VerificationError(f"{what} is no base64 ({error}).", _REMEDY) from error
