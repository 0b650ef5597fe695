"""wheelsmith: compile CUDA packages into wheels proved to run natively on your GPUs, and publish them.

This is the front door: what the command line calls, and what a program may call. Every function raises a subclass of
`wheelsmith.errors.WheelsmithError` (with `cause`, `remedy` and `exit_code`) for everything that can be expected to go
wrong, and tells what it does through `listener` (see `wheelsmith.events`).

>>> import wheelsmith
>>> wheelsmith.plan("vllm==0.15.1", gpu="RTX 5090,A40").target.archs.torch
'8.6;12.0'
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

# Imported first, so that the function `plan` below is what `wheelsmith.plan` means afterwards: importing a submodule
# for the first time binds its name in the package.
import wheelsmith.plan  # noqa: F401
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.compile import Check
    from wheelsmith.gpu import Gpu
    from wheelsmith.index import Published, TryoutResult
    from wheelsmith.pipeline import BuildResult
    from wheelsmith.plan import Plan
    from wheelsmith.recipe import LoadedRecipe
    from wheelsmith.store import Store
    from wheelsmith.wheel import WheelReport

__all__ = [
    "build",
    "doctor",
    "fetch",
    "gpus",
    "inspect",
    "plan",
    "publish",
    "recipe_schema",
    "recipes",
    "try_install",
]

#: Where wheels and the index go when nothing else is said.
DEFAULT_INDEX = Path("dist")

PathLike = str | os.PathLike[str]


def plan(
    requirement: str,
    *,
    gpu: str | None = None,
    arch: str | None = None,
    python: str | None = None,
    cuda: str | None = None,
    torch: str | None = None,
    environment: Literal["isolated", "current"] = "isolated",
    recipes: Sequence[PathLike] = (),
) -> Plan:
    """Decide everything about a build. Touches neither network nor disk, except to read recipes.

    Args:
        requirement: PEP 508 name and version, such as `vllm==0.15.1`; without a version the newest that is pinned.
        gpu: GPU names, comma separated, such as `RTX 5090,A40`.
        arch: compute capabilities, such as `8.6;12.0` or `9.0+PTX`.
        python: `major.minor`; default: the recipe's, else the running interpreter's.
        cuda: toolkit `major.minor`; default: the recipe's.
        torch: exact version; default: the recipe's.
        environment: `isolated` (locked requirements) or `current` (the running interpreter's packages).
        recipes: directories whose recipes go before the shipped ones.

    Raises:
        UnknownPackageError, UnknownVersionError, RecipeError, UnknownGpuError, TargetError, UsageError.
    """
    from wheelsmith.gpu import select
    from wheelsmith.plan import Target, make_plan
    from wheelsmith.toolchain.python import running_python

    loaded, version = _book(recipes).find(requirement)
    defaults = loaded.recipe.defaults
    archs, named = select(gpu, arch, defaults.archs)
    if environment == "current":
        python = python or running_python()
    target = Target(
        python=python or defaults.python or running_python(),
        archs=archs,
        cuda=cuda or defaults.cuda,
        torch=torch or defaults.torch,
        gpus=named,
        environment=environment,
    )
    return make_plan(loaded, version, target)


def build(
    what: str | Plan,
    *,
    index: PathLike = DEFAULT_INDEX,
    store: PathLike | None = None,
    jobs: int | None = None,
    offline: bool = False,
    index_url: str | None = None,
    toolkit: str = "auto",
    listener: Listener = ignore,
    **target: Any,
) -> BuildResult:
    """Compile, prove and publish a package.

    Args:
        what: a plan, or a requirement (then `target` takes what `plan` takes).
        index: directory of the index that the wheel is published to.
        store: directory of the store; default: WHEELSMITH_STORE, else the user's cache directory.
        jobs: compilers at once; default: as many as processors and memory allow.
        offline: fetch nothing.
        index_url: package index for sdists and build requirements; default: the clients' own configuration.
        toolkit: `auto`, `wheels`, or the root directory of a CUDA toolkit.
        listener: told of every step.
        **target: see `plan`.

    Raises:
        WheelsmithError: see `wheelsmith.errors`; nothing half-written is left, and what was compiled is kept.
    """
    from wheelsmith.pipeline import Settings, run_build

    with _disk_full():
        made = plan(what, **target) if isinstance(what, str) else what
        settings = Settings(Path(index), jobs, offline, _index_url(index_url), toolkit)
        return run_build(made, _store(store), settings, listener)


def fetch(
    what: str | Plan,
    *,
    store: PathLike | None = None,
    index_url: str | None = None,
    toolkit: str = "auto",
    listener: Listener = ignore,
    **target: Any,
) -> int:
    """Bring into the store all that a build needs from outside, so that `build(offline=True)` works.

    Returns:
        Bytes of sources that were fetched.

    Raises:
        NetworkError, HashMismatchError, SourceError, ToolkitError, EnvironmentBuildError, and those of `plan`.
    """
    from wheelsmith.pipeline import Settings, run_fetch

    with _disk_full():
        made = plan(what, **target) if isinstance(what, str) else what
        settings = Settings(DEFAULT_INDEX, None, False, _index_url(index_url), toolkit)
        return run_fetch(made, _store(store), settings, listener)


def inspect(path: PathLike) -> WheelReport:
    """What a wheel, a directory or a library holds: GPU code by arch, needed libraries, symbol versions.

    Raises:
        InvalidWheelError: it cannot be read or contradicts itself.
    """
    from wheelsmith.wheel import inspect_path

    return inspect_path(Path(path))


def publish(
    wheels: Sequence[PathLike], *, index: PathLike = DEFAULT_INDEX, listener: Listener = ignore
) -> tuple[Published, ...]:
    """Put wheels into the index in directory `index`: all of them or none.

    Raises:
        InvalidWheelError: one is no valid wheel.
        IndexConflictError: the index holds other bytes under the same name.
    """
    from wheelsmith.index import publish as publish_wheels

    with _disk_full():
        return publish_wheels([Path(wheel) for wheel in wheels], Path(index), listener=listener)


def try_install(
    requirement: str,
    *,
    index: PathLike = DEFAULT_INDEX,
    imports: Sequence[str] = (),
    python: str | None = None,
    listener: Listener = ignore,
) -> TryoutResult:
    """Install from the index with pip into an empty environment, import, and remove the environment again.

    Args:
        requirement: such as `cuvec==6.0.1+cu130`.
        index: the index's directory.
        imports: modules to import; default: those that the package's recipe names, if there is one.
        python: `major.minor`; default: the running interpreter's.
        listener: told of every step.

    Raises:
        InstallError: pip fails, or an import does.
    """
    import tempfile

    from packaging.requirements import InvalidRequirement, Requirement

    from wheelsmith.errors import UnknownPackageError, UsageError
    from wheelsmith.index import try_install as try_it
    from wheelsmith.toolchain import find_interpreter
    from wheelsmith.toolchain.python import running_python

    try:
        name = Requirement(requirement).name
    except InvalidRequirement as error:
        raise UsageError(
            f"{requirement!r} is not a requirement (PEP 508).", "Write it as in cuvec==6.0.1+cu130."
        ) from error
    if not imports:
        try:
            imports = _book(()).find(name)[0].recipe.wheel.imports
        except UnknownPackageError:
            imports = ()
    interpreter = find_interpreter(python or running_python())
    with tempfile.TemporaryDirectory(prefix="wheelsmith-try-") as directory:
        return try_it(
            requirement,
            Path(index).absolute(),
            python=interpreter.executable,
            imports=imports,
            work_dir=Path(directory),
            listener=listener,
        )


def doctor(what: str | Plan | None = None, *, store: PathLike | None = None, **target: Any) -> tuple[Check, ...]:
    """What this machine has, against what a build of `what` needs (None: any build)."""
    from wheelsmith.compile import preflight

    made = plan(what, **target) if isinstance(what, str) else what
    return preflight(made, _store_root(store))


def recipes(*, recipes: Sequence[PathLike] = ()) -> tuple[LoadedRecipe, ...]:
    """Every recipe that is found, by name."""
    from wheelsmith.recipe import load_recipe

    return tuple(load_recipe(path) for path in _book(recipes).names().values())


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of a recipe file."""
    from wheelsmith.recipe import json_schema

    return json_schema()


def gpus() -> tuple[Gpu, ...]:
    """Every GPU that wheelsmith knows by name."""
    from wheelsmith.gpu import all_gpus

    return all_gpus()


def _book(directories: Sequence[PathLike]) -> Any:
    from platformdirs import user_config_path

    from wheelsmith.recipe import RecipeBook

    own = [Path(directory) for directory in directories]
    own += [Path(item) for item in os.environ.get("WHEELSMITH_RECIPES", "").split(os.pathsep) if item]
    return RecipeBook([*own, user_config_path("wheelsmith") / "recipes"])


def _store_root(store: PathLike | None) -> Path:
    from platformdirs import user_cache_path

    return Path(store or os.environ.get("WHEELSMITH_STORE") or user_cache_path("wheelsmith"))


def _store(store: PathLike | None) -> Store:
    from wheelsmith.store import Store

    return Store(_store_root(store))


def _index_url(index_url: str | None) -> str | None:
    from wheelsmith.clientconfig import configured_index

    return index_url or os.environ.get("WHEELSMITH_INDEX_URL") or configured_index()


@contextmanager
def _disk_full() -> Iterator[None]:
    """A full disk can show at any write; say it in one place."""
    from wheelsmith.errors import DiskFullError

    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f" ({error.filename})" if error.filename else ""
        raise DiskFullError(
            f"The disk is full{place}.", "Free some space, then run again: what is finished is kept."
        ) from error
