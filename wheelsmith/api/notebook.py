"""Displays in a notebook: `%load_ext wheelsmith`, and plans, verdicts, wheels and builds show themselves.

In: values of the API. Out: HTML that IPython shows. Outside of IPython nothing of this is imported; nothing fails.
"""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Protocol

from wheelsmith.report.html import facts, join, style, table, tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from wheelsmith.builder.model import BuildResult
    from wheelsmith.compat.judge import Fits
    from wheelsmith.events import Event, Listener
    from wheelsmith.planning.model import Plan
    from wheelsmith.wheel.report import WheelReport


class _Formatter(Protocol):
    def for_type_by_name(self, module: str, name: str, show: Callable[..., str], /) -> object: ...


class _Formatters(Protocol):
    formatters: dict[str, _Formatter]


class _Shell(Protocol):
    """What of IPython's shell is used."""

    display_formatter: _Formatters


def load_ipython_extension(shell: _Shell) -> None:
    """Teach IPython to show wheelsmith's values (`%load_ext wheelsmith`)."""
    html = shell.display_formatter.formatters["text/html"]
    html.for_type_by_name("wheelsmith.planning.model", "Plan", plan_html)
    html.for_type_by_name("wheelsmith.compat.judge", "Fits", fits_html)
    html.for_type_by_name("wheelsmith.wheel.report", "WheelReport", wheel_html)
    html.for_type_by_name("wheelsmith.builder.model", "BuildResult", build_html)


def plan_html(plan: Plan) -> str:
    """A plan: what is built from what, and what the wheel must pass."""
    target = plan.target
    rows = [[tree.name, tag("code", str(tree.source))] for tree in plan.trees]
    return _framed(
        tag("p", tag("strong", plan.requirement), f" for {target.archs.torch}"),
        facts(
            ("source", tag("code", str(plan.source))),
            ("Python", target.python),
            ("CUDA", target.cuda),
            ("torch", target.torch or "not used"),
            ("digest", tag("code", plan.digest)),
        ),
        table("Trees that are fetched beside it", ("tree", "pinned to"), rows) if rows else "",
        tag("ul", *(tag("li", line) for line in plan.warnings)) if plan.warnings else "",
    )


def fits_html(fits: Fits) -> str:
    """A verdict: by library and GPU, with what to do."""
    found = fits.to_dict()
    rows = [
        [
            tag("code", row["library"]),
            row["gpu"],
            row["answer"],
            *(str(row["units"][kind] or "–") for kind in ("native", "jit", "refused", "absent")),
        ]
        for row in found["libraries"]
    ]
    told = {reason["says"]: reason["remedy"] for row in found["libraries"] for reason in row["reasons"]}
    columns = ("library", "on", "runs", "native", "by JIT", "refused", "absent")
    return _framed(
        tag("p", tag("strong", f"{found['wheel']}: {found['verdict']}")),
        table("Translation units with kernels, by what becomes of them.", columns, rows, numbers=(3, 4, 5, 6)),
        tag("ul", *(tag("li", f"{says} {remedy}") for says, remedy in told.items())) if told else "",
    )


def wheel_html(report: WheelReport) -> str:
    """A wheel: its GPU code by library."""
    from wheelsmith.report.wheel_page import wheel_page

    return _page(wheel_page(report), 420)


def build_html(result: BuildResult) -> str:
    """A build: its report, as it lies beside the log; without one, the headline."""
    if result.page is not None and result.page.is_file():
        return _page(result.page.read_text("utf-8"), 640)
    headline = result.record["verdict"]["headline"]
    return _framed(tag("p", tag("strong", result.wheel.name)), tag("p", headline))


def notebook_progress() -> Listener:
    """A listener for `build` and `fetch` that draws the stages and the units in the cell that calls it.

    Raises:
        ImportError: IPython is not there.
    """
    from IPython.display import HTML, display

    from wheelsmith.events import Compiling, Note, StageDone, StageStarted

    stages: dict[str, str] = {}
    notes: list[str] = []
    shown = display(HTML("…"), display_id=True)
    drawn = 0.0

    def listen(event: Event) -> None:
        nonlocal drawn
        now = time.monotonic()
        if isinstance(event, StageStarted):
            stages[event.stage] = f"… {event.detail}"
        elif isinstance(event, StageDone):
            stages[event.stage] = f"{event.detail} ({event.seconds:.1f} s)"
        elif isinstance(event, Compiling):
            left = (
                "not known"
                if event.left is None
                else " to ".join(f"{s / 60:.0f}" for s in sorted({*event.left})) + " min"
            )
            steps = f"{event.done} of {event.total} steps" if event.total else f"{event.units} units"
            longest = f"; longest: {event.running[0].name}" if event.running else ""
            stages["compile"] = f"{steps}, time left {left}, {len(event.running)} running{longest}"
            if now - drawn < 0.5:  # what is drawn travels to a browser
                return
        elif isinstance(event, Note):
            notes.append(event.text)
        else:
            return
        drawn = now
        rows = [[name, text] for name, text in stages.items()]
        lines = tag("ul", *(tag("li", line) for line in notes[-5:])) if notes else ""
        shown.update(HTML(_framed(table("Stages", ("stage", ""), rows), lines)))

    return listen


def _framed(*parts: str) -> str:
    """A piece of a page with our styles, which leave the notebook's own alone."""
    styles = style("base.css") + style("page.css") + "body{padding:0}"
    return _page(f"<style>{styles}</style>{join(parts)}", 320)


def _page(document: str, height: int) -> str:
    return f'<iframe sandbox="" style="width:100%;border:0;height:{height}px" srcdoc="{escape(document)}"></iframe>'
