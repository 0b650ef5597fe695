"""Whether a package needs a source build at all, said from the judgement of its published wheel.

In: what was judged, and the command that would build it. Out: `Advice`, with the rules that follow from this wheel:
since which driver it runs on each GPU. Pure; nothing fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from wheelsmith.compat.judge import Fits, judge, oldest_driver
from wheelsmith.compat.model import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wheelsmith.compat.model import Answer
    from wheelsmith.compat.summary import WheelSummary
    from wheelsmith.contract import Choice
    from wheelsmith.documents.wheels import AdviceDocument

_HOW: dict[Answer, str] = {
    "yes": "runs as it is",
    "jit": "runs after the driver has compiled a part of it, at first use",
    "partly": "runs only partly, whatever the driver",
    "no": "does not run, whatever the driver",
    "other": "does not run, whatever the driver",
    "unknown": "is not judged",
    "host": "holds no GPU code, so it is not judged",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """Whether a source build is needed.

    Attributes:
        package: `name==version`.
        wheel: file name of the published wheel that was judged; None: there is none for this Python and platform.
        fits: how it fits; None when there is no wheel.
        answer: `install` the published wheel, `build` from source, or `not judged`.
        command: the wheelsmith command that builds one that fits; None when it is not needed, or no recipe covers it.
        why: one sentence.
        rules: one sentence per GPU, which follow from this wheel.
    """

    package: str
    wheel: str | None
    fits: Fits | None
    answer: Literal["install", "build", "not judged"]
    command: str | None
    why: str
    rules: tuple[str, ...] = ()

    @property
    def build_needed(self) -> bool:
        """Whether the published wheel is not enough."""
        return self.answer == "build"

    def to_dict(self) -> AdviceDocument:
        """JSON values."""
        return {
            "schema_version": 2,
            "package": self.package,
            "wheel": self.wheel,
            "answer": self.answer,
            "build_needed": self.build_needed,
            "why": self.why,
            "command": self.command,
            "rules": list(self.rules),
            "fits": self.fits.to_dict() if self.fits else None,
        }


def advise(package: str, fits: Fits, rules: Sequence[str], command: str | None, gap: str) -> Advice:
    """The advice for a wheel that was judged.

    Args:
        package: `name==version` of that wheel.
        fits: the judgement.
        rules: what `rules_of` says of it.
        command: how to build one that fits; None: no recipe does.
        gap: why there is no command; empty when there is one.
    """
    wheel = fits.wheel
    if fits.verdict == "fits":
        return Advice(
            package, wheel, fits, "install", None, "the published wheel runs on every GPU that was named.", (*rules,)
        )
    bad = [item for item in _all(fits) if item.answer in {"no", "partly"}]
    bad = bad or [item for item in _all(fits) if item.answer in {"unknown", "other"}]
    first = f"{bad[0].library}: {bad[0].reasons[0].says}" if bad and bad[0].reasons else fits.note
    more = f"not found: {', '.join(fits.missing)}" if fits.missing else ""
    why = first or more or "no rule decides"
    if fits.verdict == "not judged":
        return Advice(package, wheel, fits, "not judged", None, f"{why}.", (*rules,))
    return Advice(package, wheel, fits, "build", command, f"{why}{'; ' if gap else ''}{gap}.", (*rules,))


def rules_of(summary: WheelSummary, machine: Machine, choices: Sequence[Choice]) -> Iterator[str]:
    """For each GPU: how this wheel runs there, and since which driver."""
    for name, arch in machine.gpus:
        best = judge(summary, Machine(((name, arch),)), choices).answer_on(name)
        driver = oldest_driver(summary, (name, arch), choices)
        since = f" with driver {driver} or newer" if driver and best in {"yes", "jit"} else ""
        yield f"{name} ({arch}): {summary.filename} {_HOW[best]}{since}"


def _all(fits: Fits) -> tuple[Any, ...]:
    return (*fits.libraries, *(item for node in fits.dependencies for item in node.libraries))
