"""Whether a wheel will run on a machine, library by library, and the rule that decides.

In: a `WheelSummary`, a `Machine`, and what programs choose among at run time (`wheelsmith.compat.choices`). Out:
`Fits`: for every library and GPU an answer, what led to it and what to do. What no rule decides is `unknown`, never
yes and never no. Pure; nothing fails. The rules themselves are in `wheelsmith.compat.rules`. It runs inside images
too: the standard library, `packaging.version` and `wheelsmith.gpu` are all that it imports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wheelsmith.compat.choices import choose
from wheelsmith.compat.model import Answer, Finding, LibraryFit, Machine, Reason, worst
from wheelsmith.compat.rules import (
    code_rules,
    driver_rules,
    known_drivers,
    load_rules,
    newer_code_rule,
    processor_rule,
    tag_rule,
    unusable,
)
from wheelsmith.compat.units import Service, serve, units_of
from wheelsmith.errors import DOES_NOT_FIT
from wheelsmith.gpu.drivers import Driver

if TYPE_CHECKING:
    from wheelsmith.compat.summary import Library, WheelSummary
    from wheelsmith.contract import Choice
    from wheelsmith.documents.wheels import FitsDocument
    from wheelsmith.gpu.arch import Arch

SCHEMA_VERSION = 2

#: Exit codes of the two answers that are not "it fits"; part of the interface.
NOT_JUDGED = 55

Verdict = Literal["fits", "does not fit", "not judged"]
_CODES: dict[Verdict, int] = {"fits": 0, "does not fit": DOES_NOT_FIT, "not judged": NOT_JUDGED}


@dataclass(frozen=True, slots=True)
class Fits:
    """The result of `judge`.

    Attributes:
        wheel: file name.
        machine: what it was held against.
        libraries: one answer for each library and GPU, and for each file that could not be read.
        note: what else should be known: that there is no GPU code, or that kernels are made at run time; else empty.
        dependencies: the same for what it requires, if that was followed.
        missing: requirements that were to be followed and were not found.
    """

    wheel: str
    machine: Machine
    libraries: tuple[LibraryFit, ...]
    note: str = ""
    dependencies: tuple[Fits, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether it is known to run on every GPU."""
        return self.verdict == "fits"

    @property
    def exit_code(self) -> int:
        """0, 54 (it does not fit) or 55 (not judged)."""
        return _CODES[self.verdict]

    @property
    def verdict(self) -> Verdict:
        """The answer for all GPUs together, dependencies included."""
        answers = [self.answer_on(name) for name, _ in self.machine.gpus]
        if any(answer in {"no", "partly", "other"} for answer in answers):
            return "does not fit"
        if self.missing or any(answer in {"unknown", "host"} for answer in answers):
            return "not judged"
        return "fits"

    @property
    def unread(self) -> bool:
        """Whether something that may hold GPU code could not be read."""
        return any(reason.rule == "format" for item in self.libraries for reason in item.reasons)

    def answer_on(self, gpu: str) -> Answer:
        """The worst answer for a GPU, dependencies included; `other` where none of its own libraries runs there."""
        own = worst(item.answer for item in self.libraries if item.gpu == gpu)
        rest = worst(item.answer for node in self.dependencies for item in node.libraries if item.gpu == gpu)
        return own if own == "other" and rest in {"yes", "jit"} else worst((own, rest))

    def to_dict(self) -> FitsDocument:
        """JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "wheel": self.wheel,
            "machine": self.machine.to_dict(),
            "verdict": self.verdict,
            "fits": self.fits,
            "answers": {name: self.answer_on(name) for name, _ in self.machine.gpus},
            "note": self.note,
            "libraries": [item.to_dict() for item in self.libraries],
            "dependencies": [item.to_dict() for item in self.dependencies],
            "missing": list(self.missing),
        }


def judge(summary: WheelSummary, machine: Machine, choices: Sequence[Choice] = (), run_time: str = "") -> Fits:
    """Hold a wheel, folder or library against a machine.

    Args:
        summary: what it holds.
        machine: where it is to run.
        choices: what the package chooses among when it runs, if the wheel itself says nothing of that.
        run_time: who makes its kernels when it runs, if that is known.
    """
    offered = frozenset(name for library in summary.libraries for name in library.offered)
    cuda = int(summary.cuda.partition(".")[0]) if summary.cuda else None
    unread = {path for path, _ in summary.unjudged}
    own_cxx = any(library.path.rpartition("/")[2].startswith("libstdc++") for library in summary.libraries)
    loading = dataclasses.replace(machine, cxx=None) if own_cxx else machine
    judged = [
        fit
        for library in summary.libraries
        if library.units or library.path not in unread
        for name, arch in machine.gpus
        for fit in (_fit(library, name, arch, loading, offered, cuda),)
        if not (unread and fit.answer in {"no", "other"} and library.loose)  # that may hold what these lack
    ]
    judged += [
        LibraryFit(path, name, "unknown", (Reason("format", why),))
        for path, why in (*summary.unjudged, *([(summary.filename, summary.problem)] if summary.problem else []))
        for name, _ in machine.gpus
    ]
    if known := summary.choices or choices:
        judged = choose(judged, machine, known)
    if (refused := tag_rule(summary.filename, machine.glibc)) is not None:
        judged += [LibraryFit(summary.filename, name, "no", (refused.reason,)) for name, _ in machine.gpus]
    judged += [
        LibraryFit(summary.filename, name, "no", (found.reason,))
        for name, arch in machine.gpus
        if (found := processor_rule(summary.filename, name, arch)) is not None
    ]
    return Fits(summary.filename, machine, tuple(judged), _note(summary, run_time))


def oldest_driver(summary: WheelSummary, gpu: tuple[str, Arch], choices: Sequence[Choice] = ()) -> str | None:
    """The oldest driver of the tables with which a wheel runs on a GPU as well as with any; None: with none of them."""
    best = judge(summary, Machine((gpu,)), choices).answer_on(gpu[0])
    if best in {"no", "other", "host"}:
        return None
    for text in known_drivers():
        exactly = Driver(text, tuple(map(int, text.split("."))))  # `580` is meant as written, not as its whole branch
        if judge(summary, Machine((gpu,), exactly), choices).answer_on(gpu[0]) == best:
            return text
    return None


def with_dependencies(own: Fits, dependencies: Sequence[Fits], missing: Sequence[str]) -> Fits:
    """The judgement of a wheel together with those of what it requires."""
    return dataclasses.replace(own, dependencies=tuple(dependencies), missing=tuple(missing))


def _note(summary: WheelSummary, run_time: str) -> str:
    if summary.has_code or summary.unjudged or summary.problem:
        return run_time
    if run_time:
        return f"no GPU code here: {run_time}"
    plain = [text for text in summary.requires if "extra" not in text.partition(";")[2]]
    if not plain:
        return "no GPU code here"
    named = ", ".join(text.partition(";")[0].strip() for text in plain[:6]) + (" and more" if len(plain) > 6 else "")
    return f"no GPU code here; kernels, if any, are made at run time or come from what it requires: {named}"


def _fit(
    library: Library, name: str, arch: Arch, machine: Machine, offered: frozenset[str], cuda: int | None
) -> LibraryFit:
    service = serve(library.units, arch)
    findings: list[Finding] = [*load_rules(library, machine, offered)]
    if service.total:
        # The runtime that it needs must load, else the oldest of its code; what is newer is judged by itself.
        written = (code.major for item in service.native for code in item.loaded(arch) if code.major)
        least = library.cudart or min(written, default=None) or library.cuda or cuda
        findings += driver_rules(name, arch, machine.driver, least)
        findings += newer_code_rule(service, arch, machine.driver, least)
        findings += code_rules(service, name, arch, machine.driver)
        if library.linked:
            says = f"{library.linked} more units hold LTO IR alone, which runs only after another link: not judged"
            findings.append(Finding(None, Reason("kernels", says)))
    return _answered(library.path, name, service, findings, machine.driver)


def _answered(path: str, gpu: str, service: Service, findings: Sequence[Finding], driver: Driver | None) -> LibraryFit:
    refused = units_of(item for item in service.jit if unusable(item, driver) is not None)
    return LibraryFit(
        library=path,
        gpu=gpu,
        answer=worst(finding.answer for finding in findings if finding.answer),
        reasons=tuple(finding.reason for finding in findings),
        native=units_of(service.native),
        jit=units_of(service.jit) - refused,
        refused=refused,
        absent=units_of(service.absent),
    )
