"""The page of one wheel: its GPU code by arch and what each arch costs, and every library with what it needs.

In: a `WheelReport`. Out: HTML as text. Pure; nothing fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wheelsmith.gpu.drivers import ptx_cuda
from wheelsmith.gpu.facts import family
from wheelsmith.report.html import Html, join, megabytes, page, table, tag

if TYPE_CHECKING:
    from wheelsmith.wheel.report import CodeSize, LibraryReport, WheelReport

_KINDS = {"sass": "machine code", "ptx": "PTX", "ltoir": "LTO input"}
_ABI = {"none": "not used", "stable": "stable interface", "unstable": "tied to one version"}


def wheel_page(report: WheelReport) -> str:
    """A self-contained page about a wheel, a folder or a library."""
    return page(
        report.filename,
        tag("h1", report.filename),
        tag("p", _headline(report), class_="soft"),
        _about(report),
        tag("h2", "GPU code by architecture"),
        _archs(report),
        tag("h2", "Libraries"),
        _libraries(report),
        tag("h2", "Each library"),
        *(_library(library) for library in report.libraries),
        tag("p", "Made by wheelsmith inspect.", class_="soft"),
    )


def _headline(report: WheelReport) -> str:
    holding = sum(library.has_device_code for library in report.libraries)
    count = len(report.libraries)
    return f"{megabytes(report.size)} · {count} librar{'y' if count == 1 else 'ies'}, {holding} of them with GPU code"


def _about(report: WheelReport) -> Html:
    rows = [("size", f"{report.size:,} bytes")]
    if report.name is not None:
        rows += [("package", f"{report.name} {report.version}"), ("tags", ", ".join(report.tags))]
        rows += [("requires", ", ".join(r for r in report.requires_dist if "extra ==" not in r) or "nothing")]
    rows.append(("symbol versions allow", report.platform or "no manylinux platform"))
    if report.sha256:
        rows.append(("sha256", report.sha256))
    return tag("dl", *(part for name, value in rows for part in (tag("dt", name), tag("dd", value))))


def _archs(report: WheelReport) -> Html:
    if not report.code:
        return tag("p", "There is none.")
    largest = max(item.packed for item in report.code) or 1
    rows = [
        [
            join([tag("code", _name(item)), " ", tag("span", family(item.arch), class_="soft")]),
            _KINDS[item.kind] + (f" {item.isa}, from CUDA {ptx_cuda(item.isa) or '?'}" if item.isa else ""),
            f"{item.count - item.empty}" + (f" + {item.empty} empty" if item.empty else ""),
            megabytes(item.size),
            join([megabytes(item.packed), _bar(item, largest)]),
            f"{item.packed / report.size:.1%}" if report.size else "",
        ]
        for item in report.code
    ]
    where = "in the wheel" if report.kind == "wheel" else "stored"
    columns = ("architecture", "kind", "pieces", "in the libraries", f"{where}: saved without it", "share")
    caption = "What each architecture takes. Empty pieces hold no kernel and run nowhere."
    return table(caption, columns, rows, numbers=(2, 3, 4, 5))


def _bar(item: CodeSize, largest: int) -> Html:
    return tag(
        "span",
        class_="bar ptx" if item.kind == "ptx" else "bar",
        style=f"width:{100 * item.packed / largest:.1f}%",
        aria_hidden="true",
    )


def _libraries(report: WheelReport) -> Html:
    rows = [
        [
            tag("code", library.path),
            megabytes(library.size),
            megabytes(library.packed) if library.packed is not None else "–",
            _codes(library, "sass"),
            _codes(library, "ptx"),
            library.glibc or "–",
        ]
        for library in report.libraries
    ]
    columns = ("library", "size", "in the wheel", "machine code", "PTX (version)", "GLIBC")
    return table("Architecture and number of pieces.", columns, rows, numbers=(1, 2))


def _codes(library: LibraryReport, kind: str) -> str:
    items = [
        f"{item.arch}×{item.count}" + (f" ({item.isa})" if item.isa else "")
        for item in library.code
        if item.kind == kind
    ]
    return ", ".join(items) or "–"


def _library(library: LibraryReport) -> Html:
    rows = [
        ("needs", ", ".join(library.needed) or "nothing"),
        ("RPATH", ":".join(library.rpath) or "none"),
        ("symbol versions", f"GLIBC {library.glibc or '–'}, GLIBCXX {library.glibcxx or '–'}"),
        ("CPython", _ABI[library.python_abi]),
        ("torch", _ABI[library.torch_abi]),
    ]
    if library.facts.device_code:
        stored = ", ".join(f"{count} {name}" for name, count in library.compression.items())
        rows.append(("GPU code", f"{library.units} translation units with kernels; stored: {stored}"))
    parts = [
        tag("summary", library.path),
        tag("dl", *(part for name, value in rows for part in (tag("dt", name), tag("dd", value)))),
    ]
    if library.torch_symbols:
        listed = tag("p", *(join([tag("code", name), " "]) for name in library.torch_symbols))
        parts.append(tag("p", f"{len(library.torch_symbols)} symbols that torch must define:", class_="soft"))
        parts.append(listed)
    return tag("details", *parts)


def _name(item: CodeSize) -> str:
    return item.arch.sm if item.kind == "sass" else item.arch.sm.replace("sm_", "compute_")
