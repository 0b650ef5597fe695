"""What a machine must have before hours are spent, with the numbers needed and found.

In: a plan and a store. Out: a list of `Check`. It raises nothing itself: a caller that wants to stop raises the error
that a failed check carries, if the check says that it `stops` a build; the others warn.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from wheelsmith.compile.checks import Check
from wheelsmith.compile.limits import address_space, inotify, open_files, processes
from wheelsmith.compile.memory import GB, available_memory
from wheelsmith.compile.sandbox import isolation_here
from wheelsmith.compile.versions import cmake_check, gcc_check, host_compiler_check, torch_check
from wheelsmith.errors import (
    DiskFullError,
    NoCompilerError,
    PythonNotFoundError,
    TargetError,
    ToolkitError,
    WheelsmithError,
)
from wheelsmith.planning.model import GitSource, Plan
from wheelsmith.toolchain.cuda import CudaToolkit, find_toolkits, pick_toolkit
from wheelsmith.toolchain.host import find_host_compiler, refuse_other_machine
from wheelsmith.toolchain.python import find_interpreter
from wheelsmith.toolchain.rust import find_rust

_FILES = 50_000  # a build of vLLM with its trees and its environment lays out about 40,000 files


def preflight(
    plan: Plan | None, store_root: Path, toolkit: str = "auto", host_compiler: str | None = None
) -> tuple[Check, ...]:
    """Look at everything that a build of `plan` (None: any build) needs from the machine.

    Args:
        plan: what will be built.
        store_root: where the store is, or will be.
        toolkit: where the CUDA toolkit shall come from, as for a build.
        host_compiler: the compiler that nvcc shall use, as for a build.
    """
    place = store_root
    while not place.exists():
        place = place.parent
    return (
        _machine(),
        *_compilers(plan, store_root, toolkit, host_compiler),
        *(check for check in (cmake_check(plan), torch_check(plan)) if check is not None),
        _git(plan),
        *_rust(plan),
        _python(plan),
        _disk(plan, store_root, place),
        *_files(place),
        *_temporary(plan, place),
        _memory(plan),
        address_space(plan),
        processes(),
        open_files(),
        inotify(),
        Check("isolation", str(isolation_here())),
        _gpu(),
    )


def _machine() -> Check:
    found = f"{platform.system()} {platform.release()} on {platform.machine()}, {' '.join(platform.libc_ver()).strip()}"
    try:
        refuse_other_machine()
    except TargetError as error:
        return Check("machine", found, "Linux on x86-64", False, error, stops=True)
    return Check("machine", found, "Linux on x86-64", True, stops=True)


def _compilers(plan: Plan | None, store: Path, choice: str, host_compiler: str | None) -> Iterator[Check]:
    """The host compiler, the toolkits, and whether they go together."""
    toolkits, about_toolkits = _toolkits(plan, choice)
    try:
        compiler = find_host_compiler(host_compiler)
    except NoCompilerError as error:
        yield Check("C++ compiler", "none", "g++", False, error, stops=True)
        yield about_toolkits
        return
    yield Check("C++ compiler", f"{compiler.path}: {compiler.version}", "g++", True, stops=True)
    yield about_toolkits
    if (check := gcc_check(plan, compiler)) is not None:
        yield check
    if about_toolkits.ok is not False:
        for toolkit in toolkits:
            if (check := host_compiler_check(plan, compiler, toolkit, store)) is not None:
                yield check


def _git(plan: Plan | None) -> Check:
    used = plan is not None and any(
        isinstance(source, GitSource) for source in (plan.source, *(tree.source for tree in plan.trees))
    )
    path = shutil.which("git")
    if path is None:
        error = NoCompilerError("There is no git on PATH.", "Install it: `apt-get install git` on Debian and Ubuntu.")
        return Check("git", "none", "on PATH", False, error, stops=used)
    return Check("git", path, "on PATH", True, stops=used)


def _rust(plan: Plan | None) -> Iterator[Check]:
    for item in plan.crates if plan else ():
        needed = f"{item.rust} or newer" if item.rust else "any"
        try:
            found = find_rust(item.rust)
        except NoCompilerError as error:
            yield Check("Rust", "none that will do", needed, False, error, stops=True)
        else:
            yield Check("Rust", f"{found.version} in {found.root}", needed, True, stops=True)


def _python(plan: Plan | None) -> Check:
    if plan is None:
        from wheelsmith.toolchain.python import running_python

        return Check("Python", running_python())
    needed, stops = f"{plan.target.python} with headers", plan.target.environment == "isolated"
    try:
        found = find_interpreter(plan.target.python)
    except PythonNotFoundError as error:
        return Check("Python", "none", needed, False, error, stops)
    return Check("Python", f"{found.version} ({found.executable})", needed, True, None, stops)


def _toolkits(plan: Plan | None, choice: str) -> tuple[tuple[CudaToolkit | None, ...], Check]:
    """The toolkits that may serve (None: one that is yet to be assembled), and what there is to say of them."""
    if plan is None:
        toolkits = find_toolkits()
        words = ", ".join(f"{t.release} in {t.root} ({t.origin})" for t in toolkits) or "none installed"
        return toolkits, Check("CUDA toolkit", words)
    try:
        picked = pick_toolkit(plan.target.cuda, math=plan.needs_cuda_libraries, choice=choice)
    except ToolkitError as error:
        return (), Check("CUDA toolkit", error.cause.rstrip("."), plan.target.cuda, False, error, stops=True)
    found = f"{picked.release} in {picked.root} ({picked.origin})" if picked else "none; assembled from NVIDIA's wheels"
    return (picked,), Check("CUDA toolkit", found, plan.target.cuda, True, stops=True)


def _disk(plan: Plan | None, store_root: Path, place: Path) -> Check:
    free = shutil.disk_usage(place).free / GB
    found = f"{free:.1f} GB free for {store_root}"
    if plan is None:
        return Check("disk", found)
    need = plan.expect.disk_gb
    if free >= need:
        return Check("disk", found, f"{need:g} GB", True, stops=True)
    error = DiskFullError(
        f"{store_root} has {free:.1f} GB free; {plan.name} {plan.version} needs about {need:g} GB.",
        "Free some space, or put the store elsewhere with --store or WHEELSMITH_STORE.",
    )
    return Check("disk", found, f"{need:g} GB", False, error, stops=True)


def _files(place: Path) -> Iterator[Check]:
    free, total = os.statvfs(place).f_favail, os.statvfs(place).f_files
    if total == 0:  # btrfs and others have no such limit
        return
    error = None
    if free < _FILES:
        error = DiskFullError(
            f"The file system of {place} has room for {free:,} more files; a build may lay out {_FILES:,}.",
            "Remove small files, or put the store elsewhere with --store or WHEELSMITH_STORE.",
        )
    yield Check("files on disk", f"{free:,} free", f"{_FILES:,}", error is None, error)


def _temporary(plan: Plan | None, store: Path) -> Iterator[Check]:
    """The compilers' temporary files are in the store; sources and wheels are unpacked through the system's."""
    import tempfile

    place = Path(tempfile.gettempdir())
    if place.stat().st_dev == store.stat().st_dev:
        return
    free, need = shutil.disk_usage(place).free / GB, 0.1 if plan is None else min(1.0, plan.expect.disk_gb / 10)
    error = None
    if free < need:
        error = DiskFullError(
            f"{place} has {free:.2f} GB free for temporary files; about {need:g} GB are needed.",
            "Free some space there, or name another directory in TMPDIR.",
        )
    yield Check("temporary files", f"{free:.1f} GB free in {place}", f"{need:g} GB", error is None, error)


def _memory(plan: Plan | None) -> Check:
    free = available_memory() / GB
    found = f"{free:.1f} GB available"
    if plan is None:
        return Check("memory", found)
    need = plan.expect.memory_gb
    error = None
    if free < need:  # a warning: swap may carry it, and the figure is an upper estimate
        error = WheelsmithError(
            f"{free:.1f} GB of memory are available; one compiler of {plan.name} may need {need:g} GB.",
            "Stop what else runs, raise the container's limit, or add swap.",
        )
    return Check("memory", found, f"{need:g} GB a compiler", error is None, error)


def _gpu() -> Check:
    version = Path("/proc/driver/nvidia/version")
    if not version.is_file():
        return Check("GPU driver", "none (not needed for building)")
    return Check("GPU driver", version.read_text().splitlines()[0])
