"""The manylinux tag that libraries deserve by the symbol versions that they need.

In: library reports. Out: a tag such as `manylinux_2_31_x86_64`, or None. Nothing fails. The policies are auditwheel's
own tables (PEP 600); its full analysis, which also asks where every needed library is to come from, needs the wheel
unpacked and is done when a wheel is repaired (`wheelsmith.wheel.repair`).
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from wheelsmith.binary.elf import highest_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wheelsmith.wheel.report import LibraryReport

_MACHINES = {3: "i686", 62: "x86_64", 183: "aarch64"}


def manylinux(libraries: Sequence[LibraryReport]) -> str | None:
    """The oldest platform whose symbol versions cover those of all shared libraries.

    None: there are none, they are for several or unknown machines, or no policy covers them.
    """
    return _oldest(libraries, partial(_begins, ("",)))


def beyond_glibc(libraries: Sequence[LibraryReport]) -> tuple[str, ...]:
    """The symbol versions that make the platform newer than GLIBC alone would, such as GLIBCXX_3.4.30; the newest of
    each kind."""
    platform, plain = manylinux(libraries), _oldest(libraries, partial(_begins, ("GLIBC_",)))
    if platform == plain:
        return ()
    needed = {version for library in libraries for version in library.facts.versions}
    found = []
    for name in ("GLIBCXX", "CXXABI", "GCC"):
        if (highest := highest_version(needed, name)) is None:
            continue
        counted = ("GLIBC_", f"{name}_")
        if _oldest(libraries, partial(_begins, counted)) != plain:
            found.append(f"{name}_{highest}")
    return tuple(found)


def _begins(with_any: tuple[str, ...], version: str) -> bool:
    return version.startswith(with_any)


def _oldest(libraries: Sequence[LibraryReport], counts: Callable[[str], bool]) -> str | None:
    """The oldest platform that has all the versions that count."""
    linked = [library.facts for library in libraries if library.facts.kind in {"shared", "executable"}]
    shared = [facts for facts in linked if facts.format == "elf"]
    machines = {facts.machine for facts in shared}
    if len(machines) != 1 or not (machine := _MACHINES.get(machines.pop())):
        return None
    needed = {version for facts in shared for version in facts.versions if counts(version)}
    return next((name for name, offered in _platforms(machine) if needed <= offered), None)


@cache
def _platforms(machine: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """Every manylinux platform, the oldest first, with the symbol versions that it offers."""
    from auditwheel.architecture import Architecture
    from auditwheel.libc import Libc
    from auditwheel.policy import WheelPolicies

    policies = WheelPolicies(libc=Libc.GLIBC, arch=Architecture(machine))
    return tuple(
        (
            str(policy.name),
            frozenset(f"{name}_{version}" for name, own in policy.symbol_versions.items() for version in own),
        )
        for policy in sorted(policies, key=lambda policy: policy.priority, reverse=True)
        if policy.name.startswith("manylinux")
    )
