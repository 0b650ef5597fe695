"""What would have made a build faster, or would make its wheel smaller, as far as its own figures say.

In: a run of a timeline record, and the record of the build if it came to a wheel. Out: sentences with the figures they
rest on; none where nothing stands out. Pure; nothing fails.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from wheelsmith.report.charts import seconds
from wheelsmith.report.html import megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wheelsmith.documents.builds import BuildRecord, RunFacts, UnitFacts

_WORTH = 0.05  # of the time or the size: less is not worth a sentence


def faster(run: RunFacts) -> tuple[str, ...]:
    """What held the run up, and what would help."""
    units = run["units"]
    if not units:
        return ()
    return (*_memory(run), *_tail(run), *_lost(units), *_cache(units))


def smaller(record: BuildRecord) -> tuple[str, ...]:
    """What the wheel's bytes are spent on that could be spared."""
    return (*_archs(record), *_uncompressed(record), *_strip(record))


def bound(run: RunFacts) -> float:
    """Seconds below which these units cannot be compiled with this many slots, each unit on one of them."""
    walls = [unit["end"] - unit["start"] for unit in run["units"]]
    return max(max(walls, default=0.0), sum(walls) / max(run["jobs"], 1))


def _memory(run: RunFacts) -> Iterator[str]:
    samples, wanted = run["samples"], min(run["jobs"], run["host"]["cpus"])
    held = sum(
        later["at"] - sample["at"]
        for sample, later in pairwise(samples)
        if sample["waiting"] and sample["running"] < wanted and sample["slots"] < wanted
    )
    length = samples[-1]["at"] - samples[0]["at"] if samples else 0
    if length and held > _WORTH * length:
        yield (
            f"Memory held it up: for {seconds(held)} ({held / length:.0%} of the time) units waited while"
            " processors were idle, for want of memory. Give it more (--memory, the container's limit)."
        )


def _tail(run: RunFacts) -> Iterator[str]:
    done = [unit for unit in run["units"] if unit["kind"] != "link"]
    if not done:
        return
    first, last = min(unit["start"] for unit in done), max(unit["end"] for unit in done)
    longest = max(done, key=lambda unit: unit["end"] - unit["start"])
    length, wall = last - first, longest["end"] - longest["start"]
    half = max(1, min(run["jobs"], run["host"]["cpus"]) // 2)
    begins = next((at for at in sorted({unit["end"] for unit in done}) if _at_work(done, at) < half), last)
    if length and last - begins > _WORTH * length and half > 1:
        late = max(done, key=lambda unit: unit["end"])
        yield (
            f"In the last {seconds(last - begins)} fewer than {half} units ran; the last to end was {late['name']}"
            f" ({seconds(late['end'] - late['start'])})."
        )
    if length and wall > 0.5 * length:
        yield (
            f"{longest['name']} alone takes {seconds(wall)} of {seconds(length)}: more processors cannot bring the"
            " compile below that, only this unit for fewer architectures, or split by its project."
        )


def _at_work(units: Sequence[UnitFacts], at: float) -> int:
    return sum(unit["start"] <= at < unit["end"] for unit in units)


def _lost(units: Sequence[UnitFacts]) -> Iterator[str]:
    lost = [unit for unit in units if unit["death"] or unit["status"] != 0]
    spent = sum(unit["cpu_seconds"] for unit in lost)
    if lost and spent > _WORTH * sum(unit["cpu_seconds"] for unit in units):
        dead = sum(bool(unit["death"]) for unit in lost)
        yield (
            f"{len(lost)} compilers came to nothing ({dead} of them for want of memory): {spent:.0f} CPU-seconds."
            " What a unit needs is remembered for the next build."
        )


def _cache(units: Sequence[UnitFacts]) -> Iterator[str]:
    missed = [unit for unit in units if unit["cache"] == "miss" and unit["status"] == 0]
    spent = sum(unit["cpu_seconds"] for unit in missed)
    if missed:
        yield (
            f"{len(missed)} units were compiled and put into the cache: a build of the same recipe that finds them"
            f" there (--cache, for other machines) is spared {spent:,.0f} CPU-seconds."
        )


def _archs(record: BuildRecord) -> Iterator[str]:
    size = record["wheel"]["size"]
    packed: dict[str, int] = {}
    for code in record["report"]["code"]:
        packed[code["arch"]] = packed.get(code["arch"], 0) + code["packed"]
    if len(packed) > 1 and size:
        parts = ", ".join(
            f"{arch}: {megabytes(count)} ({count / size:.0%})"
            for arch, count in sorted(packed.items(), key=lambda item: -item[1])
            if count > _WORTH * size
        )
        if parts:
            yield f"By architecture, the wheel would be smaller by this much without it: {parts}."


def _uncompressed(record: BuildRecord) -> Iterator[str]:
    plain = [library for library in record["report"]["libraries"] if library["compression"].get("none")]
    code = sum(item["size"] for library in plain for item in (*library["sass"], *library["ptx"]))
    size = sum(library["size"] for library in record["report"]["libraries"])
    if size and code > 0.2 * size:
        yield (
            f"Up to {megabytes(code)} of GPU code in {len(plain)} libraries is not compressed by nvcc: the wheel's"
            " own compression takes that back, an installed package does not (nvcc -Xfatbin -compress-all)."
        )


def _strip(record: BuildRecord) -> Iterator[str]:
    if not record["plan"]["strip"]:
        yield "The libraries were not stripped (strip = true in the recipe): what symbols take was not measured."
