"""What a person types to name a package and a version: as pip takes it, as far as a build can.

In: text such as `vllm`, `vllm>=0.15`, `vLLM[audio]==0.15.1+cu128`. Out: a `Wanted`. Fails with `UsageError`, which says
what to type instead: for paths, URLs and file names, for `name=1.0`, `name@1.0` and the like. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import UsageError
from wheelsmith.pep508 import requirement

_EXAMPLE = "Write it as in vllm==0.15.1."
_VERSION_AFTER = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)(?P<extras>\[[^\]]*\])?\s*(?:[-_=@:]|\s)=?\s*v?(?P<version>\d[\w.+!]*)"
)
_SDIST, _WHEEL = (".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz"), ".whl"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A requirement, read.

    Attributes:
        name: normalized (PEP 503).
        specifier: versions that are wanted, without local parts.
        local: the local version that is wanted, `cu128` of `==0.15.1+cu128`; empty: any.
        extras: names; they choose what is installed beside the wheel, not what is compiled.
        marker: the environments that it is for; None: all.
    """

    name: str
    specifier: SpecifierSet
    local: str = ""
    extras: tuple[str, ...] = ()
    marker: Marker | None = None


def read_requirement(text: str) -> Wanted:
    """Read what was typed.

    Raises:
        UsageError: it is no requirement (PEP 508), or names a place instead of a package.
    """
    typed = text.strip()
    if place := _as_place(typed):
        raise place
    try:
        parsed = requirement(typed)
    except InvalidRequirement as error:
        meant = with_version(typed)
        raise UsageError(
            f"{text!r} is not a requirement (PEP 508).", f"Did you mean {meant}?" if meant else _EXAMPLE
        ) from error
    if parsed.url:
        raise UsageError(
            f"{text!r} names a URL; a build takes its sources from a recipe, which pins them.",
            f"Draft one from there: `wheelsmith recipes new '{parsed.url}'`.",
        )
    clauses = []
    local = ""
    for clause in parsed.specifier:
        plain, plus, tail = clause.version.partition("+")
        local = str(Version(f"0+{tail}").local) if plus else local
        clauses.append(f"{clause.operator}{plain}")
    return Wanted(
        canonicalize_name(parsed.name), SpecifierSet(",".join(clauses)), local, tuple(parsed.extras), parsed.marker
    )


def with_version(text: str) -> str | None:
    """`vllm==0.15.1` of `vllm=0.15.1`, `vllm-0.15.1`, `vllm 0.15.1` and the like; None: it is nothing of the kind."""
    match = _VERSION_AFTER.fullmatch(text)
    if match is None:
        return None
    try:
        version = Version(match["version"])
    except InvalidVersion:
        return None
    return f"{canonicalize_name(match['name'])}{match['extras'] or ''}=={version}"


def _as_place(text: str) -> UsageError | None:
    """What to say of a path, a URL or a file name."""
    if text.endswith(_WHEEL) and " @" not in text:
        return UsageError(
            f"{text!r} is a wheel: there is nothing to build.",
            f"Look at it with `wheelsmith inspect '{text}'`, or put it into an index: `wheelsmith publish '{text}'`.",
        )
    is_url = "://" in text.partition(";")[0] and not re.match(r"[\w.\[\],-]+\s*@", text)
    if is_url or text.startswith((".", "/", "~")) or text.endswith(_SDIST) or text.count("/") > 0 > text.find("@"):
        return UsageError(
            f"{text!r} is a place, not the name of a package; a build takes sources from a recipe, which pins them.",
            f"Draft one from there: `wheelsmith recipes new '{text}'`.",
        )
    return None
