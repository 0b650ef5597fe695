"""The rules that decide whether one library runs on one GPU.

In: a library's summary, a GPU, a driver, a torch, a C library. Out: `Finding`s: an answer, the rule, what it says here
and what to do. Pure; nothing fails. Rules: NVIDIA "CUDA Compatibility" (a newer minor release's machine code runs on an
older driver of the same major release, its PTX does not), the dynamic loader's (symbol versions, undefined symbols),
and the choice of code that the CUDA runtime makes in each translation unit (`wheelsmith.compat.units`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from wheelsmith.compat.model import Finding, Reason
from wheelsmith.compat.units import Served, Service, kernel_names, listed, units_of
from wheelsmith.gpu.drivers import gpu_driver, ptx_cuda, ptx_driver
from wheelsmith.gpu.facts import gpus_of, known_archs, known_toolkits, minimum_driver, toolkit_facts, torch_cuda

if TYPE_CHECKING:
    from wheelsmith.compat.model import Answer, Machine
    from wheelsmith.compat.summary import Code, Library
    from wheelsmith.compat.torch_abi import TorchExports
    from wheelsmith.gpu.arch import Arch
    from wheelsmith.gpu.drivers import Driver

_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_")
_SHOWN = 3


def tag_rule(filename: str, glibc: str | None) -> Finding | None:
    """Whether pip takes a wheel where the C library is of that version (PEP 600: the platform tag names the oldest).

    The tag may ask for more than any library's GLIBC: auditwheel chooses it by libstdc++'s versions (GLIBCXX), too.
    """
    platform = filename.removesuffix(".whl").rpartition("-")[2] if filename.endswith(".whl") else ""
    asked = [f"{found[1]}.{found[2]}" for tag in platform.split(".") if (found := _MANYLINUX.match(tag))]
    if glibc is None or not asked or min(map(_numbers, asked)) <= _numbers(glibc):
        return None
    oldest = min(asked, key=_numbers)
    says = f"its tag, {platform}, is for glibc {oldest} and newer: pip does not install it where that is {glibc}"
    return Finding("no", Reason("tag", says, "Use a newer distribution there, or build on an older one."))


def processor_rule(filename: str, gpu: str, arch: Arch) -> Finding | None:
    """Whether a machine with that GPU can have the processor of a wheel's platform tag (Grace and Jetson: Arm only)."""
    platforms = filename.removesuffix(".whl").rpartition("-")[2].split(".") if filename.endswith(".whl") else []
    alike = gpus_of(arch.base)
    machines = {one.machine for one in alike if one.name == gpu} or {one.machine for one in alike}
    if not platforms or len(machines) != 1 or (machine := machines.pop()) is None:
        return None
    if any(platform == "any" or platform.endswith(f"_{machine}") for platform in platforms):
        return None
    says = f"its tag, {'.'.join(platforms)}, is for another processor: {gpu} sits in machines with {machine} only"
    return Finding("no", Reason("tag", says, f"Take the wheel for {machine}, or build it there."))


def load_rules(library: Library, machine: Machine, offered: frozenset[str]) -> Iterator[Finding]:
    """Whether the dynamic loader accepts the library at all."""
    if machine.glibc and library.glibc and _numbers(library.glibc) > _numbers(machine.glibc):
        says = f"needs GLIBC_{library.glibc}, and the machine has {machine.glibc}"
        yield Finding("no", Reason("glibc", says, "Use a newer distribution there, or build on an older one."))
    yield from _cxx_rules(library, machine)
    if machine.torch is not None:
        yield from _torch_rules(library, machine.torch, offered)


def _cxx_rules(library: Library, machine: Machine) -> Iterator[Finding]:
    """Whether the C++ library there defines what this one was linked against."""
    if machine.cxx is None:
        return
    pairs = (("GLIBCXX", library.glibcxx, machine.cxx.glibcxx), ("CXXABI", library.cxxabi, machine.cxx.cxxabi))
    for name, needed, defined in pairs:
        if needed and defined and _numbers(needed) > _numbers(defined):
            says = f"needs {name}_{needed}, and libstdc++.so.6 there defines up to {name}_{defined}"
            remedy = "Use a newer distribution there, or build with an older g++ (--host-compiler)."
            yield Finding("no", Reason("glibcxx", says, remedy))


