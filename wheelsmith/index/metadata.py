"""What the index must know about a wheel, read from the file itself.

In: the path of a wheel and the file name that it is to have. Out: `WheelFacts`: name, version, the Python it
needs, its variant, and its METADATA byte for byte. Members are streamed, never unpacked. Fails with
`InvalidWheelError` when the zip is damaged or unsafe, or when the file name, METADATA and WHEEL disagree.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import InvalidWheelError
from wheelsmith.index.claim import claim_of
from wheelsmith.index.readable import check_readable, read_fields
from wheelsmith.index.tags import check_members, check_tags
from wheelsmith.index.variant import derive
from wheelsmith.index.wheelvariant import read_info, split_name
from wheelsmith.wheel.zip_directory import open_wheel_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.metadata import RawMetadata

    from wheelsmith.wheel.archive import Archive

_SAFE_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")
_REMEDY = "Build the wheel again, or fix it with `wheel unpack` and `wheel pack`; nothing was published."


@dataclass(frozen=True, slots=True)
class WheelFacts:
    """What the index says about one wheel.

    Attributes:
        project: the normalized project name (PEP 503), `torch-scatter`.
        version: the normalized version (PEP 440), `2.1.2+cu130`.
        requires_python: `Requires-Python`, or None where the wheel has none.
        variant: what its local version and torch requirement tell, `cu130-torch2.9`, or None.
        metadata: the bytes of `*.dist-info/METADATA`, unchanged (PEP 658).
        wheel_variant: `*.dist-info/variant.json` of a wheel with a variant label in its name; else None.
    """

    project: str
    version: str
    requires_python: str | None
    variant: str | None
    metadata: bytes
    wheel_variant: dict[str, Any] | None = None


def parse_filename(filename: str) -> tuple[str, Version]:
    """Return the normalized project name and the version that a wheel's file name states (PEP 427).

    Raises:
        InvalidWheelError: the name is no wheel name, or has characters that no build backend writes.
    """
    if not _SAFE_FILENAME.fullmatch(filename):
        raise InvalidWheelError(
            f"{filename!r} is no wheel file name: letters, digits and ._+!- are allowed, then .whl.",
            "Give the wheel under the name that the build backend gave it.",
        )
    claim = claim_of(filename)
    return claim.project, claim.version


def project_of(filename: str) -> str:
    """The normalized name of a wheel's project. Raises what `parse_filename` does."""
    return parse_filename(filename)[0]


def read_wheel(path: Path, filename: str) -> WheelFacts:
    """Read and check the wheel at `path`, whose last part is `filename`.

    Every member is decompressed once, to check its length and CRC-32; libraries are looked into if the file name
    promises a glibc.

    Raises:
        InvalidWheelError: the file cannot be read as a wheel, is not safe to unpack, or contradicts its name.
    """
    project, version = parse_filename(filename)
    plain, label = split_name(filename)
    with _named(path, plain) as named, open_wheel_archive(named) as archive:
        check_readable(archive)
        metadata = archive.text("METADATA")
        check_tags(archive)
        check_members(archive)
        info = None if label is None else _variant_info(archive, filename, label)
    raw = read_fields(metadata, filename)
    _check_identity(raw, filename, project, version)
    return WheelFacts(
        project=project,
        version=str(version),
        requires_python=raw.get("requires_python"),
        variant=derive(version, map(Requirement, raw.get("requires_dist", []))),
        metadata=metadata,
        wheel_variant=info,
    )


@contextmanager
def _named(path: Path, filename: str) -> Iterator[Path]:
    """The file under this name, without the label that nobody but us knows."""
    if path.name == filename:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="wheelsmith-index-") as folder:
        named = Path(folder) / filename
        named.symlink_to(path.absolute())
        yield named


def _variant_info(archive: Archive, filename: str, label: str) -> dict[str, Any]:
    if all(member.filename != f"{archive.dist_info}/variant.json" for member in archive.members):
        raise InvalidWheelError(f"{filename} has the variant label {label!r}, and no variant.json.", _REMEDY)
    return read_info(archive.text("variant.json"), filename, label)


def requirements_of(metadata: bytes, filename: str) -> tuple[Requirement, ...]:
    """Return the `Requires-Dist` lines of METADATA, in their order.

    Raises:
        InvalidWheelError: METADATA cannot be read.
    """
    return tuple(map(Requirement, read_fields(metadata, filename).get("requires_dist", [])))


def _check_identity(raw: RawMetadata, filename: str, project: str, version: Version) -> None:
    name, stated = raw.get("name", ""), raw.get("version", "")
    if canonicalize_name(name) != project:
        raise InvalidWheelError(f"{filename} says Name: {name!r} in METADATA, not {project!r}.", _REMEDY)
    try:
        agrees = Version(stated) == version
    except InvalidVersion:
        agrees = False
    if not agrees:
        raise InvalidWheelError(f"{filename} says Version: {stated!r} in METADATA, not '{version}'.", _REMEDY)
