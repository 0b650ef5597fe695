"""The versions that a person types for Python, CUDA and torch, in one spelling; and what a local version asks for.

In: text such as `py312`, `cu128`, `torch2.11`, `cu128.sm86.sm120`. Out: `3.12`, `12.8`, `2.11.0`, an `Asked`. Pure.
Fails with `TargetError`, which says what to type.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from wheelsmith.errors import TargetError
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.gpu.facts import known_toolkits
from wheelsmith.planning.model import NIGHTLY

_PYTHON = re.compile(
    r"(?:cpython|python|py|cp)?[- ]?3(?:\.(?P<minor>\d{1,2})|(?P<joined>\d{1,2}))(?P<rest>\.\d+)?(?P<t>t?)"
)
_CUDA = re.compile(r"(?:cuda|cu)?[- ]?(?:(?P<plain>\d+\.\d+)|(?P<joined>\d{3}))(?P<rest>\.\d+)*", re.IGNORECASE)
_ARCH_PART = re.compile(r"sm(\d{2,3}[af]?)(ptx)?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a local version says of a target; None: nothing."""

    cuda: str | None = None
    torch: str | None = None
    archs: ArchSet | None = None


def python_version(text: str) -> str:
    """`3.12` of `3.12`, `py312`, `cp312`, `python3.12`.

    Raises:
        TargetError: it is something else, a patch release, or a free-threaded Python.
    """
    match = _PYTHON.fullmatch(text.strip().casefold())
    if match is None:
        raise TargetError(f"{text!r} is not a version of Python 3.", "Write it as major.minor: --python 3.12")
    version = f"3.{int(match['minor'] or match['joined'])}"
    if match["t"]:
        raise TargetError(
            f"{text!r} is the free-threaded Python {version}, for which wheelsmith builds nothing yet.",
            f"Build for the ordinary one: --python {version}",
        )
    if match["rest"]:
        raise TargetError(
            f"{text!r} is a patch release; a wheel serves every one of Python {version}.", f"Use --python {version}"
        )
    return version


def cuda_version(text: str) -> str:
    """`12.8` of `12.8`, `cu128`, `cuda12.8`, `128`.

    Raises:
        TargetError: it is something else, or names no minor or a patch release.
    """
    match = _CUDA.fullmatch(text.strip())
    known = known_toolkits()
    if match is None:
        major = text.strip().casefold().removeprefix("cuda").removeprefix("cu").strip(" -")
        fitting = [version for version in known if version.partition(".")[0] == major]
        if fitting:
            raise TargetError(
                f"CUDA {text} has several releases, and a build takes one.", f"Say which: --cuda {fitting[-1]}"
            )
        raise TargetError(f"{text!r} is not a release of CUDA.", f"Write it as major.minor: --cuda {known[-1]}")
    version = match["plain"] or f"{match['joined'][:2]}.{match['joined'][2]}"
    if match["rest"]:
        raise TargetError(
            f"CUDA {text} is a patch release; a build takes whichever of {version} the toolkit is.",
            f"Use --cuda {version}",
        )
    return version


def torch_version(text: str) -> str:
    """`2.11.0` of `2.11`, `torch2.11`; `nightly` as it is.

    Raises:
        TargetError: it is no version (PEP 440).
    """
    plain = text.strip().casefold().removeprefix("torch").lstrip("=- ")
    if plain == NIGHTLY:
        return NIGHTLY
    try:
        version = Version(plain)
    except InvalidVersion as error:
        raise TargetError(f"{text!r} is not a version of torch.", f"Write it as in 2.9.1, or {NIGHTLY}.") from error
    if len(version.release) >= 3:
        return str(version)
    short = ".".join(map(str, version.release))
    whole = ".".join(map(str, (*version.release, 0, 0)[:3]))
    return str(version).replace(short, whole, 1)


def asked_by(local: str) -> Asked:
    """What `cu128.torch2.9.sm86.sm120` asks for."""
    cuda = torch = None
    native: list[Arch] = []
    ptx: list[Arch] = []
    for part in re.split(r"\.(?=[a-z])", local):
        if match := re.fullmatch(r"cu(\d{2})(\d)", part):
            cuda = f"{match[1]}.{match[2]}"
        elif match := re.fullmatch(r"torch(\d[\d.]*)", part):
            torch = match[1]
        elif match := _ARCH_PART.fullmatch(part):
            native.append(Arch.parse(match[1]))
            ptx += [native[-1]] if match[2] else []
    archs = ArchSet(tuple(sorted(set(native))), tuple(sorted(set(ptx)))) if native else None
    return Asked(cuda, None if torch is None else torch_version(torch), archs)


def archs_part(archs: ArchSet) -> str:
    """The archs as a local version has them: `sm86.sm120ptx`."""
    return ".".join(f"{arch.sm.replace('_', '')}{'ptx' if arch in archs.ptx else ''}" for arch in archs.native)
