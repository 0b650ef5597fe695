"""What a driver can run: the rules of NVIDIA's compatibility documents, on the tables beside this file.

In: a driver version as people write it, a CUDA release, a PTX version, a compute capability. Out: the limits that
decide; None where the tables do not reach. Fails with `TargetError` on text that is no driver version. Sources: NVIDIA
"CUDA Compatibility" (minor version compatibility), "CUDA Toolkit Release Notes" (driver table), "Parallel Thread
Execution ISA" (release history).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from wheelsmith.errors import TargetError
from wheelsmith.gpu.facts import arch_facts, known_toolkits, toolkit_facts
from wheelsmith.gpu.tables import facts_key, table

if TYPE_CHECKING:
    from wheelsmith.gpu.arch import Arch

_DRIVER = re.compile(r"[Rr]?(\d{3,4})((?:\.\d{1,4}){0,2})(?:\.(?:x|X|\*))?", re.ASCII)
_NEWEST = 10**6


@dataclass(frozen=True, slots=True)
class Driver:
    """A Linux driver.

    Attributes:
        text: as it was given.
        number: its parts, comparable; a branch alone (`570`, `570.x`) counts as the newest of that branch.
        cuda: the CUDA release that it says it supports (as NVML reports it); None: from the table.
    """

    text: str
    number: tuple[int, ...]
    cuda: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str, cuda: tuple[int, int] | None = None) -> Driver:
        """Read `570.124.06`, `570`, `570.x` or `R570`. For `native` too: `wheelsmith.gpu.select.parse_driver`.

        Raises:
            TargetError: the text has another form.
        """
        match = _DRIVER.fullmatch(text.strip())
        if match is None:
            raise TargetError(
                f"{text!r} is not a driver version.",
                "Write it as nvidia-smi prints it, 570.124.06, or as 570.x, or native for this machine's.",
            )
        rest = tuple(int(part) for part in match[2].split(".") if part)
        whole = rest and not text.strip().endswith(("x", "X", "*"))
        return cls(text.strip(), (int(match[1]), *(rest if whole else (*rest, _NEWEST))), cuda)

    @property
    def branch(self) -> int:
        """The number before the first point."""
        return self.number[0]

    @property
    def ptx(self) -> tuple[int, int]:
        """The newest PTX version that it certainly compiles; (0, 0) if it is older than every row of the table."""
        if self.cuda is not None:
            known = [isa for isa, cuda in ptx_releases().items() if cuda <= self.cuda]
        else:
            known = [row.ptx for row in _rows(facts_key()) if self.number >= row.driver]
        return max(known, default=(0, 0))

    @property
    def toolkit(self) -> str | None:
        """The newest CUDA release whose PTX it certainly compiles: `12.8`; None: older than every row of the table."""
        if self.cuda is not None:
            return f"{self.cuda[0]}.{self.cuda[1]}"
        known = [row.toolkit for row in _rows(facts_key()) if self.number >= row.driver]
        return known[-1] if known else None

    @property
    def is_beyond(self) -> bool:
        """Whether it is newer than the newest that the table knows: it may compile more than `ptx` says."""
        if self.cuda is not None:
            return self.cuda > max(ptx_releases().values())
        return self.branch > _rows(facts_key())[-1].driver[0]

    def compiles(self, isa: str | tuple[int, int]) -> bool | None:
        """Whether it compiles PTX of this version (`8.7`); None: not known, it is newer than the table."""
        wanted = _pair(isa) if isinstance(isa, str) else isa
        if wanted <= self.ptx:
            return True
        return None if self.is_beyond else False

    def at_least(self, version: str) -> bool:
        """Whether it is `version` or newer."""
        return self.number >= tuple(map(int, version.split(".")))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class DriverRange:
    """The drivers that know GPUs of a compute capability.

    Attributes:
        first: the oldest; None: all of the table's, or it is not known.
        last: the last branch; None: the newest still does.
    """

    first: str | None = None
    last: int | None = None

    def admits(self, driver: Driver) -> bool:
        """Whether a driver is neither too old nor too new."""
        return (self.first is None or driver.at_least(self.first)) and (self.last is None or driver.branch <= self.last)

    def __str__(self) -> str:
        if self.first and self.last:
            return f"{self.first} to {self.last}.x"
        return f"{self.first} or newer" if self.first else f"{self.last}.x or older" if self.last else "any"


@dataclass(frozen=True, slots=True)
class _Row:
    """A toolkit whose driver is known."""

    toolkit: str
    driver: tuple[int, ...]
    ptx: tuple[int, int]


@cache
def _rows(_key: tuple[str | None, ...]) -> tuple[_Row, ...]:
    facts = [toolkit_facts(version) for version in known_toolkits()]
    return tuple(
        _Row(row.version, tuple(map(int, row.driver.split("."))), _pair(row.ptx)) for row in facts if row.driver
    )


def ptx_driver(isa: str) -> tuple[str, str] | None:
    """The oldest driver in the table that compiles this PTX version, and its CUDA release; None: newer than all."""
    for version in known_toolkits():
        facts = toolkit_facts(version)
        if facts.driver and _pair(facts.ptx) >= _pair(isa):
            return facts.driver, version
    return None


def ptx_cuda(isa: str) -> str | None:
    """The first CUDA release whose compiler writes this PTX version; None: not known."""
    release = ptx_releases().get(_pair(isa))
    return None if release is None else f"{release[0]}.{release[1]}"


def gpu_driver(arch: Arch) -> DriverRange:
    """The drivers that know GPUs of this compute capability: the first is that of the first CUDA release for it."""
    facts, oldest = arch_facts(arch), known_toolkits()[0]
    if facts.first_cuda is None or _pair(facts.first_cuda) <= _pair(oldest):
        return DriverRange(None, facts.last_driver)
    later = (toolkit_facts(v).driver for v in known_toolkits() if _pair(v) >= _pair(facts.first_cuda))
    return DriverRange(next((driver for driver in later if driver), None), facts.last_driver)


def ptx_releases() -> dict[tuple[int, int], tuple[int, int]]:
    """PTX versions and the CUDA release that each first came with."""
    return _releases(facts_key())


@cache
def _releases(_key: tuple[str | None, ...]) -> dict[tuple[int, int], tuple[int, int]]:
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for version in reversed(known_toolkits()):  # a user's toolkit needs no second line in drivers.toml
        found[_pair(toolkit_facts(version).ptx)] = _pair(version)
    return found | {_pair(isa): _pair(cuda) for isa, cuda in table("drivers")["first_cuda"].items()}


def _pair(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)
