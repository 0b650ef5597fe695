"""What a wheel holds for GPUs, small enough to travel in an image: units that are alike are counted, not listed.

In: a `WheelReport`, or the JSON that was made of one. Out: that JSON; and back, a value that `compat.judge` takes.
Symbols of torch are left out: what pip resolved is not judged again. Imports the standard library and `wheelsmith.gpu`
only, since it runs inside images. Fails with `ValueError` on JSON that is not ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from wheelsmith.gpu.arch import Arch

if TYPE_CHECKING:
    from wheelsmith.wheel.inspect import LibraryReport, WheelReport

SCHEMA_VERSION = 1
_NAMED = 7  # one more than a sentence shows, so that it can say "and more"


@dataclass(frozen=True, slots=True)
class Code:
    """One piece of GPU code with kernels; what `wheelsmith.binary.fatbin.DeviceCode` says of it that decides."""

    kind: Literal["sass", "ptx"]
    arch: Arch
    isa: str | None
    unit: int
    kernels: tuple[str, ...]
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a library that decide."""

    device_code: tuple[Code, ...]
    kind: Literal["shared"] = "shared"
    offered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Library:
    """One library."""

    path: str
    glibc: str | None
    needed: tuple[str, ...]
    facts: Facts
    torch_symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SlimReport:
    """One wheel."""

    filename: str
    version: str | None
    libraries: tuple[Library, ...]


def slim(report: WheelReport) -> dict[str, Any]:
    """The JSON value of one wheel."""
    shared = [library for library in report.libraries if library.facts.kind != "object"]
    return {
        "schema_version": SCHEMA_VERSION,
        "filename": report.filename,
        "version": report.version,
        "libraries": [
            {
                "path": library.path,
                "glibc": library.glibc,
                "needed": [name for name in library.needed if name.startswith("libcudart.so.")],
                "groups": [
                    {"units": count, "code": [list(item) for item in code], "kernels": list(kernels)}
                    for code, (count, kernels) in _groups(library).items()
                ],
            }
            for library in shared
        ],
    }


def _groups(library: LibraryReport) -> dict[tuple[tuple[str, str, str | None], ...], tuple[int, tuple[str, ...]]]:
    """Units by the code that they hold: how many there are, and some kernels."""
    usable = (item for item in library.facts.device_code if item.kind != "ltoir" and not item.empty)
    found: dict[tuple[tuple[str, str, str | None], ...], tuple[int, tuple[str, ...]]] = {}
    for _, group in groupby(usable, key=lambda item: item.unit):
        items = list(group)
        code = tuple(dict.fromkeys((item.kind, str(item.arch), item.isa) for item in items))
        count, kernels = found.get(code, (0, ()))
        named = next((item.kernels for item in items if item.kernels), ())
        found[code] = count + 1, tuple(dict.fromkeys((*kernels, *named)))[:_NAMED]
    return found


def from_json(data: dict[str, Any]) -> SlimReport:
    """Read what `slim` made.

    Raises:
        ValueError: of another schema version.
    """
    if data.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema version {data.get('schema_version')!r}, not {SCHEMA_VERSION}")
    libraries = tuple(
        Library(item["path"], item["glibc"], tuple(item["needed"]), Facts(tuple(_code(item["groups"]))))
        for item in data["libraries"]
    )
    return SlimReport(data["filename"], data["version"], libraries)


def _code(groups: list[dict[str, Any]]) -> Iterator[Code]:
    unit = 0
    for group in groups:
        for number in range(group["units"]):
            kernels = tuple(group["kernels"]) if number == 0 else ()
            for kind, arch, isa in group["code"]:
                yield Code(kind, Arch.parse(arch), isa, unit, kernels)
            unit += 1