def _torch_rules(library: Library, torch: TorchExports, offered: frozenset[str]) -> Iterator[Finding]:
    if library.torch_symbols is None:
        says = f"which of torch's symbols it needs was not kept, so torch {torch.version} is not judged"
        yield Finding("unknown", Reason("torch", says, "Judge the wheel itself: `wheelsmith fits WHEEL`."))
        return
    missing = [name for name in torch.missing(library.torch_symbols) if name not in offered]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        yield Finding(
            "no",
            Reason(
                "torch",
                f"undefined symbol: torch {torch.version} does not define {', '.join(missing[:_SHOWN])}{more}",
                "Install the torch that the wheel was built against, or build it against this one.",
            ),
        )
    cuda = torch_cuda(torch.version)
    if library.cudart and cuda and cuda.partition(".")[0] != str(library.cudart):
        says = f"needs libcudart.so.{library.cudart}, and torch {torch.version} comes with CUDA {cuda}"
        remedy = f"Install a torch for CUDA {library.cudart}, or build with CUDA {cuda}."
        yield Finding("no", Reason("cudart", says, remedy))


def driver_rules(name: str, arch: Arch, driver: Driver | None, cuda: int | None) -> Iterator[Finding]:
    """Whether the driver knows the GPU, and loads code of this major CUDA release (None: nothing tells it)."""
    if driver is None:
        return
    if not (known := gpu_driver(arch)).admits(driver):
        says = f"driver {driver} does not know {name} ({arch})"
        floor = dict(_floors()).get(cuda or 0)
        if floor and known.first and not driver.at_least(known.first):  # one that knows it must load the code, too
            known = replace(known, first=max(known.first, floor, key=_numbers))
        yield Finding("no", Reason("driver", says, f"Install {known}."))
    elif cuda is None:
        newest, floor = _floors()[-1]
        if not driver.at_least(floor):
            says = (
                f"nothing tells which CUDA release it was built with: code of CUDA {newest} needs driver {floor} or"
                f" newer, and this is {driver}"
            )
            yield Finding("unknown", Reason("driver", says, f"Install driver {floor} or newer to be sure."))
    elif (needed := dict(_floors()).get(cuda)) is None:
        says = f"CUDA {cuda}.x is newer than every release that is known here"
        yield Finding("unknown", Reason("driver", says, "Update wheelsmith, or its fact tables."))
    elif not driver.at_least(needed):
        says = f"CUDA {cuda}.x needs driver {needed} or newer, and this is {driver}"
        yield Finding(
            "no", Reason("driver", says, f"Install driver {needed} or newer, or a wheel for CUDA {cuda - 1}.")
        )


def newer_code_rule(service: Service, arch: Arch, driver: Driver | None, least: int | None) -> Iterator[Finding]:
    """Whether the driver loads units that a newer major CUDA release compiled than `least`, which the rest is of."""
    if driver is None or least is None:
        return
    newer: dict[int, int] = {}
    for item in service.native:
        for major in {code.major for code in item.loaded(arch) if code.major and code.major > least}:
            newer[major] = newer.get(major, 0) + item.count
    for major, count in sorted(newer.items()):
        needed = dict(_floors()).get(major)
        if needed is None or driver.at_least(needed):
            continue
        says = (
            f"CUDA {major}.x compiled code for {arch} in {count} of {service.total} units: it needs driver {needed}"
            f" or newer, and this is {driver}"
        )
        whole = count == units_of((*service.native, *service.jit)) and not _older(service, arch, major)
        yield Finding("no" if whole else "partly", Reason("driver", says, f"Install driver {needed} or newer."))


def _older(service: Service, arch: Arch, major: int) -> bool:
    """Whether any code that is loaded is of an older major release, or does not say of which it is."""
    return any((code.major or 0) < major for item in service.native for code in item.loaded(arch))


