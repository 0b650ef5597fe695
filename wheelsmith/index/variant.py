"""Which variant a wheel is: the part of a name that pip cannot choose by, such as `cu128-torch2.9`.

In: a version and its requirements, or a variant's name. Out: the name, and which files a variant's path shows.
Fails with `UsageError` on a name that cannot be a path. Local versions sort as text (`+cu90` over `+cu130`), so a
client that sees several variants at once takes a wrong one; a path that shows only what fits cannot be misread.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import UsageError
from wheelsmith.index.keys import RESERVED
from wheelsmith.index.wheelvariant import PLACE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.requirements import Requirement

_NAME = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_BACKEND = re.compile(r"(?<![a-z])(?:cu\d{2,3}|rocm\d+(?:\.\d+)*|xpu|cpu)(?![a-z\d])|(?<![a-z])cu\d{2,3}(?=torch|pt)")
_ARCHS = re.compile(r"(?<![a-z\d])sm\d{2,3}[af]?(?:ptx)?(?:\.sm\d{2,3}[af]?(?:ptx)?)*(?![a-z\d])")
_TORCH = re.compile(r"(?:torch|pt)(\d)\.?(\d{1,2})")


def derive(version: Version, requirements: Iterable[Requirement]) -> str | None:
    """Return the variant that a wheel's local version and its exact torch requirement tell, or None.

    >>> derive(Version("0.15.1+cu128"), [Requirement("torch==2.9.1")])
    'cu128-torch2.9'
    >>> derive(Version("6.0.1+cu130.sm86.sm89"), [])
    'cu130-sm86.sm89'

    Args:
        version: read for `cu128`, `rocm6.4`, `cpu`, `xpu`, and for `torch2.9`, `pt29`.
        requirements: read for `torch==2.9.*`, `torch==2.9.1` and `torch~=2.9.0`, which pin torch's ABI.
    """
    local = version.local or ""
    backend = _BACKEND.search(local)
    stated = _TORCH.search(local)
    torch = f"{stated[1]}.{stated[2]}" if stated else _pinned_torch(requirements)
    parts = [backend[0]] if backend else []
    parts += [f"torch{torch}"] if torch else []
    archs = _ARCHS.search(local)
    parts += [archs[0]] if archs and parts else []  # a wheel for other GPUs than usual is shown to those who ask for it
    return "-".join(parts) or None


def check_name(name: str) -> str:
    """Return `name` if it can be a path of the index.

    Raises:
        UsageError: it cannot.
    """
    if not _NAME.fullmatch(name) or name in {*RESERVED, PLACE}:
        raise UsageError(
            f"{name!r} is no name for a variant.",
            "Use lower-case letters, digits, '.' and '-', as in cu128-torch2.9, and none of the index's own folders.",
        )
    return name


def fits(variant: str | None, place: str) -> bool:
    """Whether the path of variant `place` shows a file of `variant`: every part that the file states is the path's.

    So `/cu128-torch2.9/` shows files of `cu128-torch2.9`, of `cu128` (no torch in it) and those without a variant.
    The merged path, `""`, shows everything; so does `/variants/`, and only that shows variant wheels (`PLACE`).
    """
    if PLACE in (variant, place):
        return place == PLACE
    return not place or variant is None or set(variant.split("-")) <= set(place.split("-"))


def _pinned_torch(requirements: Iterable[Requirement]) -> str | None:
    for requirement in requirements:
        if canonicalize_name(requirement.name) != "torch" or "extra" in str(requirement.marker or ""):
            continue
        for clause in requirement.specifier:
            try:
                release = Version(clause.version.removesuffix(".*")).release
            except InvalidVersion:
                continue
            pins = clause.operator in {"==", "==="} or (clause.operator == "~=" and len(release) > 2)
            if pins and len(release) > 1:
                return f"{release[0]}.{release[1]}"
    return None
