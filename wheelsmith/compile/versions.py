"""Whether the versions of compiler, CMake, torch and toolkit go together.

In: a plan and what is installed. Out: a `Check` each, or None where there is nothing to say. Nothing can fail. Which
versions go together is data: `compilers.toml`, and `torch.toml` of `wheelsmith.gpu`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from wheelsmith.compile.checks import Check
from wheelsmith.errors import EnvironmentBuildError, NoCompilerError
from wheelsmith.gpu.facts import torch_cuda
from wheelsmith.planning.model import NIGHTLY, Plan
from wheelsmith.toolchain.host import BUILD_PATH, find_host_compiler

_VERSION = re.compile(r"\b\d+\.\d+(?:\.\d+)?\b")


@cache
def _table() -> dict[str, dict[str, list[int]]]:
    return tomllib.loads(files(__package__).joinpath("compilers.toml").read_text("utf-8"))


def supported_gcc(cuda: str) -> tuple[int, int] | None:
    """The oldest and newest major version of GCC that nvcc of this release (such as `13.0`) accepts."""
    found = _table()["gcc"].get(cuda)
    return None if found is None else (found[0], found[1])


def gcc_check(plan: Plan | None) -> Check | None:
    """The host compiler against what nvcc accepts (nvcc: `unsupported GNU version!`)."""
    supported = supported_gcc(plan.target.cuda) if plan else None
    try:
        words = find_host_compiler().version
    except NoCompilerError:
        return None  # that is a check of its own
    numbers = _VERSION.findall(words)
    if plan is None or supported is None or not numbers:
        return None
    major, needed = int(numbers[-1].partition(".")[0]), f"{supported[0]} to {supported[1]} for CUDA {plan.target.cuda}"
    if supported[0] <= major <= supported[1]:
        return Check("GCC version", numbers[-1], needed, True, stops=True)
    allowed = any("allow-unsupported-compiler" in value for _, value in plan.environment)
    error = NoCompilerError(
        f"g++ is version {numbers[-1]}; nvcc of CUDA {plan.target.cuda} accepts {needed.partition(' for')[0]}.",
        f"Install g++-{supported[1]} and make it the default g++, or choose another toolkit with --cuda.",
    )
    return Check("GCC version", numbers[-1], needed, False, error, stops=not allowed)


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
