"""The summary of what was inspected.

In: a `WheelReport`, or one library of it. Out: a `WheelSummary`, or a `Library`. Pure; nothing fails. Translation units
that are alike become one row, each piece of code held against all kernels that its unit has anywhere.
"""

from __future__ import annotations

import dataclasses
import os
from itertools import groupby
from typing import TYPE_CHECKING

from wheelsmith.compat.summary import Code, Library, Units, WheelSummary
from wheelsmith.gpu.arch import ptx_runs_on, sass_runs_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wheelsmith.binary.fatbin import DeviceCode
    from wheelsmith.gpu.arch import Arch
    from wheelsmith.wheel.report import LibraryReport, WheelReport


def summarise(report: WheelReport) -> WheelSummary:
    """The summary of what was inspected. What must still be linked (`.o`, `.a`) is left out: nothing loads it."""
    shared = [library for library in report.libraries if library.facts.kind not in {"object", "data"}]
    libraries = [summarised(library) for library in shared]
    if (data := summarised_data(report)) is not None:
        libraries.append(data)
    return WheelSummary(
        filename=report.filename,
        sha256=report.sha256,
        name=report.name,
        version=report.version,
        requires=report.requires_dist,
        libraries=tuple(sorted(libraries, key=lambda library: library.path)),
        unjudged=tuple((item.path, item.reason) for item in report.unjudged),
        choices=report.choices,
    )


def summarised_data(report: WheelReport, archs: Sequence[Arch] | None = None) -> Library | None:
    """GPU code in files of data, all of it together; None: there is none. `archs`: see `summarised`."""
    data = [library for library in report.libraries if library.facts.kind == "data"]
    units = tuple(_loose([library.facts.device_code for library in data], archs))
    if not units:
        return None
    paths = [library.path for library in data]
    return Library(paths[0] if len(paths) == 1 else f"{os.path.commonpath(paths)}/*".lstrip("/"), units)


def summarised(library: LibraryReport, archs: Sequence[Arch] | None = None) -> Library:
    """The summary of one library. With `archs`, only kernels that run on one of these can be missed."""
    inside = [code for code in library.facts.device_code if not code.section]
    beside = [code for code in library.facts.device_code if code.section]
    registered = library.facts.registered if archs is None else None
    return Library(
        path=library.path,
        units=(*_alike(inside, archs, registered), *_loose([beside], archs)),
        glibc=library.glibc,
        glibcxx=library.glibcxx,
        cxxabi=library.cxxabi,
        cudart=library.cudart_major,
        torch_symbols=library.torch_symbols,
        offered=library.facts.offered,
        linked=linked_units(library),
    )


def linked_units(library: LibraryReport) -> int:
    """Translation units that hold LTO IR and no code with kernels."""
    code = library.facts.device_code
    return len(
        {c.unit for c in code if c.kind == "ltoir"} - {c.unit for c in code if c.kind != "ltoir" and not c.empty}
    )


def _alike(
    code: Sequence[DeviceCode], archs: Sequence[Arch] | None, registered: frozenset[int] | None = None
) -> Iterator[Units]:
    """Units by the code that they hold, in file order of the first of each; what serves nothing is left out."""
    found: dict[tuple[Code, ...], tuple[int, list[Code], tuple[str, ...]]] = {}
    for _, group in groupby((item for item in code if item.kind != "ltoir"), key=lambda item: item.unit):
        items = tuple(group)
        made = tuple(_code(items, archs, registered, loose=False))
        if not made:
            continue
        key = tuple(dataclasses.replace(item, size=0, lost=()) for item in made)
        count, before, kernels = found.get(key, (0, [dataclasses.replace(c, size=0, lost=()) for c in key], ()))
        named = dict.fromkeys(name for item in items for name in item.names.values() or item.kernels or ())
        both = [_joined(old, new) for old, new in zip(before, made, strict=True)]
        found[key] = count + 1, both, tuple(dict.fromkeys((*kernels, *named)))
    for count, both, kernels in found.values():
        yield Units(count, tuple(both), kernels)


def _loose(files: Sequence[Sequence[DeviceCode]], archs: Sequence[Arch] | None) -> Iterator[Units]:
    """Fatbins found outside of their section as units; all that lies there alone, in any of the files, as one."""
    usable = [[item for item in code if item.kind != "ltoir"] for code in files]
    groups = [tuple(group) for code in usable for _, group in groupby(code, key=lambda item: item.unit)]
    yield from _alike([item for group in groups if len(group) > 1 for item in group], archs)
    single = [group[0] for group in groups if len(group) == 1]
    if made := tuple(_code(single, archs, None, loose=True)):
        named = (name for item in single for name in item.kernels or ())
        yield Units(1, made, tuple(dict.fromkeys(named)), loose=True)


def _joined(old: Code, new: Code) -> Code:
    lost = tuple(dict.fromkeys((*old.lost, *new.lost)))
    return dataclasses.replace(old, size=old.size + new.size, lost=lost)


def _code(
    items: Sequence[DeviceCode], archs: Sequence[Arch] | None, registered: frozenset[int] | None, *, loose: bool
) -> Iterator[Code]:
    """The code of one unit, pieces that are alike together, each held against all kernels that any of them has.

    Nothing, if no piece has a kernel with a body: such a unit runs nothing anywhere, and is missed nowhere.
    """
    alike: dict[Code, list[DeviceCode]] = {}
    for item in items:
        assert item.kind != "ltoir", "left out before"  # noqa: S101
        key = Code(item.kind, item.arch, item.isa, item.label, item.toolkit, unread=item.unread)
        alike.setdefault(key, []).append(item)
    if all(_bodies(item) == frozenset() for item in items):
        return
    counted = [item for item in items if archs is None or any(_runs(item, arch) for arch in archs)]
    every = frozenset().union(*(names for item in counted if (names := _bodies(item))))
    for code, pieces in alike.items():
        size = sum(item.size for item in pieces)
        beside = [item for item in items if loose and item.kind == code.kind and _runs(item, code.arch)]
        bodies = [_bodies(item) for item in (*pieces, *beside)]
        if any(names is None for names in bodies):
            yield dataclasses.replace(code, size=size)
            continue
        held = frozenset().union(*(names for names in bodies if names))
        stubs = frozenset().union(*(item.stubs for item in pieces)) & every - held
        missing = every - held - stubs
        if archs is None:
            stubs |= missing - (registered or frozenset())
            missing -= stubs
        lost = _names_of(missing | stubs, items) if missing or stubs else ()
        yield dataclasses.replace(code, size=size, kernels=len(held), missing=len(missing), stubs=len(stubs), lost=lost)


def _bodies(item: DeviceCode) -> frozenset[int] | None:
    """Its kernels with a body; None: not known."""
    return frozenset() if item.entries is None and item.empty else item.entries


def _runs(item: DeviceCode, arch: Arch) -> bool:
    """Whether a piece runs on a GPU, as it is or compiled by the driver."""
    return (sass_runs_on if item.kind == "sass" else ptx_runs_on)(item.arch, arch)


def _names_of(kernels: frozenset[int], items: Sequence[DeviceCode]) -> tuple[str, ...]:
    """Readable names of kernels, each once, in the order of the names."""
    return tuple(sorted({item.names[one] for item in items for one in item.names.keys() & kernels}))
