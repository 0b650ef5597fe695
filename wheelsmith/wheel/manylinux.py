"""The manylinux tag that libraries deserve by the symbol versions that they need.

In: library reports. Out: a tag such as `manylinux_2_31_x86_64`, or None. Nothing fails. The policies are auditwheel's
own tables (PEP 600); its full analysis, which also asks where every needed library is to come from, needs the wheel
unpacked and is done when a wheel is repaired (`wheelsmith.wheel.repair`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wheelsmith.wheel.report import LibraryReport

_MACHINES = {3: "i686", 62: "x86_64", 183: "aarch64"}


def manylinux(libraries: Sequence[LibraryReport]) -> str | None:
    """The oldest platform whose symbol versions cover those of all shared libraries.

    None: there are none, they are for several or unknown machines, or no policy covers them.
    """
    linked = [library.facts for library in libraries if library.facts.kind in {"shared", "executable"}]
    shared = [facts for facts in linked if facts.format == "elf"]
    machines = {facts.machine for facts in shared}
    if len(machines) != 1 or not (machine := _MACHINES.get(machines.pop())):
        return None
    from auditwheel.architecture import Architecture
    from auditwheel.libc import Libc
    from auditwheel.policy import WheelPolicies

    needed = {version for facts in shared for version in facts.versions}
    policies = WheelPolicies(libc=Libc.GLIBC, arch=Architecture(machine))
    for policy in sorted(policies, key=lambda policy: policy.priority, reverse=True):
        offered = {f"{name}_{version}" for name, versions in policy.symbol_versions.items() for version in versions}
        if policy.name.startswith("manylinux") and needed <= offered:
            return str(policy.name)
    return None
