"""The wheels of one project as a page shows them, and which of them to take.

In: the project's JSON page, the cards beside the records, a GPU, a driver. Out: `Wheel` and `Choice` values; the picker
(`wheelsmith.compat.picker`) decides. Fails with `StoreError` where a card cannot be written.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin

from packaging.utils import parse_wheel_filename

from wheelsmith.compat.choices import choices_of
from wheelsmith.compat.judge import oldest_driver
from wheelsmith.compat.model import Machine
from wheelsmith.compat.picker import Candidate, Picked, WheelTarget, pick, platforms_of, ranked
from wheelsmith.gpu.facts import all_gpus
from wheelsmith.index import keys
from wheelsmith.index.web.commands import Commands, commands_for
from wheelsmith.index.web.summary import Kept, kept_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from packaging.version import Version

    from wheelsmith.compat.model import Answer
    from wheelsmith.compat.summary import WheelSummary
    from wheelsmith.contract import Choice as RunTimeChoice
    from wheelsmith.gpu.arch import Arch
    from wheelsmith.gpu.drivers import Driver
    from wheelsmith.index.layout import Layout


@dataclass(frozen=True, slots=True)
class Fit:
    """How a wheel runs on a GPU: the judge's answer, and the oldest driver with which it is so (None: not known)."""

    answer: Answer
    driver: str | None


@dataclass(frozen=True)
class Wheel:
    """One wheel on a page: its entry in the JSON page, its version and, when asked for, what is known of it."""

    file: dict[str, Any]
    filename: str
    version: Version
    python: str
    platform: str
    kept: Callable[[], Kept]
    choices: tuple[RunTimeChoice, ...]
    metadata: Path

    @cached_property
    def card(self) -> Kept:
        """What is in it."""
        return self.kept()

    @property
    def candidate(self) -> Candidate:
        """The wheel as the picker takes it."""
        requires = self.file.get("requires-python")
        return Candidate(self.filename, requires, "yanked" in self.file, lambda: self.card.summary, self)

    @property
    def fits(self) -> tuple[tuple[Arch, Fit], ...]:
        """How it runs on every known compute capability where it runs at all."""
        found = []
        for arch in known_archs():
            target = WheelTarget(machine=_machine(arch, None), choices=self.choices)
            if picked := pick([dataclasses.replace(self.candidate, yanked=False)], target):
                found.append((arch, _fit(self, picked, arch)))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Choice:
    """The wheels to take, of one version, and the commands to install them."""

    wheels: tuple[Wheel, ...]
    fit: Fit
    commands: Commands


def wheels_of(layout: Layout, project: str) -> tuple[Wheel, ...]:
    """The wheels on a project's JSON page, newest first."""
    try:
        page = json.loads(layout.page(project, "json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    found = []
    choices = choices_of(project)
    for file in page["files"]:
        _, version, _, tags = parse_wheel_filename(file["filename"])
        wheel = unquote(file["url"]).removeprefix("../../")
        if wheel.startswith(("/", "..")) or "://" in wheel:
            continue  # a page that somebody else wrote
        if provenance := file.get("provenance"):
            file["provenance"] = urljoin(f"../../simple/{project}/", provenance)
        if (layout.root / keys.statement(wheel)).is_file():
            file["statement"] = f"../../{quote(keys.statement(wheel))}"
        found.append(
            Wheel(
                file=file,
                filename=file["filename"],
                version=version,
                python=", ".join(sorted({f"{tag.interpreter}-{tag.abi}" for tag in tags})),
                platform=", ".join(sorted({tag.platform for tag in tags})),
                kept=partial(kept_of, layout.root, project, layout.root / wheel, file["hashes"]["sha256"]),
                choices=choices,
                metadata=layout.root / keys.metadata(wheel),
            )
        )
    return tuple(sorted(found, key=lambda wheel: (wheel.version, wheel.filename), reverse=True))


def choose(
    wheels: Sequence[Wheel], gpu: Arch, driver: Driver | None, owned: frozenset[str], index: str
) -> tuple[Choice, ...]:
    """For each platform the best wheels for a GPU under a driver; empty if none runs."""
    found = []
    platforms = {name for wheel in wheels for name in platforms_of(wheel.filename)}
    for platform in sorted(platforms - {"any"} or {"any"}):
        own = [wheel for wheel in wheels if {platform, "any"} & {*platforms_of(wheel.filename)}]
        picked = _ranked(own, WheelTarget(machine=_machine(gpu, driver), choices=wheels[0].choices))
        if not picked:
            continue
        best = picked[0]
        same = [one for one in picked if one.version == best.version and one.answer == best.answer]
        fit = _fit(best.candidate.origin, best, gpu)
        found.append(
            Choice(tuple(o.candidate.origin for o in same), fit, _commands(best.candidate.origin, owned, index))
        )
    return tuple(found)


def _ranked(wheels: Sequence[Wheel], target: WheelTarget) -> tuple[Picked, ...]:
    """What the picker ranks first, with its equals; versions are judged from the newest on until one runs natively."""
    by_version: dict[Version, list[Candidate]] = {}
    for wheel in wheels:
        by_version.setdefault(wheel.version, []).append(wheel.candidate)
    judged: list[Candidate] = []
    for version in target.specifier.filter(by_version):
        judged += by_version[version]
        best = ranked(by_version[version], target)
        if best and best[0].answer in {"yes", "host", None}:
            break
    return ranked(judged, target)


def _machine(gpu: Arch, driver: Driver | None) -> Machine:
    return Machine(((gpu.sm, gpu),), driver)


def _fit(wheel: Wheel, picked: Picked, gpu: Arch) -> Fit:
    assert picked.answer is not None, "a GPU was asked for"  # noqa: S101
    driver = _oldest(wheel.card.summary, gpu, wheel.choices) if picked.answer in {"yes", "jit", "partly"} else None
    return Fit(picked.answer, driver)


@lru_cache(maxsize=8192)
def _oldest(summary: WheelSummary, gpu: Arch, choices: tuple[RunTimeChoice, ...]) -> str | None:
    return oldest_driver(summary, (gpu.sm, gpu), choices)


def _commands(wheel: Wheel, owned: frozenset[str], index: str) -> Commands:
    requires_python = wheel.file.get("requires-python")
    return commands_for(wheel.filename, wheel.card.requires, requires_python, owned, index)


@cache
def known_archs() -> tuple[Arch, ...]:
    """The compute capability of every GPU that is known, sorted."""
    return tuple(sorted({gpu.arch for gpu in all_gpus()}))