def known_drivers() -> tuple[str, ...]:
    """Every driver with which something begins to run, oldest first."""
    texts = {driver for version in known_toolkits() if (driver := toolkit_facts(version).driver)}
    return tuple(sorted(texts | {floor for _, floor in _floors()}, key=_numbers))


def _floors() -> tuple[tuple[int, str], ...]:
    """Major CUDA releases and the oldest driver that loads their machine code."""
    majors = sorted({int(version.partition(".")[0]) for version in known_toolkits()})
    return tuple((major, floor) for major in majors if (floor := minimum_driver(f"{major}.0")) is not None)


def code_rules(service: Service, name: str, arch: Arch, driver: Driver | None) -> Iterator[Finding]:
    """What the CUDA runtime finds in the library for this GPU."""
    if arch.base not in known_archs():
        says = f"no table knows the compute capability {arch}, nor which driver does"
        yield Finding("unknown", Reason("arch", says, "Update wheelsmith, or its fact tables, or correct it."))
    refused = tuple(item for item in service.jit if unusable(item, driver) == "no")
    unknown = tuple(item for item in service.jit if unusable(item, driver) == "unknown")
    compiled = tuple(item for item in service.jit if unusable(item, driver) is None)
    runs = units_of(service.native) + units_of(compiled)
    if refused:
        answer: Answer = "partly" if runs or unknown else "no"
        yield Finding(answer, _refusal(service, refused, name, arch, driver))
    if unknown:
        yield Finding("unknown", _beyond(service, unknown, arch, driver))
    if service.unread:
        yield Finding("unknown", _unread(service, arch))
    if not service.native and not service.jit and not service.unread:
        yield _nothing(service, name, arch)
        return
    if compiled:
        yield Finding("jit", _compiled_first(service, compiled, arch, driver))
    elif service.native and not refused and not unknown and not service.unread:
        yield Finding("yes", Reason("arch", f"machine code for {arch}"))
    yield from _lost(service, arch)
    if service.absent:
        yield Finding(None, _leftovers(service, arch))


def unusable(served: Served, driver: Driver | None) -> Literal["no", "unknown"] | None:
    """Whether the driver refuses all the PTX there is (`no`), or is not known to take it; None: it compiles it."""
    if driver is None or not served.ptx:
        return None
    compiles = driver.compiles(_oldest_isa(served))
    return None if compiles else "unknown" if compiles is None else "no"


def _nothing(service: Service, name: str, arch: Arch) -> Finding:
    says = f"holds no code for {arch}, only {_listed(service.absent)}"
    if all(code.arch.suffix for item in service.absent for code in item.units.code):
        return Finding("other", Reason("arch", f"{says}: written for those GPUs, not used on {name}"))
    taken = [item.taken for item in service.absent if item.taken is not None]
    if hollow := [code for code in taken if code.hollow]:
        says = f"its kernels have no body for {arch}, or one that only traps{_named(hollow)}"
    elif wrong := [code for code in taken if code.label is not None]:
        says = f"holds code for {wrong[0].arch} that its fatbin calls {wrong[0].label}, and none for {arch}"
    remedy = f"Build it for {name}: --arch {arch}."
    return Finding("no", Reason("arch", f"{says}: no kernel image is available for execution on the device", remedy))


def _unread(service: Service, arch: Arch) -> Reason:
    count = units_of(service.unread)
    says = f"in {count} of {service.total} units the code for {arch} cannot be read, so it is not judged"
    return Reason(
        "format", says, "Update wheelsmith, or get the file again: the code is damaged or of an unknown form."
    )


