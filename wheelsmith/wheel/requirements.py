"""What becomes of a wheel's requirements: pinned to what it was compiled against, or replaced as its recipe says.

In: METADATA as bytes, and `RequirementEdits`. Out: METADATA; every byte that is no edited requirement stays. Fails with
`ContractError` where a requirement that is to be replaced is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from wheelsmith.errors import ContractError

_REQUIRES_LINE = re.compile(rb"^(Requires-Dist:[ \t]*)([^\r\n]*?)([ \t]*\r?)$", re.MULTILINE | re.IGNORECASE)
#: Released in step with a torch, of which each requires exactly one: a pin of the old pair cannot be met any more.
_COMPANIONS = {"torch": ("torchaudio", "torchvision")}
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_WHOLE_LINE = re.compile(rb"^Requires-Dist:[ \t]*\0[^\n]*\n?", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RequirementEdits:
    """What is done to requirements.

    Attributes:
        pins: versions, or specifiers such as `>=2.11.0,<=2.13.0`, by normalized name, of what the wheel works with: a
            library made for one torch does not load with the next one. Requirements that leave it open are pinned; one
            with `==` stays if it says the same, and gives way if it does not. Then torch's companions are taken in any
            version.
        replaced: requirements, by name and extras, with what takes their place (empty: nothing). One that says no
            version takes over specifier and marker.
        missing: normalized names of `pins` that become requirements where the wheel has none of that name.
    """

    pins: Mapping[str, str] = field(default_factory=dict)
    replaced: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()


def with_requirements(text: bytes, edits: RequirementEdits) -> bytes:
    """METADATA with the edited requirements.

    Raises:
        ContractError: neither a requirement that is to be replaced nor its replacement is there.
    """
    end = _END_OF_HEADERS.search(text)
    headers = text[: end.start()] if end else text.rstrip(b"\r\n")
    body = text[len(headers) :]
    for old, new in edits.replaced:
        headers = _replaced(headers, Requirement(old), Requirement(new) if new else None)
    pins = {name: _specifier(value) for name, value in edits.pins.items()}
    named = {canonicalize_name(found.name) for _, found in _requirements(headers)}
    line_end = b"\r\n" if b"\r\n" in headers else b"\n"
    added = [f"Requires-Dist: {name}{pins[name]}".encode() for name in edits.missing if name not in named]
    return line_end.join((_with_pins(headers, pins), *added)) + body


def _specifier(value: str) -> SpecifierSet:
    return SpecifierSet(value if re.match(r"[=<>!~]", value) else f"=={value}")


def _replaced(headers: bytes, old: Requirement, new: Requirement | None) -> bytes:
    present = [found for _, found in _requirements(headers)]
    if not any(_same(item, old) for item in present):
        # The project itself may do so for some toolkits: then nothing is left to do.
        if new is None or any(_same(item, new) for item in present):
            return headers
        raise ContractError(
            f"The wheel does not require {old}, which its recipe replaces with {new}.",
            "Look at what the project requires now (`wheelsmith inspect` shows it), and correct [[rewrite]].",
        )

    def edited(match: re.Match[bytes]) -> bytes:
        found = _requirement(match[2])
        if found is None or not _same(found, old):
            return match[0]
        if new is None:
            return match[1] + b"\0" + match[2] + match[3]
        taken = Requirement(str(new))
        if not taken.specifier and not taken.url:
            taken.specifier = found.specifier
        taken.marker = taken.marker or found.marker
        return match[1] + str(taken).encode() + match[3]

    return _WHOLE_LINE.sub(b"", _REQUIRES_LINE.sub(edited, headers) + b"\n")[:-1]


def _same(one: Requirement, other: Requirement) -> bool:
    return canonicalize_name(one.name) == canonicalize_name(other.name) and one.extras == other.extras


def _with_pins(headers: bytes, pins: Mapping[str, SpecifierSet]) -> bytes:
    wanted = [found for _, found in _requirements(headers)]
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
            requirement.specifier = pins[name]
        else:
            return match[0]
        return match[1] + str(requirement).encode() + match[3]

    return _REQUIRES_LINE.sub(pinned, headers)


def _requirements(headers: bytes) -> Iterator[tuple[re.Match[bytes], Requirement]]:
    for line in _REQUIRES_LINE.finditer(headers):
        if (found := _requirement(line[2])) is not None:
            yield line, found


def _requirement(text: bytes) -> Requirement | None:
    try:
        return Requirement(text.decode())
    except (InvalidRequirement, UnicodeDecodeError):  # not ours to judge: pip will
        return None


def _exact(requirement: Requirement) -> bool:
    return any(item.operator == "==" for item in requirement.specifier)


def _contradicts(requirement: Requirement, pins: Mapping[str, SpecifierSet]) -> bool:
    """It asks for exactly one version, and the pin is another or admits more."""
    if not _exact(requirement):
        return False
    wanted = pins[canonicalize_name(requirement.name)]
    versions = [item.version for item in wanted if item.operator == "=="]
    return not versions or not all(requirement.specifier.contains(version, prereleases=True) for version in versions)
