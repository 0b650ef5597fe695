"""The last step of a wheel: its local version, and an archive whose bytes depend on the content only.

In: a wheel. Out: the sealed wheel in another folder. Fails with `ContractError` when the wheel already
carries another local version, and with `InvalidWheelError` on an unsound archive. Nothing is left behind on
failure. The version inside modules (`_version.py`) is the build's business: it was compiled in before this
step.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import ContractError, UsageError
from wheelsmith.wheel.archive import Archive, invalid, open_archive
from wheelsmith.wheel.requirements import RequirementEdits, with_requirements
from wheelsmith.wheel.rewrite import Changes, write_wheel

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_VERSION_LINE = re.compile(rb"^(Version:[ \t]*)([^\r\n]*?)([ \t]*\r?)$", re.MULTILINE | re.IGNORECASE)
_LICENSES = "licenses/"
_HEADER = re.MULTILINE | re.IGNORECASE
_OLD_METADATA = re.compile(rb"^(Metadata-Version:[ \t]*)(?:1\.\d|2\.[0-3])(?=[ \t]*\r?$)", _HEADER)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


def seal(
    wheel: Path,
    out_dir: Path,
    *,
    local_version: str | None,
    epoch: int,
    extra: Mapping[str, bytes] | None = None,
    requires: RequirementEdits | None = None,
) -> Path:
    """Rewrite a wheel reproducibly, with `local_version` in its name and metadata (PEP 440, "Local version").

    Args:
        wheel: the wheel to read; it is not changed unless it lies in `out_dir` under the sealed name.
        out_dir: an existing folder for the result.
        local_version: for example `"cu130"`; None keeps the version as it is.
        epoch: the time of every member, in seconds since 1970.
        requires: what becomes of its requirements; see `wheelsmith.wheel.requirements`.
        extra: files to put into the `.dist-info` directory, such as an SBOM, by their path below it.

    Returns:
        The path of the sealed wheel, complete and synced to disk.

    Raises:
        ContractError: the wheel has another local version, or lacks a requirement that is to be replaced.
        InvalidWheelError: the wheel is not sound.
        UsageError: `local_version` is no local version.
    """
    with open_archive(wheel) as archive:
        suffix = "" if local_version is None else _missing_suffix(archive, local_version)
        name, version, *rest = wheel.name.split("-")

        def rename(member: str) -> str:
            top, slash, below = member.partition("/")
            stem, dot, kind = top.rpartition(".")
            if kind in {"dist-info", "data"} and archive.is_ours(stem):
                return f"{stem}{suffix}{dot}{kind}{slash}{below}"
            return member

        dist_info = rename(f"{archive.dist_info}/")
        metadata = with_requirements(_with_version(archive, suffix), requires or RequirementEdits())
        below = f"{archive.dist_info}/"
        present = (item.filename.removeprefix(below) for item in archive.members if item.filename.startswith(below))
        changes = Changes(
            rename=rename,
            replace={f"{archive.dist_info}/METADATA": _with_licences(metadata, {*present, *(extra or ())})},
            add={f"{dist_info}{path}": data for path, data in (extra or {}).items()},
        )
        return write_wheel(archive, out_dir / "-".join((name, version + suffix, *rest)), changes, epoch=epoch)


def _missing_suffix(archive: Archive, local_version: str) -> str:
    try:
        wanted = Version(f"0+{local_version}").local
    except InvalidVersion as error:
        raise UsageError(
            f"{local_version!r} is not a local version.", "Use letters, digits and dots, as in cu130."
        ) from error
    present = archive.version.local
    if present is None:
        return f"+{wanted}"
    if present != wanted:
        raise ContractError(
            f"{archive.path.name} already has the local version +{present}, and +{wanted} was to be set.",
            "Let the recipe keep the project from setting one, or ask for the same.",
        )
    return ""


def _with_version(archive: Archive, suffix: str) -> bytes:
    """METADATA with the suffix on its `Version`; every other byte stays."""
    text = archive.text("METADATA")
    end = _END_OF_HEADERS.search(text)
    headers = text[: end.start()] if end else text
    found = _VERSION_LINE.findall(headers)
    if len(found) != 1:
        raise invalid(archive.path.name, f"its METADATA has {len(found)} Version fields")
    if not archive.is_ours(f"{archive.name}-{found[0][1].decode('utf-8', 'replace')}"):
        raise invalid(archive.path.name, f"its METADATA is of version {found[0][1].decode('utf-8', 'replace')}")
    changed = _VERSION_LINE.sub(lambda match: match[1] + match[2] + suffix.encode() + match[3], headers)
    return changed + text[len(headers) :]


def _with_licences(text: bytes, files: Collection[str]) -> bytes:
    """METADATA that names each licence file of `.dist-info` (PEP 639: `License-File`, paths below `licenses/`).

    The field is of metadata 2.4. An older METADATA becomes that where nothing in it has another meaning then: no extra
    with a name that is not normalized (2.3), no licence file of the backend's own outside `licenses/`.
    """
    end = _END_OF_HEADERS.search(text)
    headers = text[: end.start()] if end else text.rstrip(b"\r\n")
    body = text[len(headers) :]
    line_end = b"\r\n" if b"\r\n" in headers else b"\n"
    own = [name.strip() for name in re.findall(rb"^License-File:([^\r\n]*)", headers, _HEADER)]
    extras = [name.strip().decode() for name in re.findall(rb"^Provides-Extra:([^\r\n]*)", headers, _HEADER)]
    names = sorted(
        path.removeprefix(_LICENSES) for path in files if path.startswith(_LICENSES) and not path.endswith("/")
    )
    names = [name for name in names if name.encode() not in own]
    if not names:
        return text
    if not own and all(canonicalize_name(name) == name for name in extras):
        headers = _OLD_METADATA.sub(rb"\g<1>2.4", headers)
    headers += b"".join(line_end + b"License-File: " + name.encode() for name in names)
    return headers + body
