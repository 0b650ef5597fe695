"""What the pages must know of one wheel, kept beside its record.

In: a published wheel. Out: a `Kept`: its `WheelSummary` and the names of its SBOM files. It is a cache: it names the
SHA-256 of the wheel it describes, and one that is absent, damaged, old or of other bytes is made again. Fails with
`StoreError`.

    <root>/records/cards/<project>/<file>.whl.json
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from wheelsmith.compat.summarise import summarise
from wheelsmith.compat.summary import WheelSummary, from_dict
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.facts import torch_cuda
from wheelsmith.index.files import storage_errors, write_atomic
from wheelsmith.index.layout import Layout
from wheelsmith.wheel.archive import open_archive
from wheelsmith.wheel.inspect import inspect_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_SBOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.json")
_MAX_SBOM = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one wheel: its summary, and the names of its SBOM files (PEP 770)."""

    summary: WheelSummary
    sboms: tuple[str, ...] = ()

    @property
    def requires(self) -> tuple[str, ...]:
        """Requirements without those of extras."""
        return tuple(map(str, _requires(self.summary.requires)))

    @property
    def torch(self) -> str | None:
        """What it asks of torch (`==2.9.1`), empty for any; None if it needs no torch."""
        found = (item.specifier for item in _requires(self.summary.requires) if canonicalize_name(item.name) == "torch")
        return next(map(str, found), None)

    @property
    def cuda(self) -> str | None:
        """CUDA `major.minor`, or `major`, as the wheel tells, else as the torch that it pins; None: nothing tells."""
        torch = self.torch or ""
        pinned = torch.startswith("==") and "," not in torch and "*" not in torch
        return self.summary.cuda or (torch_cuda(torch.removeprefix("==")) if pinned else None)


def kept_of(root: Path, project: str, wheel: Path, sha256: str) -> Kept:
    """What is kept of the published file `wheel`; it is inspected only if nothing good is there.

    Raises:
        StoreError: it cannot be written.
    """
    layout = Layout(root.absolute())
    try:
        data = json.loads(_path(layout, project, wheel.name).read_bytes())
        kept = Kept(from_dict(data["summary"]), tuple(map(str, data["sboms"])))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return remember(root, project, wheel, sha256)
    return kept if kept.summary.sha256 == sha256 else remember(root, project, wheel, sha256)


def remember(root: Path, project: str, wheel: Path, sha256: str) -> Kept:
    """Inspect the published file `wheel`, write what is kept of it and its SBOM files, and return the former.

    Of a wheel that pip installs and `inspect_path` does not understand, that is kept.

    Raises:
        StoreError: they cannot be written.
    """
    layout = Layout(root.absolute())
    with storage_errors(layout.root):
        try:
            summary = summarise(inspect_path(wheel))
            kept = Kept(summary, tuple(_unpack_sboms(layout, project, wheel)))
        except InvalidWheelError as error:
            kept = Kept(WheelSummary(wheel.name, sha256, problem=error.cause))
        data = {"summary": kept.summary.to_dict(), "sboms": kept.sboms}
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False) + "\n"
        write_atomic(_path(layout, project, wheel.name), text.encode(), layout.staging.parent)
    return kept


def sbom_path(layout: Layout, project: str, filename: str, sbom: str) -> Path:
    """Where an SBOM of a wheel is served from."""
    return layout.root / "project" / project / "sboms" / filename / sbom


def cards_folder(layout: Layout, project: str) -> Path:
    """Where the summaries of a project's wheels are."""
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


def _requires(lines: Iterable[str]) -> Iterable[Requirement]:
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or "extra" not in str(requirement.marker):
            yield requirement
