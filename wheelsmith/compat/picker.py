"""Which wheel of several is the best for a target: the one place that decides it.

In: candidates (a file name, what the index says of it, and its summary where a GPU matters) and a `WheelTarget`. Out:
the best of them, or all that fit, best first. Pure; nothing fails. Rules: PEP 425 and PEP 600 by way of
`packaging.tags` (the interpreter's preferred tag first), PEP 440 (development versions only where nothing else fits or
the requirement names one), PEP 592 (what is yanked is not taken), and `wheelsmith.compat.judge`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from wheelsmith.compat.judge import judge
from wheelsmith.compat.model import Machine

if TYPE_CHECKING:
    from wheelsmith.compat.model import Answer
    from wheelsmith.compat.summary import WheelSummary
    from wheelsmith.contract import Choice

_NEWEST_GLIBC = (2, 60)
_OLDEST_GLIBC = (2, 5)
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}  # PEP 600
_RANK: dict[Answer, int] = {"yes": 0, "host": 0, "jit": 1, "unknown": 2, "partly": 3}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One published wheel.

    Attributes:
        filename: of the wheel.
        requires_python: what the index says of it (PEP 440); None: any.
        yanked: whether it is yanked.
        summary: what it holds; asked only if the target has GPUs.
        origin: whatever the caller knows it by.
    """

    filename: str
    requires_python: str | None = None
    yanked: bool = False
    summary: Callable[[], WheelSummary] | None = None
    origin: Any = None


@dataclass(frozen=True, slots=True)
class WheelTarget:
    """What the wheel is for. What is None is not asked.

    Attributes:
        tags: that the interpreter accepts, best first.
        python: version of the interpreter, `3.12` or `3.12.4`.
        specifier: versions that are wanted.
        machine: where it is to run.
        choices: what the package chooses among when it runs.
    """

    tags: tuple[str, ...] | None = None
    python: str | None = None
    specifier: SpecifierSet = field(default_factory=SpecifierSet)
    machine: Machine | None = None
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Picked:
    """A candidate that fits the target, and how well it runs there; `answer` is None where no GPU was asked for."""

    candidate: Candidate
    version: Version
    answer: Answer | None = None


def pick(candidates: Iterable[Candidate], target: WheelTarget) -> Picked | None:
    """The best candidate: what runs best, of these the newest version, of this the preferred tag; None: none fits."""
    return next(iter(ranked(candidates, target)), None)


def ranked(candidates: Iterable[Candidate], target: WheelTarget) -> tuple[Picked, ...]:
    """All candidates that fit, best first."""
    order = None if target.tags is None else {tag: rank for rank, tag in reversed(list(enumerate(target.tags)))}
    fitting: list[tuple[int, Version, int, Any, Picked]] = []
    parsed = [item for item in map(_parsed, candidates) if item is not None]
    allowed = set(target.specifier.filter(version for version, _, _, _ in parsed))
    for version, build, tags, candidate in parsed:
        ranks = [0] if order is None else [order[str(tag)] for tag in tags if str(tag) in order]
        if version not in allowed or not ranks or candidate.yanked or not _runs_python(candidate, target.python):
            continue
        answer = _answer(candidate, target)
        if answer is not None and answer not in _RANK:
            continue
        quality = 0 if answer is None else _RANK[answer]
        fitting.append((-quality, version, -min(ranks), build, Picked(candidate, version, answer)))
    return tuple(item[-1] for item in sorted(fitting, key=lambda item: item[:-1], reverse=True))


def linux_tags(python: str, processor: str = "x86_64", glibc: str | None = None) -> tuple[str, ...]:
    """Tags that CPython `python` (`3.12`) accepts on Linux with this C library (None: any), the preferred one first."""
    version = tuple(int(part) for part in python.split(".")[:2])
    platforms = list(_linux_platforms(processor, glibc))
    own = list(cpython_tags(version, platforms=platforms))
    return tuple(map(str, [*own, *compatible_tags(version, f"cp{version[0]}{version[1]}", platforms)]))


def platforms_of(filename: str) -> tuple[str, ...]:
    """Names of the platforms that a wheel is for, without the C library: `linux_x86_64`, `win_amd64`, `any`; sorted.

    Raises:
        InvalidWheelFilename: it is no wheel's name.
    """
    return tuple(sorted({_plain_platform(tag.platform) for tag in parse_wheel_filename(filename)[3]}))


def _plain_platform(tag: str) -> str:
    """`linux_x86_64` of `manylinux_2_28_x86_64` and of `manylinux2014_x86_64`; others as they are."""
    head, _, tail = tag.partition("linux")
    if head not in {"many", "musl", ""} or not tail:
        return tag
    rest = tail.lstrip("_0123456789")
    return f"{'musl' if head == 'musl' else ''}linux_{rest or tail.strip('_')}"


def _linux_platforms(processor: str, glibc: str | None) -> Iterator[str]:
    major, minor = map(int, glibc.split(".")) if glibc else _NEWEST_GLIBC
    newest = minor if major == _OLDEST_GLIBC[0] else _NEWEST_GLIBC[1]
    for number in range(newest, _OLDEST_GLIBC[1] - 1, -1):
        yield f"manylinux_2_{number}_{processor}"
        if legacy := _LEGACY.get((2, number)):
            yield f"{legacy}_{processor}"
    yield f"linux_{processor}"


def _parsed(candidate: Candidate) -> tuple[Version, Any, Sequence[Tag], Candidate] | None:
    try:
        _, version, build, tags = parse_wheel_filename(candidate.filename)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    return version, build, sorted(tags, key=str), candidate


def _runs_python(candidate: Candidate, python: str | None) -> bool:
    if python is None or not candidate.requires_python:
        return True
    version = python if python.count(".") > 1 else f"{python}.99"  # some later patch release of it
    try:
        return SpecifierSet(candidate.requires_python).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True  # pip takes such a file as well


def _answer(candidate: Candidate, target: WheelTarget) -> Answer | None:
    """The worst answer on the target's GPUs; None: no GPU was asked for."""
    if target.machine is None or candidate.summary is None:
        return None
    from wheelsmith.compat.model import worst

    fits = judge(candidate.summary(), target.machine, target.choices)
    return worst(fits.answer_on(name) for name, _ in target.machine.gpus)
