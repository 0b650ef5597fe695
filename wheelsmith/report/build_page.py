"""The page of one build: when each unit ran, memory, cache, warnings, the wheel by library and arch, what it came from.

In: the timeline record, the build's own record if it came to a wheel, and what its log warned of. Out: HTML as text,
one file that loads nothing. Pure; nothing fails. Every figure is one of the records'; what a record lacks is not shown.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wheelsmith.report import charts, hints
from wheelsmith.report.html import Html, facts, join, megabytes, page, table, tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wheelsmith.diagnostics.warnings import Warned
    from wheelsmith.documents.builds import BuildRecord, RunFacts, TimelineDocument
    from wheelsmith.documents.plans import SourceFacts
    from wheelsmith.documents.wheels import CodeFacts, LibraryFacts

_MOST_ROWS = 30


def build_page(timeline: TimelineDocument, record: BuildRecord | None, warned: Sequence[Warned] = ()) -> str:
    """A self-contained page about a build, finished (with `record`) or not.

    Args:
        timeline: its runs, the oldest first.
        record: the build's record; None if there is no wheel (yet).
        warned: what its log warned of.
    """
    runs = timeline["runs"]
    last = runs[-1]
    title = f"{last['name']} {last['version']}: build report"
    return page(
        title,
        tag("h1", title),
        *_headline(last, record),
        _hints("What would make it faster", hints.faster(last)),
        _hints("What would make the wheel smaller", hints.smaller(record) if record else ()),
        *(part for number, run in enumerate(runs, 1) for part in _run(run, number, len(runs))),
        _slowest(runs),
        *(_wheel(record) if record else ()),
        _warnings(record["plan"]["warnings"] if record else (), warned),
        *(_origin(record) if record else ()),
        tag("p", "Made by wheelsmith.", class_="soft"),
    )


def _headline(run: RunFacts, record: BuildRecord | None) -> Iterator[Html]:
    summary = run["summary"]
    began = datetime.fromtimestamp(run["started"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    if record is None:
        yield tag(
            "p", "There is no wheel of this build in the store: it has not ended, or it failed.", class_="lead warn"
        )
    else:
        sound = not record["verdict"]["violations"]
        yield tag("p", _upper(record["verdict"]["headline"]), class_="lead good" if sound else "lead warn")
        wheel = record["wheel"]
        yield facts(
            ("wheel", tag("code", wheel["filename"])),
            ("size", f"{megabytes(wheel['size'])} ({wheel['size']:,} bytes)"),
            ("sha256", tag("code", wheel["sha256"])),
            (
                "oldest driver",
                ", ".join(f"{arch}: {found or 'none known'}" for arch, found in record.get("drivers", {}).items()),
            ),
        )
    yield facts(
        ("compiled", f"{began}, {summary['units']} units in {charts.seconds(summary['seconds'])}"),
        ("processors", f"{run['host']['cpus']}, {summary['busy']:.0%} busy; {summary['cpu_seconds']:,.1f} CPU-seconds"),
        ("memory", f"{megabytes(summary['peak'])} at the most, of {megabytes(run['host']['memory'])}"),
        ("out of memory", f"{summary['deaths']} compilers, each tried again alone" if summary["deaths"] else ""),
        ("from the cache", f"{summary['hits']} of {summary['units']} units"),
    )


def _hints(head: str, lines: Sequence[str]) -> Html:
    if not lines:
        return join([])
    return tag("section", tag("h2", head), tag("ul", *(tag("li", line) for line in lines)))


def _run(run: RunFacts, number: int, count: int) -> Iterator[Html]:
    yield tag("h2", "Timeline" + (f", run {number} of {count}" if count > 1 else ""))
    if not run["units"]:
        yield tag("p", "No unit was compiled in this run.")
        return
    yield charts.gantt(run)
    if run["samples"]:
        yield charts.running(run)
        yield charts.memory(run)
    yield tag(
        "p",
        f"These units, each on one of {run['jobs']} slots, cannot take less than {charts.seconds(hints.bound(run))}"
        f" (the longest of them, or all of them spread evenly); it took {charts.seconds(run['summary']['seconds'])}.",
    )


def _slowest(runs: Sequence[RunFacts]) -> Html:
    units = sorted((unit for run in runs for unit in run["units"]), key=lambda unit: unit["start"] - unit["end"])
    whole = sum(unit["cpu_seconds"] for unit in units) or 1
    longest = max((unit["end"] - unit["start"] for unit in units), default=0) or 1
    rows = [
        [
            tag("code", unit["name"]),
            " ".join(unit["archs"]) or "–",
            join([charts.seconds(wall := unit["end"] - unit["start"]), _bar(wall / longest)]),
            f"{unit['cpu_seconds']:,.1f}",
            f"{unit['cpu_seconds'] / whole:.1%}",
            f"{unit['peak'] / 1e9:.2f}",
            f"{unit['start'] - unit['asked']:.1f}",
            charts.outcome(unit),
        ]
        for unit in units[:_MOST_ROWS]
    ]
    columns = ("unit", "archs", "time", "CPU-s", "share", "GB", "waited s", "outcome")
    caption = f"The {len(rows)} longest of {len(units)} units."
    return join([tag("h2", "The slowest units"), table(caption, columns, rows, numbers=(2, 3, 4, 5, 6))])


def _wheel(record: BuildRecord) -> Iterator[Html]:
    report, size = record["report"], record["wheel"]["size"]
    archs = sorted({(code["kind"], code["arch"]) for code in report["code"]}, key=_by_arch)
    rows = [
        [
            tag("code", library["path"]),
            megabytes(library["size"]),
            join([megabytes(packed := library["packed"] or 0), _bar(packed / (size or 1))]),
            *(_packed(library, kind, arch) for kind, arch in archs),
        ]
        for library in sorted(report["libraries"], key=lambda library: -(library["packed"] or 0))
    ]
    columns = ("library", "installed", "in the wheel", *(f"{_KINDS[kind]} {arch}" for kind, arch in archs))
    yield tag("h2", "The wheel by library and architecture")
    caption = "Bytes in the wheel: what each architecture takes of it, compressed."
    yield table(caption, columns, rows, numbers=tuple(range(1, len(columns))))
    verdict = record["verdict"]["rows"]
    if verdict:
        found = [
            [tag("code", row["library"]), row["arch"], row["outcome"], row["served_by"] or "–", str(row["units"])]
            for row in verdict
        ]
        yield table(
            "What each library does on each architecture that was asked for; the judge's own words.",
            ("library", "on", "outcome", "by", "units"),
            found,
            numbers=(4,),
        )


_KINDS = {"sass": "SASS", "ptx": "PTX", "ltoir": "LTO"}


def _by_arch(item: tuple[str, str]) -> tuple[str, float, str]:
    number = "".join(part for part in item[1] if part.isdigit() or part == ".")
    return ("sass", "ptx", "ltoir").index(item[0]).__str__(), float(number or 0), item[1]


def _packed(library: LibraryFacts, kind: str, arch: str) -> str:
    codes: dict[str, list[CodeFacts]] = {"sass": library["sass"], "ptx": library["ptx"], "ltoir": library["ltoir"]}
    found = sum(code["packed"] for code in codes[kind] if code["arch"] == arch)
    return megabytes(found) if found else "–"


def _warnings(planned: Sequence[str], warned: Sequence[Warned]) -> Html:
    if not planned and not warned:
        return join([tag("h2", "Warnings"), tag("p", "None: neither of the plan nor of a compiler.")])
    parts = [tag("h2", "Warnings")]
    if planned:
        parts.append(tag("ul", *(tag("li", f"The plan: {_upper(line)}") for line in planned)))
    if warned:
        rows = [
            [
                tag("code", one.kind),
                one.text if len(one.text) <= 300 else f"{one.text[:300]}…",
                tag("code", f"{one.file}:{one.line}" if one.line else one.file or "–"),
                str(one.at),
                f"{one.count:,}",
            ]
            for one in warned[:_MOST_ROWS]
        ]
        left = len(warned) - len(rows)
        caption = f"{sum(one.count for one in warned):,} warnings of {len(warned)} kinds" + (
            f"; {left} kinds are left out." if left else "."
        )
        parts.append(
            table(caption, ("kind", "the first one says", "where", "line of the log", "times"), rows, numbers=(3, 4))
        )
    return join(parts)


def _origin(record: BuildRecord) -> Iterator[Html]:
    plan, tools, cage = record["plan"], record["toolchain"], record["isolation"]
    served = {source["what"]: source["served_by"] for source in record["sources"]}
    rows = [
        [what, tag("code", _pin(source)), served.get(what) or "upstream"]
        for what, source in [
            (plan["name"], plan["source"]),
            *((tree["name"], tree["source"]) for tree in plan["trees"]),
        ]
    ]
    yield tag("h2", "What it was made of")
    yield table("The closure: the source and every tree, by content.", ("what", "pinned to", "served by"), rows)
    if plan["patches"]:
        changed = [[patch["path"], patch["why"]] for patch in plan["patches"]]
        yield table("Changes to the sources.", ("in", "why"), changed)
    confined = "confined" if cage["level"] == "confined" else f"not confined: {cage['reason']}"
    yield facts(
        ("recipe", plan["recipe"]),
        ("plan", tag("code", record["plan_digest"])),
        ("provenance", tag("code", record["provenance"])),
        ("Python", tools["python"]),
        ("CUDA", f"{tools['cuda']} ({tools['cuda_origin']})"),
        ("host compiler", tools["host_compiler"]),
        ("C library", tools["libc"]),
        ("confinement", f"{confined}; network: {'yes' if cage['network'] else 'none'}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in sorted(tools["packages"].items()))),
    )
    yield tag(
        "p",
        "To check: ",
        tag("code", f"wheelsmith verify {record['wheel']['filename']}"),
        " compares the wheel with its SBOM and provenance; ",
        tag("code", f"wheelsmith rebuild {record['provenance']}"),
        " repeats the build and compares byte for byte.",
        class_="soft",
    )


def _pin(source: SourceFacts) -> str:
    if source["kind"] == "GitSource":
        return f"{source['url']} at {source['commit']}"
    if source["kind"] == "SdistSource":
        return f"{source['project']} {source['version']}, sha256 {source['sha256']}"
    return f"{source['url']}, sha256 {source['sha256']}"


def _bar(share: float) -> Html:
    return tag("span", class_="bar", style=f"width:{100 * min(max(share, 0), 1):.1f}%", aria_hidden="true")


def _upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
