"""What an image needs beside the wheels: hashes, dependencies, the check at its start, and the papers of each wheel.

In: wheels and their reports. Out: names and bytes of small files. Fails with `InvalidWheelError`.

    requirements.txt        one line per wheel, with its SHA-256, for `pip install --require-hashes --no-deps`
    dependencies.txt        what the wheels require from elsewhere, for `pip install`: a layer of its own
    preflight.pyz           the program that an image starts with
    <wheel>.report.json     what `wheelsmith inspect --json` says
    <wheel>.cdx.json        its SBOM, if it has one
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wheelsmith.attest.sbom import SBOM_FILE
from wheelsmith.container.preflight import make_preflight
from wheelsmith.wheel.archive import open_archive

if TYPE_CHECKING:
    from wheelsmith.wheel.report import WheelReport


@dataclass(frozen=True, slots=True)
class Pin:
    """One wheel as pip pins it.

    Attributes:
        requirement: `name==version`, with the local version.
        sha256: of the wheel, hex.
        dependencies: its `Requires-Dist`, without those of extras.
    """

    requirement: str
    sha256: str
    dependencies: tuple[str, ...]

    @property
    def line(self) -> str:
        """The line of a requirements file."""
        return f"{self.requirement} --hash=sha256:{self.sha256}"


def pin(report: WheelReport) -> Pin:
    """The pin of a wheel that was inspected."""
    parsed = [Requirement(text) for text in report.requires_dist]
    kept = tuple(str(item) for item in parsed if "extra" not in str(item.marker or ""))
    return Pin(f"{report.name}=={report.version}", report.sha256 or "", kept)


def dependencies(pins: Sequence[Pin]) -> tuple[str, ...]:
    """What the wheels require and are not themselves, sorted, each once."""
    own = {canonicalize_name(Requirement(item.requirement).name) for item in pins}
    wanted = {text for item in pins for text in item.dependencies}
    return tuple(sorted(text for text in wanted if canonicalize_name(Requirement(text).name) not in own))


def make_parts(wheels: Sequence[Path], reports: Sequence[WheelReport]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of every file.

    Raises:
        InvalidWheelError: a wheel cannot be read.
    """
    pins = sorted((pin(report) for report in reports), key=lambda item: item.requirement)
    yield "requirements.txt", _lines([item.line for item in pins])
    yield "dependencies.txt", _lines(dependencies(pins))
    yield "preflight.pyz", make_preflight(sorted(reports, key=lambda report: report.filename))
    for wheel, report in zip(wheels, reports, strict=True):
        text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n"
        yield f"{wheel.name}.report.json", text.encode()
        with open_archive(wheel) as archive:
            if any(member.filename == f"{archive.dist_info}/{SBOM_FILE}" for member in archive.members):
                yield f"{wheel.name}.cdx.json", archive.text(SBOM_FILE)


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
