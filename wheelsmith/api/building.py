"""Plan, fetch, build, and build again. See `wheelsmith` for what may be raised."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from wheelsmith.api.defaults import (
    DEFAULT_INDEX,
    PathLike,
    book,
    chosen_index_url,
    disk_full,
    open_store,
    optional_path,
    show_people,
)
from wheelsmith.errors import TargetError, UsageError
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.builder.model import BuildResult
    from wheelsmith.builder.rebuild import Rebuilt
    from wheelsmith.config import Config
    from wheelsmith.planning.model import Plan
    from wheelsmith.recipe.requirement import Wanted


class TargetOptions(TypedDict, total=False):
    """What to build for: the keywords of `plan`, which the other functions hand on."""

    gpu: str | None
    arch: str | None
    python: str | None
    cuda: str | None
    torch: str | None
    driver: str | None
    local: str | None
    environment: Literal["isolated", "current"]
    options: Mapping[str, bool] | None
    recipes: Sequence[PathLike]


def plan(
    requirement: str,
    *,
    gpu: str | None = None,
    arch: str | None = None,
    python: str | None = None,
    cuda: str | None = None,
    torch: str | None = None,
    driver: str | None = None,
    local: str | None = None,
    environment: Literal["isolated", "current"] = "isolated",
    options: Mapping[str, bool] | None = None,
    recipes: Sequence[PathLike] = (),
) -> Plan:
    """Decide everything about a build. Touches neither network nor disk, except to read recipes.

    Args:
        requirement: PEP 508 name and version, such as `vllm==0.15.1`; without a version the newest that is pinned
            and whose sources are all locked (where none is, the newest). A local version (`==0.15.1+cu128.sm86`) asks
            for its CUDA, torch and archs. Extras change nothing.
        gpu: GPUs by name or compute capability, or `native`, such as `RTX 5090,A40` (see `wheelsmith.gpu.select`).
        arch: what to compile for, in the same words, such as `8.6;12.0` or `9.0+PTX`; `gpu` must then run it.
        python: `major.minor`; default: the recipe's, else the running interpreter's.
        cuda: toolkit `major.minor`; default: the recipe's.
        torch: exact version, or `nightly`; default: the recipe's.
        driver: the oldest driver that the wheel must run on, such as `570.26`, `570` or `native`: CUDA and torch, where
            they are not given, are the recipe's if that runs them, else the newest that it runs.
        local: local version of the wheel; default: the recipe's, with what of the target is not the recipe's default.
        environment: `isolated` (locked requirements) or `current` (the running interpreter's packages).
        options: options of the recipe by name, on or off, where its defaults are not wanted.
        recipes: directories whose recipes go before the shipped ones.

    Raises:
        UnknownPackageError, UnknownVersionError, RecipeError, UnknownGpuError, TargetError, UsageError.
    """
    from wheelsmith.api.targets import Asking, newest_fixed, plan_for
    from wheelsmith.gpu.select import parse_driver, select
    from wheelsmith.planning.model import Target
    from wheelsmith.planning.words import asked_by, python_version
    from wheelsmith.recipe.requirement import read_requirement
    from wheelsmith.toolchain.python import running_python

    wanted = read_requirement(requirement)
    loaded, newest = book(recipes).find(requirement)
    asked = asked_by(wanted.local)
    if environment == "current":
        python = running_python() if python is None else python

    def at(version: str) -> Plan:
        defaults = loaded.recipe.at(version).defaults
        archs, named = select(gpu, arch, defaults.archs if asked.archs is None else asked.archs)
        target = Target(
            python=python_version((defaults.python or running_python()) if python is None else python),
            archs=archs,
            cuda=defaults.cuda,
            torch=defaults.torch,
            gpus=named,
            environment=environment,
            driver=None if driver is None else str(parse_driver(driver)),
        )
        _refuse_marker(wanted, target.python)
        asking = Asking(loaded, version, wanted, dict(options or {}), local)
        return plan_for(
            asking, target, cuda=asked.cuda if cuda is None else cuda, torch=asked.torch if torch is None else torch
        )

    return newest_fixed(at, newest, loaded.fitting(wanted.specifier))


def _refuse_marker(wanted: Wanted, python: str) -> None:
    """pip installs nothing where a marker is false: then nothing is built either."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": "x86_64",
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    if wanted.marker is not None and not wanted.marker.evaluate(environment):
        raise TargetError(
            f"The marker `{wanted.marker}` is false for Python {python} on x86-64 Linux: pip would install nothing.",
            f"Leave it away, or choose another Python: {wanted.name}{wanted.specifier}",
        )


def build(
    what: str | Plan,
    *,
    index: PathLike = DEFAULT_INDEX,
    store: PathLike | None = None,
    jobs: int | None = None,
    offline: bool = False,
    require_isolation: bool = False,
    index_url: str | None = None,
    torch_index: str | None = None,
    toolkit: str = "auto",
    host_compiler: str | None = None,
    sign: PathLike | None = None,
    memory: int | str | None = None,
    cache: str | None = None,
    use_cache: bool = True,
    cache_readonly: bool = False,
    stop_after: float | None = None,
    publish: bool = True,
    listener: Listener = ignore,
    **target: Unpack[TargetOptions],
) -> BuildResult:
    """Compile, prove and publish a package.

    Args:
        what: a plan, or a requirement (then `target` takes what `plan` takes).
        index: the index that the wheel is published to: a directory, or `s3://bucket/prefix`, `gs://…`, `az://…`.
        store: directory of the store; default: WHEELSMITH_STORE, else the user's cache directory.
        jobs: compilers at once; default: as many as processors and memory allow.
        memory: what the compilers may use together, in bytes or as `12GB`; default: what there is.
        cache: directory or URL (`s3://…`, `gs://…`, `az://…`, `redis://…`) of the compile cache; default:
            WHEELSMITH_CACHE, else a directory in the store. A URL needs the key that seals its entries, in
            WHEELSMITH_CACHE_KEY or the file that WHEELSMITH_CACHE_KEY_FILE names.
        use_cache: whether compiled objects may come from a cache.
        cache_readonly: whether it only answers, and keeps nothing of this build.
        publish: whether the wheel goes into the index, where its name is taken for good; else it stays in the store.
        stop_after: minutes after which no compiler starts any more, as after an interrupt; default: never.
        offline: fetch nothing.
        require_isolation: refuse (IsolationError) where the kernel allows no confinement of the build; otherwise the
            build warns. `require_isolation = true` in the configuration file does the same.
        index_url: package index for sdists and build requirements; default: the clients' own configuration.
        torch_index: package index that has the builds for a nightly torch; default: WHEELSMITH_TORCH_INDEX.
        toolkit: `auto`, `wheels`, or the root directory of a CUDA toolkit.
        host_compiler: name or path of the C++ compiler that nvcc hands host code to; default: CUDAHOSTCXX, NVCC_CCBIN,
            else the one that nvcc chooses by itself.
        sign: Ed25519 private key (PEM) that signs the provenance beside the published wheel.
        listener: told of every step.
        **target: see `plan`.

    Raises:
        WheelsmithError: see `wheelsmith.errors`; nothing half-written is left, and what was compiled is kept.
    """
    from wheelsmith.api.expecting import fill_expectation
    from wheelsmith.api.targets import better_remedies
    from wheelsmith.builder.build import run_build
    from wheelsmith.builder.model import Settings
    from wheelsmith.compile.memory import parse_size
    from wheelsmith.toolchain.host import refuse_other_machine

    if stop_after is not None and not stop_after >= 0:
        raise UsageError(f"A build cannot stop after {stop_after:g} minutes.", "Give a number of minutes, such as 50.")
    refuse_other_machine()
    with disk_full():
        made = plan(what, **target) if isinstance(what, str) else what
        key = None if sign is None else Path(sign)
        limit = parse_size(memory) if isinstance(memory, str) else memory
        settings = Settings(
            os.fspath(index),
            jobs,
            offline,
            chosen_index_url(index_url),
            toolkit,
            key,
            limit,
            _config().mirrors,
            _torch_index(torch_index),
            cache or os.environ.get("WHEELSMITH_CACHE"),
            use_cache,
            cache_readonly,
            None if stop_after is None else time.monotonic() + 60 * stop_after,
            host_compiler,
            require_isolation or _config().require_isolation,
            publish,
        )
        with better_remedies(made):
            result = run_build(made, open_store(store), settings, listener)
        if result.published is not None and not result.published.already_there:
            show_people(index, [made.name])
        fill_expectation(result, open_store(store).root, listener)
        return result


def fetch(
    what: str | Plan,
    *,
    store: PathLike | None = None,
    index_url: str | None = None,
    torch_index: str | None = None,
    toolkit: str = "auto",
    listener: Listener = ignore,
    **target: Unpack[TargetOptions],
) -> int:
    """Bring into the store all that a build needs from outside, so that `build(offline=True)` works.

    Returns:
        Bytes of sources that were fetched.

    Raises:
        NetworkError, HashMismatchError, SourceError, ToolkitError, EnvironmentBuildError, and those of `plan`.
    """
    from wheelsmith.api.targets import better_remedies
    from wheelsmith.builder.build import run_fetch
    from wheelsmith.builder.model import Settings
    from wheelsmith.toolchain.host import refuse_other_machine

    refuse_other_machine()
    with disk_full():
        made = plan(what, **target) if isinstance(what, str) else what
        settings = Settings(
            DEFAULT_INDEX,
            None,
            False,
            chosen_index_url(index_url),
            toolkit,
            mirrors=_config().mirrors,
            torch_index=_torch_index(torch_index),
        )
        with better_remedies(made):
            return run_fetch(made, open_store(store), settings, listener)


def rebuild(
    wheel: PathLike,
    *,
    provenance: PathLike | None = None,
    key: PathLike | None = None,
    store: PathLike | None = None,
    jobs: int | None = None,
    offline: bool = False,
    require_isolation: bool = False,
    index_url: str | None = None,
    torch_index: str | None = None,
    toolkit: str = "auto",
    listener: Listener = ignore,
) -> Rebuilt:
    """Build a wheel again from its provenance, whatever became of the recipe, and compare. Publishes nothing.

    The provenance says what is fetched and run: rebuild only what you trust, or name the signer's `key`. See `verify`
    and `build` for the arguments.

    Raises:
        VerificationError: the wheel and its provenance do not belong together, or hold no plan.
        WheelsmithError: as `build`.
    """
    from wheelsmith.builder.model import Settings
    from wheelsmith.builder.rebuild import run_rebuild
    from wheelsmith.toolchain.host import refuse_other_machine

    refuse_other_machine()
    with disk_full():
        settings = Settings(
            DEFAULT_INDEX,
            jobs,
            offline,
            chosen_index_url(index_url),
            toolkit,
            mirrors=_config().mirrors,
            torch_index=_torch_index(torch_index),
            cached=False,  # what is compiled again must be compiled
            require_isolation=require_isolation or _config().require_isolation,
        )
        return run_rebuild(
            Path(wheel),
            open_store(store),
            settings,
            listener,
            provenance=optional_path(provenance),
            key=optional_path(key),
        )


def _torch_index(url: str | None) -> str | None:
    return url or os.environ.get("WHEELSMITH_TORCH_INDEX")


def _config() -> Config:
    """The user's configuration file."""
    from wheelsmith.config import load_config

    return load_config()
