"""What a driver can run: the rules of NVIDIA's compatibility documents, on the tables beside this file.

In: a driver version as people write it, a CUDA release, a PTX version, a compute capability. Out: the limits that
decide. Fails with `TargetError` on text that is no driver version. Sources: NVIDIA "CUDA Compatibility" (minor version
compatibility), "CUDA Toolkit Release Notes" (driver table), "Parallel Thread Execution ISA" (release history).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from wheelsmith.errors import TargetError
from wheelsmith.gpu.facts import known_toolkits, toolkit_facts

if TYPE_CHECKING:
    from wheelsmith.gpu.arch import Arch

_DRIVER = re.compile(r"(\d{3})((?:\.\d+){0,2})(?:\.(?:x|X|\*))?")
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
        """Read `570.124.06`, `570` or `570.x`.

        Raises:
            TargetError: the text has another form.
        """
        match = _DRIVER.fullmatch(text.strip())
        if match is None:
            raise TargetError(
                f"{text!r} is not a driver version.", "Write it as nvidia-smi prints it, 570.124.06, or as 570.x."
            )
        rest = tuple(int(part) for part in match[2].split(".") if part)
        whole = rest and not text.strip().endswith(("x", "X", "*"))
        return cls(text.strip(), (int(match[1]), *(rest if whole else (*rest, _NEWEST))), cuda)

    @property
    def ptx(self) -> tuple[int, int]:
        """The newest PTX version that it certainly compiles; (0, 0) if it is older than every row of the table."""
        if self.cuda is not None:
            known = [isa for isa, cuda in ptx_releases().items() if cuda <= self.cuda]
        else:
            known = [_pair(toolkit_facts(v).ptx) for v in known_toolkits() if self.at_least(toolkit_facts(v).driver)]
        return max(known, default=(0, 0))

    @property
    def toolkit(self) -> str | None:
        """The newest CUDA release whose PTX it compiles: `12.8`; None if it is older than every row of the table."""
        if self.cuda is not None:
            return f"{self.cuda[0]}.{self.cuda[1]}"
        known = [version for version in known_toolkits() if self.at_least(toolkit_facts(version).driver)]
        return known[-1] if known else None

    def at_least(self, version: str) -> bool:
        """Whether it is `version` or newer."""
        return self.number >= tuple(map(int, version.split(".")))

    def __str__(self) -> str:
        return self.text


def ptx_driver(isa: str) -> tuple[str, str] | None:
    """The oldest driver in the table that compiles this PTX version, and its CUDA release; None: newer than all."""
    for version in known_toolkits():
        if _pair(toolkit_facts(version).ptx) >= _pair(isa):
            return toolkit_facts(version).driver, version
    return None


def ptx_cuda(isa: str) -> str | None:
    """The first CUDA release whose compiler writes this PTX version."""
    release = ptx_releases().get(_pair(isa))
    return None if release is None else f"{release[0]}.{release[1]}"


def gpu_driver(arch: Arch) -> str | None:
    """The oldest driver in the table that knows GPUs of this compute capability; None: all of them do."""
    versions = known_toolkits()
    if arch.base in toolkit_facts(versions[0]).archs:
        return None
    return next((toolkit_facts(v).driver for v in versions if arch.base in toolkit_facts(v).archs), None)


def ptx_releases() -> dict[tuple[int, int], tuple[int, int]]:
    """PTX versions and the CUDA release that each first came with."""
    return {_pair(isa): _pair(cuda) for isa, cuda in _table()["first_cuda"].items()}


def published_rules() -> tuple[dict[str, str], ...]:
    """The guide's own rules for when a published wheel is enough: `when`, `then`, `why`."""
    return tuple(_table()["rule"])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("drivers.toml").read_text("utf-8"))


def _pair(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)
