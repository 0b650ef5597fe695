"""Which torch versions a wheel serves, proved symbol by symbol against each.

In: the report of a wheel, the torch that it was built against, and the versions that it is to serve. Out: a
`TorchRange`: the versions that were proved, and a specifier that admits these and no others that torch has. A library
that uses more than torch's stable interface is tied to the torch that it was built against, whatever symbols it needs:
layouts and inlined code are no symbols. Nothing fails. Source of the promise behind it: torch/csrc/stable/README, "a
library built against 2.x loads with any later release".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheelsmith.compat.torch_abi import shipped_exports, shipped_versions
from wheelsmith.gpu.facts import torch_cuda

if TYPE_CHECKING:
    from wheelsmith.compat.torch_abi import TorchExports
    from wheelsmith.wheel.report import WheelReport

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class TorchRange:
    """The torch versions that a wheel serves.

    Attributes:
        requires: what the wheel's metadata say of torch (PEP 440).
        proved: versions whose libraries define every symbol that the wheel needs, the oldest first.
        why: one sentence: why it is these and no more.
    """

    requires: str
    proved: tuple[str, ...]
    why: str


def torch_range(
    report: WheelReport, built: str, wanted: str, known: Mapping[str, TorchExports] | None = None
) -> TorchRange:
    """The versions next to each other, around the one it was built against, that were proved.

    Args:
        report: of the wheel.
        built: the torch that it was built against, with its local part where it has one.
        wanted: the versions that it is to serve (PEP 440).
        known: what torch versions export; default: the tables that come with wheelsmith.
    """
    own = built.partition("+")[0]
    exactly = f"=={built}"
    tied = [library.path for library in report.libraries if library.torch_abi == "unstable"]
    if tied:
        why = f"{', '.join(tied[:_SHOWN])} uses more than torch's stable interface, so it is for torch {built} alone"
        return TorchRange(exactly, (own,), why)
    names = shipped_versions() if known is None else tuple(sorted(known, key=Version))
    admitted = SpecifierSet(wanted)
    cuda = _cuda(built)
    near = [name for name in names if name == own or (admitted.contains(name) and _cuda(name) == cuda)]
    if own not in near:
        return TorchRange(exactly, (own,), f"what torch {own} exports is not known here, so no other is compared")
    offered = {name for library in report.libraries for name in library.facts.offered}
    needed = {name for library in report.libraries for name in library.torch_symbols} - offered
    proved, stops = [own], []
    place = near.index(own)
    for way in (near[:place][::-1], near[place + 1 :]):
        before = own
        for name in way:
            if not _next_to(before, name):
                stops.append(f"no torch between {before} and {name} is known here")
                break
            exports = shipped_exports(name) if known is None else known[name]
            missing = sorted(exports.missing(needed)) if exports is not None else ["its table"]
            if missing:
                more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
                stops.append(f"torch {name} lacks {', '.join(missing[:_SHOWN])}{more}")
                break
            proved.append(name)
            before = name
    proved.sort(key=Version)
    said = f"all {len(needed)} symbols are of the stable interface, and found in torch {', '.join(proved)}"
    why = "; ".join((said, *stops))
    if proved == [own]:
        return TorchRange(exactly, (own,), why)
    return TorchRange(_specifier(proved), tuple(proved), why)


def _next_to(one: str, other: str) -> bool:
    """Whether no minor release of torch lies between the two."""
    first, second = Version(one), Version(other)
    return first.major == second.major and abs(first.minor - second.minor) <= 1


def _cuda(torch: str) -> str | None:
    """The CUDA major version that a torch brings: a wheel needs libcudart of that one."""
    cuda = torch_cuda(torch)
    return None if cuda is None else cuda.partition(".")[0]


def _specifier(proved: Sequence[str]) -> str:
    """From the oldest to the newest, without what lies between and was not proved: gaps among the patch releases of a
    minor one, and the next patch release of each, should torch publish one."""
    parts = [f">={proved[0]}", f"<={proved[-1]}"]
    for one, following in pairwise(map(Version, proved)):
        if (one.major, one.minor) == (following.major, following.minor):
            gaps = range(one.micro + 1, following.micro)
            parts += [f"!={one.major}.{one.minor}.{micro}" for micro in gaps]
        else:
            parts.append(f"!={one.major}.{one.minor}.{one.micro + 1}")
            parts += [f"!={following.major}.{following.minor}.{micro}" for micro in range(following.micro)]
    return ",".join(parts)
