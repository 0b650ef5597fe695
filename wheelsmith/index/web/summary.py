"""What the pages must know of one wheel, kept beside its record.

In: a published wheel. Out: a `Card`. It is a cache: it names the SHA-256 of the
wheel it describes, and one that is absent, damaged, old or of other bytes is made again. Fails with `StoreError`.

    <root>/records/cards/<project>/<file>.whl.json
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import TypeAdapter, ValidationError

from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.facts import torch_cuda
from wheelsmith.index.files import storage_errors, write_atomic
from wheelsmith.index.layout import Layout
from wheelsmith.wheel.archive import open_archive
from wheelsmith.wheel.inspect import WheelReport, inspect_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LOCAL_CUDA = re.compile(r"(?:^|\.)cu(\d{2})(\d)(?:\.|$)")
_RUNTIME = re.compile(r"libcudart\.so\.(\d+)")
_SBOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.json")
_MAX_SBOM = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Code:
    """GPU code of one library: `sass` (machine code) or `ptx`, its arch, its bytes, and PTX's language version."""

    kind: Literal["sass", "ptx"]
    arch: str
    size: int
    isa: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of one wheel.

    Attributes:
        filename: of the wheel.
        sha256: of the wheel, 64 hexadecimal digits.
        libraries: the GPU code of every library that has some, by path, sorted.
        cuda: CUDA `major.minor`, or only `major`; None if the wheel does not tell.
        torch: what it asks of torch (`==2.9.1`), empty for any; None if it needs no torch.
        glibc: highest GLIBC version that a library needs.
        requires: requirements without an extra, as METADATA spells them.
        sboms: names of its SBOM files (PEP 770).
        problem: why nothing else is known: a sentence of `inspect_path`, or None.
        schema: version of the format.
    """

    filename: str
    sha256: str
    libraries: tuple[tuple[str, tuple[Code, ...]], ...]
    cuda: str | None
    torch: str | None
    glibc: str | None
    requires: tuple[str, ...]
    sboms: tuple[str, ...]
    problem: str | None = None
    schema: Literal[1] = 1

    @property
    def sizes(self) -> dict[tuple[str, str], int]:
        """Bytes of GPU code by kind and arch, over all libraries."""
        found: dict[tuple[str, str], int] = {}
        for _, codes in self.libraries:
            for code in codes:
                found[code.kind, code.arch] = found.get((code.kind, code.arch), 0) + code.size
        return found


def card_of(root: Path, project: str, wheel: Path, sha256: str) -> Card:
    """The card of the published file `wheel`; it is inspected only if no good card is there.

    Raises:
        StoreError: the card cannot be written.
    """
    layout = Layout(root.absolute())
    try:
        card = _adapter().validate_json(_path(layout, project, wheel.name).read_bytes())
    except (FileNotFoundError, ValidationError):
        return remember(root, project, wheel, sha256)
    return card if card.sha256 == sha256 else remember(root, project, wheel, sha256)


def remember(root: Path, project: str, wheel: Path, sha256: str) -> Card:
    """Inspect the published file `wheel`, write its card and its SBOM files, and return the card.

    A wheel that pip installs and `inspect_path` does not understand gets a card that says so.

    Raises:
        StoreError: they cannot be written.
    """
    layout = Layout(root.absolute())
    with storage_errors(layout.root):
        try:
            report = inspect_path(wheel)
            card = _card(report, tuple(_unpack_sboms(layout, project, wheel)))
        except InvalidWheelError as error:
            card = Card(wheel.name, sha256, (), None, None, None, (), (), error.cause)
        record = _adapter().dump_json(card, indent=1) + b"\n"
        write_atomic(_path(layout, project, wheel.name), record, layout.staging.parent)
    return card


def sbom_path(layout: Layout, project: str, filename: str, sbom: str) -> Path:
    """Where an SBOM of a wheel is served from."""
    return layout.root / "project" / project / "sboms" / filename / sbom


def cards_folder(layout: Layout, project: str) -> Path:
    """Where the cards of a project are."""
    return layout.root / "records" / "cards" / project


def _path(layout: Layout, project: str, filename: str) -> Path:
    return cards_folder(layout, project) / f"{filename}.json"


def _unpack_sboms(layout: Layout, project: str, wheel: Path) -> Iterable[str]:
    with open_archive(wheel) as archive:
        prefix = f"{archive.dist_info}/sboms/"
        for member in archive.members:
            name = member.filename.removeprefix(prefix)
            if name != member.filename and _SBOM.fullmatch(name) and member.file_size <= _MAX_SBOM:
                data = b"".join(archive.chunks(member))
                write_atomic(sbom_path(layout, project, wheel.name, name), data, layout.staging.parent)
                yield name


def _card(report: WheelReport, sboms: tuple[str, ...]) -> Card:
    requires = tuple(_requires(report.requires_dist))
    torch = next((r.specifier for r in requires if canonicalize_name(r.name) == "torch"), None)
    glibc = max((one.glibc for one in report.libraries if one.glibc), key=_numbers, default=None)
    libraries = []
    for library in report.libraries:
        sizes: dict[tuple[Literal["sass", "ptx"], str, str | None], int] = {}
        for code in library.facts.device_code:
            if code.kind != "ltoir" and not code.empty:
                key = (code.kind, str(code.arch), code.isa)
                sizes[key] = sizes.get(key, 0) + code.size
        if sizes:
            codes = (Code(kind, arch, size, isa) for (kind, arch, isa), size in sizes.items())
            libraries.append((library.path, tuple(sorted(codes, key=_place))))
    return Card(
        filename=report.filename,
        sha256=str(report.sha256),
        libraries=tuple(libraries),
        cuda=_cuda(report, None if torch is None else str(torch)),
        torch=None if torch is None else str(torch),
        glibc=glibc,
        requires=tuple(map(str, requires)),
        sboms=sboms,
    )


def _place(code: Code) -> tuple[bool, Arch, str]:
    return code.kind != "sass", Arch.parse(code.arch), code.isa or ""


def _requires(lines: Iterable[str]) -> Iterable[Requirement]:
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or "extra" not in str(requirement.marker):
            yield requirement


def _cuda(report: WheelReport, torch: str | None) -> str | None:
    """CUDA as the local version says, else as a library's need for the runtime, else as the pinned torch says."""
    if match := _LOCAL_CUDA.search((report.version or "").partition("+")[2]):
        return f"{match[1]}.{match[2]}"
    for library in report.libraries:
        for needed in library.needed:
            if match := _RUNTIME.match(needed):
                return match[1]
    if torch and torch.startswith("==") and "," not in torch and "*" not in torch:
        return torch_cuda(torch.removeprefix("=="))
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@cache
def _adapter() -> TypeAdapter[Card]:
    return TypeAdapter(Card)
