"""The build environment: what the plan requires, installed by hash into a virtual environment of its own.

In: a plan. Out: a `BuildEnvironment`. Fails with `EnvironmentBuildError`, `PythonNotFoundError` and uv's failures.
With `--env current` nothing is installed: the running interpreter's packages are checked against the plan, and those
that the plan requires, with all that they require, are what the environment is known by. Others may come and go.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from wheelsmith.children import run_child
from wheelsmith.errors import EnvironmentBuildError, PythonNotFoundError, UsageError
from wheelsmith.events import Note
from wheelsmith.planning.model import NIGHTLY, Plan
from wheelsmith.planning.pins import locked_pins
from wheelsmith.store import Store, write_atomic
from wheelsmith.toolchain.python import Interpreter, ask, find_interpreter, running_python
from wheelsmith.toolchain.uv import Uv

_ORIGIN = "served-by.txt"


@dataclass(frozen=True, slots=True)
class BuildEnvironment:
    """Where the build's packages are. `digest` identifies the interpreter and every package that the plan requires,
    directly or not, with its files; `served_by` says which index they came from, empty if that is not known."""

    prefix: Path
    interpreter: Interpreter
    packages: tuple[tuple[str, str], ...]
    lock: str | None
    digest: str
    reused: bool
    served_by: str = ""


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
        # Files are put in place, and nothing of them runs here: not even the environment's Python, which would run
        # every .pth file of what was installed.
        syncing = ("--require-hashes", "--no-build", "--no-compile-bytecode", "--python", venv / "bin/python")
        purpose = "Installing the build requirements"
        uv.run("pip", "sync", *syncing, *_torch_index(plan, uv), requirements, purpose=purpose)
        _compile_bytecode(interpreter, venv / "lib")
        (directory / _ORIGIN).write_text(uv.origin, "utf-8")

    directory, reused = store.make_directory("envs", digest, make)
    origin = directory / _ORIGIN
    served_by = origin.read_text("utf-8") if origin.is_file() else ""
    return BuildEnvironment(directory / "venv", interpreter, packages, lock, digest, reused, served_by)


# Not `compileall -j`: its workers outlive it when it is killed.
_BYTECODE = """
import compileall, ctypes, os, signal, sys
parent, parts = os.getpid(), len(os.sched_getaffinity(0))
found = (os.path.join(top, name) for top, _, names in os.walk(sys.argv[1]) for name in names)
files = sorted(path for path in found if path.endswith(".py"))
for part in range(parts):
    if not os.fork():
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        for file in files[part::parts] if os.getppid() == parent else ():
            compileall.compile_file(file, quiet=2)
        os._exit(0)
for _ in range(parts):
    os.wait()
"""


def _compile_bytecode(interpreter: Interpreter, directory: Path) -> None:
    """Compile now, as builds see the environment read-only. The interpreter is the one that the environment is made
    of, and it only reads (`-S`: no package is imported); what cannot be compiled is compiled when it is used."""
    run_child([interpreter.executable, "-IS", "-c", _BYTECODE, directory], env={"LC_ALL": "C.UTF-8"})


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
    found: dict[NormalizedName, Distribution] = {}
    installed: dict[NormalizedName, str] = {}
    for distribution in distributions():  # of two of a name the first on sys.path counts
        name, version = _identity(distribution)
        if name and name not in found:
            found[name], installed[name] = distribution, version
    problems = list(_unmet(plan.requires, installed))
    if problems:
        raise EnvironmentBuildError(
            f"The current environment does not fit the plan: {'; '.join(problems)}.",
            "Install what is missing into it, or leave --env current away.",
        )
    interpreter = ask(Path(sys.executable))
    assert interpreter is not None, "it is running this very code"  # noqa: S101
    packages = tuple(sorted(installed.items()))
    contents = sorted(map(_contents, _closure(plan.requires, found)))
    digest = _digest(*contents, *_headers(Path(sys.prefix)), interpreter.version, sys.prefix)
    return BuildEnvironment(Path(sys.prefix), interpreter, packages, None, digest, reused=True)


def _identity(distribution: Distribution) -> tuple[NormalizedName, str]:
    """Normalized name and version. Only the head is parsed: the description behind it is a hundred times as long."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    head = HeaderParser().parsestr(text.partition("\n\n")[0])
    return canonicalize_name(head["Name"] or ""), head["Version"] or ""


def _closure(requires: Iterable[str], found: Mapping[NormalizedName, Distribution]) -> Iterator[Distribution]:
    """The distributions that `requires` leads to, as far as they are installed, each once."""
    met: set[tuple[NormalizedName, str]] = set()
    given: set[NormalizedName] = set()
    open_ends = [(Requirement(text), "") for text in requires]
    while open_ends:
        requirement, extra = open_ends.pop()
        name = canonicalize_name(requirement.name)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if not wanted or name not in found:
            continue
        if name not in given:
            given.add(name)
            yield found[name]
        for more in ({"", *requirement.extras}) - {extra for known, extra in met if known == name}:
            met.add((name, more))
            open_ends += [(Requirement(text), more) for text in found[name].requires or ()]


def _contents(distribution: Distribution) -> str:
    """Name, version and the digest of each installed file, as RECORD has them, but for what only says who installed
    it and how."""
    files = sorted(
        f"{file} {file.hash.value}"
        for file in distribution.files or ()
        if file.hash is not None and ".." not in file.parts and not file.parts[0].endswith(".dist-info")
    )
    return "\n".join((f"{canonicalize_name(distribution.name)} {distribution.version}", *files))


def _headers(prefix: Path) -> list[str]:
    """Names of the headers that packages have put beside Python's own: every unit finds them, whoever brought them."""
    if not (prefix / "pyvenv.cfg").is_file():
        return []
    return sorted(str(path.relative_to(prefix)) for path in (prefix / "include").rglob("*"))


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
