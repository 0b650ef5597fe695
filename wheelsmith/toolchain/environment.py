"""The build environment: what the plan requires, installed by hash into a virtual environment of its own.

In: a plan. Out: a `BuildEnvironment`. Fails with `EnvironmentBuildError`, `PythonNotFoundError` and uv's failures.
With `--env current` nothing is installed: the running interpreter's packages are checked against the plan.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from wheelsmith.errors import EnvironmentBuildError, PythonNotFoundError, UsageError
from wheelsmith.events import Note
from wheelsmith.planning.model import NIGHTLY, Plan
from wheelsmith.planning.pins import locked_pins
from wheelsmith.store import Store, write_atomic
from wheelsmith.toolchain.python import Interpreter, ask, find_interpreter, running_python
from wheelsmith.toolchain.uv import Uv


@dataclass(frozen=True, slots=True)
class BuildEnvironment:
    """Where the build's packages are. `digest` identifies the interpreter and every package in it."""

    prefix: Path
    interpreter: Interpreter
    packages: tuple[tuple[str, str], ...]
    lock: str | None
    digest: str
    reused: bool


def provide_environment(plan: Plan, store: Store, uv: Uv) -> BuildEnvironment:
    """Make, or find again, the environment of a plan.

    Raises:
        PythonNotFoundError: the plan's Python is not installed.
        EnvironmentBuildError: a requirement cannot be installed, or the current environment lacks it.
        UsageError: a nightly torch, and no index that has it.
    """
    if plan.target.environment == "current":
        return _current(plan)
    interpreter = find_interpreter(plan.target.python)
    lock = plan.lock or _resolve(plan, interpreter, store, uv)
    packages = tuple(sorted(locked_pins(lock, plan.target.python)))
    if plan.target.torch == NIGHTLY:
        _refuse_other_cuda(plan, dict(packages)["torch"])
    digest = _digest(lock, interpreter.version, str(interpreter.executable))

    def make(directory: Path) -> None:
        uv.listener(Note("toolchain", f"installing {len(packages)} build requirements"))
        requirements = directory / "requirements.txt"
        requirements.write_text(lock, "utf-8")
        venv = directory / "venv"
        making = ("--relocatable", "--python", interpreter.executable, venv)
        uv.run("venv", *making, purpose="Making the build environment")
        # Bytecode is compiled now, as builds see the environment read-only.
        syncing = ("--require-hashes", "--no-build", "--compile-bytecode", "--python", venv / "bin/python")
        purpose = "Installing the build requirements"
        uv.run("pip", "sync", *syncing, *_torch_index(plan, uv), requirements, purpose=purpose)

    directory, reused = store.make_directory("envs", digest, make)
    return BuildEnvironment(directory / "venv", interpreter, packages, lock, digest, reused)


def _refuse_other_cuda(plan: Plan, torch: str) -> None:
    built_with = re.search(r"\+cu(\d+)\d$", torch)
    if built_with and built_with[1] != plan.target.cuda.partition(".")[0]:
        raise EnvironmentBuildError(
            f"torch {torch} is built with CUDA {built_with[1]}; extensions for it cannot use CUDA {plan.target.cuda}.",
            f"Name an index with builds for CUDA {plan.target.cuda} in --torch-index, or choose another --cuda.",
        )


def _torch_index(plan: Plan, uv: Uv) -> tuple[str, ...]:
    """uv's arguments for a nightly torch, which is not where the other packages are.

    An index of nightlies also has old copies of other packages: the best match of both indexes is taken. Both are the
    user's own choice, and what was taken is locked by hash.
    """
    if plan.target.torch != NIGHTLY:
        return ()
    if uv.torch_index is None:
        raise UsageError(
            "--torch nightly needs the index that has torch's nightly builds.",
            "Name it with --torch-index URL, or in WHEELSMITH_TORCH_INDEX.",
        )
    return ("--index", uv.torch_index, "--index-strategy", "unsafe-best-match")


def _resolve(plan: Plan, interpreter: Interpreter, store: Store, uv: Uv) -> str:
    """Resolve the plan's requirements once; the store keeps the lock, so that the next build gets the same."""
    key = _digest(*sorted(plan.requires), interpreter.version, *_torch_index(plan, uv))
    path = store.place("locks", f"{key}.txt")
    if not path.is_file():
        uv.listener(Note("toolchain", "resolving the build requirements"))
        question = store.place("locks", f"{key}.in")
        form: list[str | Path] = ["--no-header", "--no-annotate", "--no-build", *_torch_index(plan, uv)]
        form += ["--python", interpreter.executable]
        purpose = "Resolving the build requirements"
        requires = list(plan.requires)
        if plan.target.torch == NIGHTLY:
            # Only torch may be a development version: it is looked for alone, then the others with it.
            write_atomic(question, f"{requires.pop()}\n".encode())
            newest = ("--prerelease", "allow", "--no-deps")
            requires.append(uv.run("pip", "compile", *form, *newest, question, purpose=purpose).strip())
        write_atomic(question, "".join(f"{text}\n" for text in requires).encode())
        lock = uv.run("pip", "compile", *form, "--generate-hashes", question, purpose=purpose)
        write_atomic(path, lock.encode())
    return path.read_text("utf-8")


def _current(plan: Plan) -> BuildEnvironment:
    if plan.target.python != running_python():
        raise PythonNotFoundError(
            f"The plan is for Python {plan.target.python}; the running interpreter is {running_python()}.",
            "Run wheelsmith with that Python, or leave --env current away.",
        )
    installed = {canonicalize_name(d.name): d.version for d in distributions() if d.name}
    problems = list(_unmet(plan.requires, installed))
    if problems:
        raise EnvironmentBuildError(
            f"The current environment does not fit the plan: {'; '.join(problems)}.",
            "Install what is missing into it, or leave --env current away.",
        )
    interpreter = ask(Path(sys.executable))
    assert interpreter is not None, "it is running this very code"  # noqa: S101
    packages = tuple(sorted(installed.items()))
    digest = _digest(json.dumps(packages), interpreter.version, sys.prefix)
    return BuildEnvironment(Path(sys.prefix), interpreter, packages, None, digest, reused=True)


def _unmet(requires: Iterable[str], installed: Mapping[NormalizedName, str]) -> Iterator[str]:
    for text in requires:
        requirement = Requirement(text)
        version = installed.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"{requirement.name} is not installed"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is {version}, not {requirement.specifier}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