def _lost(service: Service, arch: Arch) -> Iterator[Finding]:
    """Kernels that the code for this GPU lacks and its neighbours in the same unit have."""
    served = [item for item in (*service.native, *service.jit) if item.lost]
    units = [code for item in served if not item.units.loose for code in item.lost]
    loose = [code for item in served if item.units.loose for code in item.lost]
    if missing := [code for code in units if code.missing]:
        says = f"the code for {arch} lacks kernels that the program registers and has for other GPUs"
        yield Finding("partly", Reason("kernels", f"{says}{_named(missing)}", f"Build it for {arch} whole."))
    if stubs := [code for code in units if code.stubs and not code.missing]:
        says = f"some kernels are not there for {arch}, or have no body, or one that only traps{_named(stubs)}"
        yield Finding(None, Reason("kernels", f"{says}: the package must not call them here"))
    if loose:
        says = f"some of the plain cubins hold kernels that no other holds for {arch}{_named(loose)}"
        yield Finding(None, Reason("kernels", f"{says}: the package must not load them here"))


def _named(code: Iterable[Code]) -> str:
    names = listed(_names(code))
    return f" ({names})" if names else ""


def _names(code: Iterable[Code]) -> Iterator[str]:
    return (name for item in code for name in item.lost)


def _refusal(service: Service, refused: tuple[Served, ...], name: str, arch: Arch, driver: Driver | None) -> Reason:
    assert driver is not None, "without a driver nothing is refused"  # noqa: S101
    isa = min(map(_oldest_isa, refused))
    version = f"{isa[0]}.{isa[1]}"
    needed, knows = ptx_driver(version), driver.ptx
    says = (
        f"the provided PTX was compiled with an unsupported toolchain: {_share(service, refused, arch)}; it is of"
        f" version {version} (CUDA {ptx_cuda(version) or 'unknown'}), and driver {driver} compiles PTX up to"
        f" {knows[0]}.{knows[1]}{f' (CUDA {driver.toolkit})' if driver.toolkit else ''}"
    )
    install = f"Install driver {needed[0]} (CUDA {needed[1]}) or newer, or b" if needed else "B"
    return Reason("ptx", says, f"{install}uild with machine code for {name}: --arch {arch}.")


def _beyond(service: Service, unknown: tuple[Served, ...], arch: Arch, driver: Driver | None) -> Reason:
    isa = min(map(_oldest_isa, unknown))
    says = (
        f"{_share(service, unknown, arch)}, of version {isa[0]}.{isa[1]}, and which PTX driver {driver} compiles is not"
        " known here: it is newer than the tables"
    )
    return Reason("ptx", says, "Update wheelsmith, or its fact tables.")


def _compiled_first(service: Service, compiled: tuple[Served, ...], arch: Arch, driver: Driver | None) -> Reason:
    isa = max(map(_oldest_isa, compiled))
    version = f"{isa[0]}.{isa[1]}"
    needed = ptx_driver(version)
    says = _share(service, compiled, arch, always=True)
    if driver is None:
        wanted = f"driver {needed[0]} (CUDA {needed[1]}) or newer" if needed else "a newer driver than any known"
        return Reason("ptx", f"{says}, of version {version}: it needs {wanted}", "Give --driver to be sure.")
    return Reason("ptx", f"{says}: the driver compiles them at first use, which takes time and is then cached")


def _share(service: Service, some: tuple[Served, ...], arch: Arch, *, always: bool = False) -> str:
    count, named = units_of(some), kernel_names(some)
    only = f"all {count} units" if count == service.total and not always else f"{count} of {service.total} units"
    return f"{only} exist for {arch} only as PTX{f' ({named})' if named else ''}"


def _leftovers(service: Service, arch: Arch) -> Reason:
    count, named = units_of(service.absent), kernel_names(service.absent)
    says = f"{count} of {service.total} units hold nothing for {arch}, only {_listed(service.absent)}"
    return Reason("arch", f"{says}{f' ({named})' if named else ''}: the package must not call them here")


def _listed(units: tuple[Served, ...]) -> str:
    code = {(item.kind, item.arch) for served in units for item in served.units.code}
    return ", ".join(f"{arch}{' (PTX)' if kind == 'ptx' else ''}" for kind, arch in sorted(code, key=lambda c: c[::-1]))


def _oldest_isa(served: Served) -> tuple[int, int]:
    """The version of the PTX that asks least of a driver."""
    return min(_pair(code.isa or "0") for code in served.ptx)


def _pair(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
