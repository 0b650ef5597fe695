"""Whether the versions of compiler, CMake, torch and toolkit go together.

In: a plan and what is installed. Out: a `Check` each, or None where there is nothing to say. Nothing can fail. Which
versions go together is data: `compilers.toml`, and `torch.toml` of `wheelsmith.gpu`. What can be tried is tried.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from wheelsmith.compile.checks import Check
from wheelsmith.diagnostics.diagnose import Explanation, diagnose
from wheelsmith.errors import EnvironmentBuildError, NoCompilerError
from wheelsmith.gpu.facts import torch_cuda
from wheelsmith.planning.model import NIGHTLY, Plan
from wheelsmith.toolchain.cuda import CudaToolkit
from wheelsmith.toolchain.host import BUILD_PATH, HostCompiler, find_host_compiler, other_compilers
from wheelsmith.toolchain.trial import Trial, try_compiler

_VERSION = re.compile(r"\b\d+\.\d+(?:\.\d+)?\b")


@cache
def _table() -> dict[str, dict[str, list[int]]]:
    return tomllib.loads(files(__package__).joinpath("compilers.toml").read_text("utf-8"))


def supported_gcc(cuda: str) -> tuple[int, int] | None:
    """The oldest and newest major version of GCC that nvcc of this release (such as `13.0`) accepts."""
    found = _table()["gcc"].get(cuda)
    return None if found is None else (found[0], found[1])


def host_compiler_check(
    plan: Plan | None, compiler: HostCompiler, toolkit: CudaToolkit | None, store: Path | None
) -> Check | None:
    """The host compiler with nvcc: tried with a toolkit that is there, else held against what its nvcc accepts.

    Args:
        plan: what will be built, if that is known.
        compiler: the host compiler that was found.
        toolkit: the toolkit; None: it will be assembled from NVIDIA's wheels.
        store: root of the store that keeps the results of trials.
    """
    if toolkit is None:
        return None if plan is None else _by_table(plan.target.cuda, compiler)
    needed = f"one that CUDA {toolkit.release} in {toolkit.root} works with"
    try:
        tried, seconds = try_host_compiler(plan, compiler, toolkit, store)
    except NoCompilerError as error:
        return Check("host compiler", compiler.number or compiler.version, needed, False, error, stops=plan is not None)
    found = f"{tried.preferred}, which nvcc prefers to {tried.number}" if tried.preferred else tried.number
    when = f"tried in {seconds:.1f} s" if seconds else "tried before"
    return Check("host compiler", f"{found} ({when})", needed, True, stops=True)


def gcc_check(plan: Plan | None, compiler: HostCompiler) -> Check | None:
    """The host compiler against the oldest GCC that the project compiles with."""
    oldest = plan.expect.gcc if plan else ""
    if plan is None or not oldest or not compiler.number or "clang" in compiler.version:
        return None
    needed = f"GCC {oldest} or newer for {plan.name} {plan.version}"
    if Version(compiler.number) >= Version(oldest):
        return Check("GCC", compiler.number, needed, True, stops=True)
    supported = supported_gcc(plan.target.cuda)
    newest = supported[1] if supported else Version(oldest).major
    fitting = [one for one in other_compilers(Version(oldest).major, newest) if Version(one.number) >= Version(oldest)]
    what = f"{plan.name} {plan.version}"
    error = NoCompilerError(
        f"The host compiler is g++ {compiler.number} ({compiler.path}); {what} needs {oldest} or newer.",
        f"Choose --host-compiler {fitting[0].path}." if fitting else _install(Version(oldest).major),
    )
    return Check("GCC", compiler.number, needed, False, error, stops=True)


def try_host_compiler(
    plan: Plan | None, compiler: HostCompiler, toolkit: CudaToolkit, store: Path | None
) -> tuple[HostCompiler, float]:
    """The host compiler with what is known of it after it has worked; and the seconds that took (0: it did before).

    Raises:
        NoCompilerError: nvcc does not compile a one-line program with it.
    """
    variables = dict(plan.environment) if plan else {}
    trial = try_compiler(toolkit, compiler, variables, store)
    if not trial.ok:
        raise _misfit(toolkit, compiler, trial, variables)
    preferred = trial.used if trial.used != compiler.number and not compiler.asked else ""
    return replace(compiler, preferred=preferred), trial.seconds


def _by_table(cuda: str, compiler: HostCompiler) -> Check | None:
    """For a toolkit that is not here yet (nvcc would say: `unsupported GNU version!`)."""
    supported = supported_gcc(cuda)
    if supported is None or not compiler.number or "clang" in compiler.version:
        return None
    needed = f"{supported[0]} to {supported[1]} for CUDA {cuda}"
    if supported[0] <= int(compiler.number.partition(".")[0]) <= supported[1]:
        return Check("host compiler", compiler.number, needed, True, stops=True)
    fitting = next(other_compilers(*supported), None)
    error = NoCompilerError(
        f"The host compiler is g++ {compiler.number} ({compiler.path}); nvcc of CUDA {cuda} accepts"
        f" {supported[0]} to {supported[1]}.",
        f"Choose --host-compiler {fitting.path}." if fitting else _install(supported[1]),
    )
    return Check("host compiler", compiler.number, needed, False, error, stops=True)


def _install(major: int) -> str:
    return (
        f"Install g++-{major} and name it with --host-compiler g++-{major}, choose another toolkit with --cuda, or"
        " build in an image with --container."
    )


def _misfit(
    toolkit: CudaToolkit, compiler: HostCompiler, trial: Trial, variables: Mapping[str, str]
) -> NoCompilerError:
    """Why the two do not go together, and what was tried in their place."""
    libc = " ".join(platform.libc_ver()).strip() or "this C library"
    supported = supported_gcc(toolkit.version)
    candidates = [find_host_compiler(None, {})] if compiler.asked and shutil.which("g++", path=BUILD_PATH) else []
    candidates += other_compilers(*supported) if supported else ()
    first, tried, remedy = diagnose(trial.words), "", ""
    told = [first]
    for other in candidates:
        if Path(other.path).samefile(compiler.path):
            continue
        again = try_compiler(toolkit, other, variables)
        if again.ok:
            remedy = f"Choose --host-compiler {other.path}, which was tried here and works."
            break
        told.append(diagnose(again.words))
        tried += f" {other.path} ({other.number}) was tried, too: {_reason(told[-1])}."
    if not remedy:  # where another fault than its age remains, an older compiler does not help
        worst = next((said for said in told if said.id != "host-compiler-too-new"), first)
        too_new = worst.id == "host-compiler-too-new" and supported is not None
        remedy = _install(supported[1]) if too_new and supported else f"{worst.remedy or _OTHER}."
    name = f"{compiler.path} ({compiler.number})" + (f", which {compiler.asked} names," if compiler.asked else "")
    return NoCompilerError(
        f"nvcc of CUDA {toolkit.release} in {toolkit.root} with {name} on {libc} does not compile a one-line program:"
        f" {_reason(first)}.{tried}",
        remedy,
        detail=first.excerpt,
    )


_OTHER = "Choose another compiler with --host-compiler, another toolkit with --cuda, or an image with --container"


def _reason(said: Explanation) -> str:
    first = said.message or said.excerpt.partition("\n")[0]
    return said.cause or first.strip().rstrip(".") or "it says nothing"


def cmake_check(plan: Plan | None) -> Check | None:
    """CMake, where the machine's own will be used: with --env current, or if the plan requires none."""
    if plan is None:
        return None
    required = {canonicalize_name(Requirement(text).name) for text in plan.requires}
    if plan.target.environment == "isolated" and ("cmake" in required or "scikit-build-core" not in required):
        return None  # the build environment has its own, or nobody calls it
    own = f"{Path(sys.prefix) / 'bin'}:" if plan.target.environment == "current" else ""
    path = shutil.which("cmake", path=own + BUILD_PATH)  # as the build looks for it
    oldest: str = str(_table()["cmake"].get(plan.target.cuda.partition(".")[0], "3.26"))
    needed = f"{oldest} or newer for CUDA {plan.target.cuda}"
    if path is None:
        return Check("CMake", "none", f"{needed}, if the project uses it")
    words = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = next(iter(_VERSION.findall(words)), "0.0")
    error = None
    if Version(found) < Version(oldest):
        error = EnvironmentBuildError(
            f"CMake is version {found}; CUDA {plan.target.cuda} needs {oldest} or newer.",
            "`pip install 'cmake>=4'` into this environment, or put it into the recipe's `requires`.",
        )
    return Check("CMake", f"{found} ({path})", needed, error is None, error)


def torch_check(plan: Plan | None) -> Check | None:
    """torch against the toolkit: their CUDA must have the same major version, else the extension does not load."""
    if plan is None or plan.target.torch is None:
        return None
    if plan.target.environment == "current":
        try:
            installed = version("torch")
        except PackageNotFoundError:
            installed = ""
    else:
        installed = plan.target.torch
    if installed == NIGHTLY:  # found out, and held against the toolkit, when the environment is made
        return Check("torch", NIGHTLY)
    local = re.search(r"\+cu(\d+)(\d)$", installed)
    cuda = f"{local[1]}.{local[2]}" if local else torch_cuda(installed) if installed else None
    needed = f"built with CUDA {plan.target.cuda.partition('.')[0]}.x"
    if cuda is None:
        return Check("torch", installed or "none", needed)
    error = None
    if cuda.partition(".")[0] != plan.target.cuda.partition(".")[0]:
        error = EnvironmentBuildError(
            f"torch {installed} is built with CUDA {cuda}; the plan's toolkit is {plan.target.cuda}.",
            f"Choose --cuda {cuda}, or another --torch.",
        )
    return Check("torch", f"{installed}, built with CUDA {cuda}", needed, error is None, error, stops=True)
