"""Charts of a build as inline SVG: which unit ran when on which slot, and what memory there was.

In: one run of a timeline record. Out: `Html`. Pure; nothing fails. A chart says nothing that a table beside it does not
say as well; times are seconds since the run began, sizes bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wheelsmith.report.html import Html, join, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wheelsmith.documents.builds import RunFacts, SampleFacts, UnitFacts

_WIDTH, _LEFT, _BOTTOM = 1000.0, 62.0, 18.0
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_GB = 1e9


def slots(units: Sequence[UnitFacts]) -> list[list[UnitFacts]]:
    """The units by slot: on each of them one after the other, the fewest slots that this takes."""
    rows: list[list[UnitFacts]] = []
    for unit in sorted(units, key=lambda unit: (unit["start"], unit["end"])):
        row = next((row for row in rows if row[-1]["end"] <= unit["start"]), None)
        if row is None:
            rows.append([unit])
        else:
            row.append(unit)
    return rows


def gantt(run: RunFacts) -> Html:
    """Every unit as a bar on its slot; a pointer over a bar names it."""
    rows = slots(run["units"])
    thick = 14.0 if len(rows) <= 40 else 7.0
    height, length = thick * len(rows), _length(run)
    bars = (
        tag(
            "rect",
            tag("title", _title(unit)),
            class_=_class(unit),
            x=_number(_x(unit["start"], length)),
            y=_number(thick * number + 1),
            width=_number(max(_x(unit["end"], length) - _x(unit["start"], length), 0.6)),
            height=_number(thick - 2),
        )
        for number, row in enumerate(rows)
        for unit in row
    )
    numbered = range(0, len(rows), max(1, len(rows) // 8))
    names = (
        tag("text", str(row + 1), x="56", y=_number(max(thick * row + thick / 2 + 4, 9)), text_anchor="end")
        for row in numbered
    )
    key = _key(
        ("unit", "compiled"), ("cached", "from the cache"), ("other", "linked"), ("failed", "failed, or out of memory")
    )
    label = f"{len(run['units'])} units on {len(rows)} slots over {seconds(length)}"
    return _chart(label, height, join([*_axis(length, height), *names, *bars]), key)


def memory(run: RunFacts) -> Html:
    """What the compilers used, and what they could have used, over time."""
    samples = run["samples"]
    height, length = 140.0, _length(run)
    top = max((sample["used"] + sample["free"] for sample in samples), default=0) or 1
    used = max((sample["used"] for sample in samples), default=0)
    top = min(top, max(4 * used, 1))  # where memory is plenty, the curve is what matters, not the distance

    def y(size: float) -> float:
        return height * (1 - min(size / top, 1))

    line = [(_x(sample["at"], length), y(sample["used"])) for sample in samples]
    area = [(line[0][0], height), *line, (line[-1][0], height)] if line else []
    limit = [(_x(sample["at"], length), y(sample["used"] + sample["free"])) for sample in samples]
    scale = [
        tag(
            "text",
            f"{top * part / _GB:.3g} GB",
            x="56",
            y=_number(height * (1 - part) + (10 if part else 0)),
            text_anchor="end",
        )
        for part in (0.5, 1)
    ]
    body = [
        *_axis(length, height),
        *scale,
        tag("polygon", class_="area", points=_points(area)),
        tag("polyline", class_="limit", points=_points(limit)),
    ]
    label = f"Memory of all compilers together, {used / _GB:.2f} GB at the most"
    return _chart(label, height, join(body), _key(("unit", "used"), ("limit", "what there was")))


def running(run: RunFacts) -> Html:
    """How many compilers ran, and how many could have."""
    samples = run["samples"]
    height, length = 90.0, _length(run)
    top = max((max(sample["running"], sample["slots"]) for sample in samples), default=0) or 1
    line = _stairs(samples, length, lambda sample: height * (1 - sample["running"] / top))
    limit = _stairs(samples, length, lambda sample: height * (1 - sample["slots"] / top))
    area = [(line[0][0], height), *line, (line[-1][0], height)] if line else []
    body = [
        *_axis(length, height),
        tag("text", str(top), x="56", y="10", text_anchor="end"),
        tag("polygon", class_="area", points=_points(area)),
        tag("polyline", class_="limit", points=_points(limit)),
    ]
    label = f"Compilers at work, of at most {top}"
    return _chart(
        label, height, join(body), _key(("unit", "running"), ("limit", "slots that memory and --jobs allowed"))
    )


def seconds(value: float) -> str:
    """A duration for people: `48 s`, `12 min 5 s`, `2 h 3 min`."""
    whole = round(value)
    if whole < 60:
        return f"{value:.1f} s" if value < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _length(run: RunFacts) -> float:
    ends = [unit["end"] for unit in run["units"]] + [sample["at"] for sample in run["samples"]]
    return max(ends, default=0.0) or 1.0


def _x(at: float, length: float) -> float:
    return _LEFT + (_WIDTH - _LEFT) * at / length


def _stairs(
    samples: Sequence[SampleFacts], length: float, y: Callable[[SampleFacts], float]
) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for sample in samples:
        x = _x(sample["at"], length)
        if points:
            points.append((x, points[-1][1]))
        points.append((x, y(sample)))
    return points


def _axis(length: float, height: float) -> Iterator[Html]:
    step = next((step for step in _STEPS if length / step <= 10), _STEPS[-1])
    at = 0
    while at <= length:
        x = _number(_x(at, length))
        yield tag("line", class_="grid", x1=x, x2=x, y1="0", y2=_number(height))
        yield tag("text", _clock(at), x=x, y=_number(height + 13), text_anchor="start" if not at else "middle")
        at += step


def _clock(at: int) -> str:
    return f"{at // 3600}:{at % 3600 // 60:02}:{at % 60:02}" if at >= 3600 else f"{at // 60}:{at % 60:02}"


def _title(unit: UnitFacts) -> str:
    archs = f" for {' '.join(unit['archs'])}" if unit["archs"] else ""
    text = f"{unit['name']}{archs}: {seconds(unit['end'] - unit['start'])}, {unit['cpu_seconds']:.1f} CPU-s"
    return f"{text}, {unit['peak'] / _GB:.2f} GB, {outcome(unit)}"


def outcome(unit: UnitFacts) -> str:
    """How it ended, in words: where the object comes from, or what it died of."""
    if unit["death"] or unit["status"] != 0:
        return unit["death"] or f"status {unit['status']}"
    if unit["kind"] == "link":
        return "linked"
    return {"hit": "from the cache", "part": "in part from the cache"}.get(unit["cache"], "compiled")


def _class(unit: UnitFacts) -> str:
    if unit["status"] != 0 or unit["death"]:
        return "unit failed"
    if unit["cache"] == "hit":
        return "unit cached"
    return "unit other" if unit["kind"] == "link" else "unit"


def _chart(label: str, height: float, body: Html, key: Html) -> Html:
    box = f"0 0 {_WIDTH:.0f} {height + _BOTTOM:.0f}"
    drawn = tag("svg", tag("title", label), body, viewBox=box, role="img", aria_label=label)
    return join(
        [
            tag("div", drawn, class_="scroll chart", tabindex="0", role="region", aria_label=label),
            tag("p", label, ". ", key, class_="soft key"),
        ]
    )


def _key(*items: tuple[str, str]) -> Html:
    return join(tag("span", tag("i", class_=name, aria_hidden="true"), text) for name, text in items)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
