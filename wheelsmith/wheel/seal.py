"""The last step of a wheel: its local version, and an archive whose bytes depend on the content only.

In: a wheel. Out: the sealed wheel in another folder. Fails with `ContractError` when the wheel already
carries another local version, and with `InvalidWheelError` on an unsound archive. Nothing is left behind on
failure. The version inside modules (`_version.py`) is the build's business: it was compiled in before this
step.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import ContractError, UsageError
from wheelsmith.wheel.archive import Archive, invalid, open_archive
from wheelsmith.wheel.rewrite import Changes, write_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_VERSION_LINE = re.compile(rb"^(Version:[ \t]*)([^\r\n]*?)([ \t]*\r?)$", re.MULTILINE | re.IGNORECASE)
_REQUIRES_LINE = re.compile(rb"^(Requires-Dist:[ \t]*)([^\r\n]*?)([ \t]*\r?)$", re.MULTILINE | re.IGNORECASE)
#: Released in step with a torch, of which each requires exactly one: a pin of the old pair cannot be met any more.
_COMPANIONS = {"torch": ("torchaudio", "torchvision")}
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


def seal(
    wheel: Path,
    out_dir: Path,
    *,
    local_version: str | None,
    epoch: int,
    extra: Mapping[str, bytes] | None = None,
    pins: Mapping[str, str] | None = None,
) -> Path:
    """Rewrite a wheel reproducibly, with `local_version` in its name and metadata (PEP 440, "Local version").

    Args:
        wheel: the wheel to read; it is not changed unless it lies in `out_dir` under the sealed name.
        out_dir: an existing folder for the result.
        local_version: for example `"cu130"`; None keeps the version as it is.
        epoch: the time of every member, in seconds since 1970.
        pins: versions, by normalized name, of what the wheel was compiled against: a library made for one torch does
            not load with the next one. Requirements that leave it open are pinned; one with `==` stays if it says the
            same, and gives way if it does not. Then torch's companions are taken in any version.
        extra: files to put into the `.dist-info` directory, such as an SBOM, by their path below it.

    Returns:
        The path of the sealed wheel, complete and synced to disk.

    Raises:
        ContractError: the wheel has another local version.
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
        changes = Changes(
            rename=rename,
            replace={f"{archive.dist_info}/METADATA": _with_pins(_with_version(archive, suffix), pins or {})},
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


def _with_pins(text: bytes, pins: Mapping[str, str]) -> bytes:
    """METADATA with the requirements of `pins` fixed to their version; every other byte stays."""
    end = _END_OF_HEADERS.search(text)
    headers = text[: end.start()] if end else text
    wanted = [found for line in _REQUIRES_LINE.finditer(headers) if (found := _requirement(line[2]))]
    swapped = {name for item in wanted if (name := canonicalize_name(item.name)) in pins and _contradicts(item, pins)}
    loosened = {companion for name in swapped for companion in _COMPANIONS.get(name, ())}

    def pinned(match: re.Match[bytes]) -> bytes:
        requirement = _requirement(match[2])
        if requirement is None or requirement.url:
            return match[0]
        name = canonicalize_name(requirement.name)
        if name in loosened:
            requirement.specifier = SpecifierSet()
        elif name in pins and (name in swapped or not _exact(requirement)):
            requirement.specifier = SpecifierSet(f"=={pins[name]}")
        else:
            return match[0]
        return match[1] + str(requirement).encode() + match[3]

    return _REQUIRES_LINE.sub(pinned, headers) + text[len(headers) :]


def _requirement(text: bytes) -> Requirement | None:
    try:
        return Requirement(text.decode())
    except (InvalidRequirement, UnicodeDecodeError):  # not ours to judge: pip will
        return None


def _exact(requirement: Requirement) -> bool:
    return any(item.operator == "==" for item in requirement.specifier)


def _contradicts(requirement: Requirement, pins: Mapping[str, str]) -> bool:
    version = pins[canonicalize_name(requirement.name)]
    return _exact(requirement) and not requirement.specifier.contains(version, prereleases=True)
