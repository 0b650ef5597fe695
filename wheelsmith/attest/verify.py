"""Whether a wheel is the one that its provenance speaks of, whole, and signed by whom it should be.

In: a wheel, its provenance, and a public key or none. Out: `WheelVerification`. Fails with `VerificationError`, which
lists everything that is wrong with the wheel, and with `InvalidWheelError` on one that cannot be read at all. Rules:
PEP 427 and the PyPA specification "Recording installed projects" (RECORD), PEP 770 (SBOM).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheelsmith.attest.provenance import Provenance, find_provenance, read_provenance
from wheelsmith.attest.sbom import SBOM_FILE, count_components
from wheelsmith.errors import InvalidWheelError, VerificationError
from wheelsmith.wheel.archive import Archive, invalid, open_archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wheelsmith.documents.wheels import VerifyDocument

SCHEMA_VERSION = 1
_ALGORITHMS = ("sha256", "sha384", "sha512")  # PEP 427: sha256 or better
_MAX_SHOWN = 20


@dataclass(frozen=True, slots=True)
class WheelVerification:
    """What was checked, and found right.

    Attributes:
        wheel, sha256: the wheel and its digest.
        members: how many of its members have the hash that RECORD gives.
        components: how many things its SBOM lists.
        requirement, plan_digest, finished: what the provenance says that it is, and when it was built.
        signed_by: id of the key that signed the provenance; None: no key was given, so nobody vouches for it.
    """

    wheel: Path
    sha256: str
    members: int
    components: int
    requirement: str
    plan_digest: str
    finished: str
    signed_by: str | None

    def to_dict(self) -> VerifyDocument:
        """JSON-ready form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "wheel": str(self.wheel),
            "sha256": self.sha256,
            "members": self.members,
            "components": self.components,
            "requirement": self.requirement,
            "plan_digest": self.plan_digest,
            "finished": self.finished,
            "signed_by": self.signed_by,
        }


def verify_wheel(wheel: Path, *, provenance: Path | None, key: Path | None) -> tuple[WheelVerification, Provenance]:
    """Check a wheel against its RECORD, its SBOM and its provenance; and that against a public key, if one is given.

    Raises:
        VerificationError: something does not belong together, or the signature is missing or wrong.
        InvalidWheelError: the wheel cannot be read.
        UsageError: there is no such wheel, or the key is none.
    """
    with open_archive(wheel) as archive:
        origin = read_provenance(find_provenance(wheel, provenance))
        signed_by = None
        if key is not None:
            from wheelsmith.attest.signing import check_signature, load_public_key

            signed_by = check_signature(origin, load_public_key(key))
        with wheel.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        components, problems = _sbom(archive)
        problems += _record_problems(archive)
        if sha256 != origin.sha256:
            problems.insert(0, f"its SHA-256 is {sha256}, and its provenance is of {origin.sha256} ({origin.filename})")
        if problems:
            raise VerificationError(
                f"{wheel.name} is not what it should be: {problems[0]}.",
                "Do not install it; get it again from where it was built.",
                detail="\n".join(problems[1 : _MAX_SHOWN + 1]),
            )
    return (
        WheelVerification(
            wheel=wheel,
            sha256=sha256,
            members=len(archive.members),
            components=components,
            requirement=origin.requirement,
            plan_digest=origin.plan_digest,
            finished=origin.finished,
            signed_by=signed_by,
        ),
        origin,
    )


def _sbom(archive: Archive) -> tuple[int, list[str]]:
    name = f"{archive.dist_info}/{SBOM_FILE}"
    if not any(member.filename == name for member in archive.members):
        return 0, [f"it has no SBOM ({name})"]
    try:
        return count_components(archive.text(SBOM_FILE), name), []
    except InvalidWheelError as error:
        return 0, [error.cause.rstrip(".")]


def _record_problems(archive: Archive) -> list[str]:
    """Every contradiction between RECORD and the members."""
    listed = dict(_record(archive))
    own = f"{archive.dist_info}/RECORD"
    problems = []
    for member in archive.members:
        row = listed.pop(member.filename, None)
        if member.filename in {own, f"{own}.jws", f"{own}.p7s"}:
            continue
        if row is None:
            problems.append(f"RECORD does not list {member.filename!r}")
            continue
        algorithm, _, expected = row[0].partition("=")
        if algorithm not in _ALGORITHMS:
            problems.append(f"RECORD has no SHA-2 hash of {member.filename!r}")
            continue
        digest = hashlib.new(algorithm)
        for chunk in archive.chunks(member):
            digest.update(chunk)
        if base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode() != expected:
            problems.append(f"{member.filename!r} has another {algorithm} than RECORD says")
        elif row[1] not in {"", str(member.file_size)}:
            problems.append(f"{member.filename!r} has {member.file_size} bytes, RECORD says {row[1]}")
    return problems + [f"RECORD lists {name!r}, which is not there" for name in listed]


def _record(archive: Archive) -> Iterator[tuple[str, tuple[str, str]]]:
    seen: set[str] = set()
    try:
        for row in csv.reader(io.StringIO(archive.text("RECORD").decode(), newline=""), strict=True):
            if not row:
                continue
            if len(row) != 3 or row[0] in seen:
                raise invalid(archive.path.name, f"its RECORD has the row {','.join(row)[:200]!r}")
            seen.add(row[0])
            yield row[0], (row[1], row[2])
    except (csv.Error, UnicodeDecodeError) as error:
        raise invalid(archive.path.name, f"its RECORD cannot be read ({error})") from error
