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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

# Imported first, so that the function `plan` below is what `wheelsmith.plan` means afterwards: importing a submodule
# for the first time binds its name in the package.
import wheelsmith.plan  # noqa: F401
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.advice import Advice
    from wheelsmith.compile import Check
    from wheelsmith.gpu import Gpu
    from wheelsmith.index import Collected, Entry, ProjectRecord, Published, TryoutResult, Verification
    from wheelsmith.pipeline import BuildResult
    from wheelsmith.plan import Plan
    from wheelsmith.recipe import LoadedRecipe
    from wheelsmith.repeat import Rebuilt
    from wheelsmith.store import Store
    from wheelsmith.wheel import Fits, WheelReport
    from wheelsmith.wheel.verify import Verification as WheelVerification

__all__ = [
    "advise",
    "build",
    "doctor",
    "fetch",
    "fits",
    "gpus",
    "index_gc",
    "index_list",
    "index_rebuild",
    "index_rm",
    "index_status",
    "index_unyank",
    "index_verify",
    "index_yank",
    "inspect",
    "plan",
    "publish",
    "rebuild",
    "recipe_schema",
    "recipes",
    "try_install",
    "verify",
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
    sign: PathLike | None = None,
    listener: Listener = ignore,
    **target: Any,
) -> BuildResult:
    """Compile, prove and publish a package.

    Args:
        what: a plan, or a requirement (then `target` takes what `plan` takes).
        index: the index that the wheel is published to: a directory, or `s3://bucket/prefix`, `gs://…`, `az://…`.
        store: directory of the store; default: WHEELSMITH_STORE, else the user's cache directory.
        jobs: compilers at once; default: as many as processors and memory allow.
        offline: fetch nothing.
        index_url: package index for sdists and build requirements; default: the clients' own configuration.
        toolkit: `auto`, `wheels`, or the root directory of a CUDA toolkit.
        sign: Ed25519 private key (PEM) that signs the provenance beside the published wheel.
        listener: told of every step.
        **target: see `plan`.

    Raises:
        WheelsmithError: see `wheelsmith.errors`; nothing half-written is left, and what was compiled is kept.
    """
    from wheelsmith.pipeline import Settings, run_build

    with _disk_full():
        made = plan(what, **target) if isinstance(what, str) else what
        key = None if sign is None else Path(sign)
        settings = Settings(os.fspath(index), jobs, offline, _index_url(index_url), toolkit, key)
        result = run_build(made, _store(store), settings, listener)
        if not result.published.already_there:
            _show_people(index, [made.name])
        return result


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


def verify(wheel: PathLike, *, provenance: PathLike | None = None, key: PathLike | None = None) -> WheelVerification:
    """Check a wheel against its RECORD, its SBOM and its provenance, and the provenance against a public key.

    Args:
        wheel: the path of a wheel that wheelsmith built.
        provenance: its provenance; default: the file beside it.
        key: Ed25519 public key (PEM) that must have signed the provenance; default: no signature is asked for.

    Raises:
        VerificationError: something does not belong together, or the signature is missing or wrong.
        InvalidWheelError: the wheel cannot be read.
    """
    from wheelsmith.wheel.verify import verify_wheel

    return verify_wheel(Path(wheel), provenance=_path(provenance), key=_path(key))[0]


def rebuild(
    wheel: PathLike,
    *,
    provenance: PathLike | None = None,
    key: PathLike | None = None,
    store: PathLike | None = None,
    jobs: int | None = None,
    offline: bool = False,
    index_url: str | None = None,
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
    from wheelsmith.pipeline import Settings
    from wheelsmith.repeat import run_rebuild

    with _disk_full():
        settings = Settings(DEFAULT_INDEX, jobs, offline, _index_url(index_url), toolkit)
        return run_rebuild(Path(wheel), _store(store), settings, listener, provenance=_path(provenance), key=_path(key))


def inspect(path: PathLike) -> WheelReport:
    """What a wheel, a directory or a library holds: GPU code by arch, needed libraries, symbol versions.

    Raises:
        InvalidWheelError: it cannot be read or contradicts itself.
    """
    from wheelsmith.wheel import inspect_path

    with _disk_full():
        return inspect_path(Path(path))


def fits(
    path: PathLike,
    *,
    gpu: str | None = None,
    driver: str | None = None,
    torch: str | None = None,
    glibc: str | None = None,
    store: PathLike | None = None,
    index_url: str | None = None,
    offline: bool = False,
    listener: Listener = ignore,
) -> Fits:
    """Whether a wheel (or folder, or library) will run on a machine, library by library, and the rule that decides.

    Args:
        path: what to judge.
        gpu: GPU names or compute capabilities, such as `RTX 5090,A40` or `12.0`; default: this machine's, with its
            driver, its C library and the torch of this interpreter.
        driver: version of the driver, such as `570.124.06` or `570.x`; None with `gpu`: PTX is not judged.
        torch: version of the torch there, such as `2.10.0`; None with `gpu`: not judged.
        glibc: version of the C library there, such as `2.31`; None with `gpu`: not judged.
        store: directory of the store, for what torch versions export.
        index_url: package index for torch wheels whose exports are not known yet.
        offline: fetch nothing.
        listener: told of downloads.

    Raises:
        InvalidWheelError: the wheel cannot be read.
        UnknownGpuError, TargetError: no such GPU, driver version, or no GPU in this machine.
        NetworkError, SourceError, OfflineError: what `torch` exports cannot be found out.
    """
    from wheelsmith.advice import find_machine
    from wheelsmith.wheel import inspect_path, judge

    with _disk_full():
        machine = find_machine(
            gpu,
            driver,
            torch,
            glibc,
            store=_store(store),
            index_url=_index_url(index_url),
            offline=offline,
            listener=listener,
        )
        return judge(inspect_path(Path(path)), machine)


def advise(
    requirement: str,
    *,
    gpu: str | None = None,
    driver: str | None = None,
    python: str | None = None,
    recipes: Sequence[PathLike] = (),
    store: PathLike | None = None,
    index_url: str | None = None,
    offline: bool = False,
    listener: Listener = ignore,
) -> Advice:
    """Whether a package needs a source build on a machine, or its published wheel is enough.

    The wheel that pip would install is fetched into the store (once) and judged as `fits` does.

    Args:
        requirement: PEP 508, such as `vllm==0.15.1`; without a version the newest.
        gpu: see `fits`.
        driver: see `fits`.
        python: `major.minor`; default: the running interpreter's.
        recipes: directories whose recipes go before the shipped ones.
        store: directory of the store.
        index_url: package index that publishes the wheels; default: the clients' own configuration.
        offline: fetch nothing.
        listener: told of downloads.

    Raises:
        NetworkError, SourceError, OfflineError: the index does not answer, or has no such project.
        InvalidWheelError, UnknownGpuError, TargetError, UsageError: as `fits`.
    """
    from wheelsmith.advice import advise as give_advice
    from wheelsmith.advice import find_machine

    with _disk_full():
        common: dict[str, Any] = {
            "store": _store(store),
            "index_url": _index_url(index_url),
            "offline": offline,
            "listener": listener,
        }
        machine = find_machine(gpu, driver, None, None, **common)
        return give_advice(requirement, machine, gpu, python=python, book=_book(recipes), **common)


def publish(
    wheels: Sequence[PathLike],
    *,
    index: PathLike = DEFAULT_INDEX,
    variant: str | None = None,
    sha256: Mapping[str, str] | None = None,
    listener: Listener = ignore,
) -> tuple[Published, ...]:
    """Put wheels into the index at `index`: all of them or none.

    Args:
        wheels: paths of finished wheels.
        index: a directory, or `file:`, `s3://bucket/prefix`, `gs://…`, `az://…`.
        variant: the path that shows them, such as `cu128-torch2.9`; default: what each wheel's own metadata tell.
        sha256: expected digests, by file name.
        listener: told of every step.

    Raises:
        InvalidWheelError: one is no valid wheel.
        HashMismatchError: one has another digest than expected.
        IndexConflictError: the index holds other bytes under the same name.
    """
    from wheelsmith.index import publish as publish_wheels

    with _disk_full():
        paths = [Path(wheel) for wheel in wheels]
        published = publish_wheels(paths, index, variant=variant, sha256=sha256, listener=listener)
        _show_people(index)
        return published


def index_list(project: str | None = None, *, index: PathLike = DEFAULT_INDEX) -> tuple[ProjectRecord, ...]:
    """What the index holds, by project.

    Raises:
        UsageError: there is no such project.
    """
    from wheelsmith.index import list_records

    return list_records(index, project)


def index_verify(*, index: PathLike = DEFAULT_INDEX, repair: bool = False, listener: Listener = ignore) -> Verification:
    """Read every file of the index, compare every page with the records, and with `repair` mend what is wrong.

    Raises:
        StoreError: a record is damaged, or the storage fails.
    """
    from wheelsmith.index import verify

    with _disk_full():
        return verify(index, repair=repair, listener=listener)


def index_yank(
    what: str, *, index: PathLike = DEFAULT_INDEX, reason: str = "", dry_run: bool = False
) -> tuple[Entry, ...]:
    """Yank files (PEP 592): `name`, `name==version` or a file name. Returns those whose state changes.

    Raises:
        UsageError: the index has nothing of this name.
    """
    from wheelsmith.index import yank

    changed = yank(index, what, reason=reason, dry_run=dry_run)
    if not dry_run:
        _show_people(index)
    return changed


def index_unyank(what: str, *, index: PathLike = DEFAULT_INDEX, dry_run: bool = False) -> tuple[Entry, ...]:
    """Take `index_yank` back.

    Raises:
        UsageError: the index has nothing of this name.
    """
    from wheelsmith.index import yank

    changed = yank(index, what, reason=None, dry_run=dry_run)
    if not dry_run:
        _show_people(index)
    return changed


def index_status(
    project: str,
    status: Literal["active", "archived", "deprecated", "quarantined"],
    *,
    index: PathLike = DEFAULT_INDEX,
    reason: str | None = None,
    dry_run: bool = False,
) -> ProjectRecord:
    """Set a project's status (PEP 792), and return its record as it was.

    Raises:
        UsageError: there is no such project or status.
    """
    from wheelsmith.index import set_status

    changed = set_status(index, project, status, reason=reason, dry_run=dry_run)
    if not dry_run:
        _show_people(index)
    return changed


def index_gc(
    *,
    index: PathLike = DEFAULT_INDEX,
    newest: int | None = None,
    days: float | None = None,
    publication_days: float | None = None,
    dry_run: bool = False,
) -> Collected:
    """Remove published files that no rule keeps and no publication pins, and what interrupted uploads left.

    Args:
        index: the index.
        newest: keep the newest so many versions of each project and variant.
        days: keep what is younger than so many days.
        publication_days: drop publication paths that are older than so many days; default: keep all.
        dry_run: only say what would go.
    """
    from wheelsmith.index import Rules, collect

    collected = collect(index, Rules(newest, days, publication_days), dry_run=dry_run)
    if not dry_run:
        _show_people(index)
    return collected


def index_rm(
    what: str, *, index: PathLike = DEFAULT_INDEX, force: bool = False, dry_run: bool = False
) -> tuple[Entry, ...]:
    """Delete files: `name`, `name==version` or a file name. Their names stay taken.

    Raises:
        UsageError: the index has nothing of this name.
        IndexConflictError: a publication pins one of them, and `force` was not given.
    """
    from wheelsmith.index import remove

    changed = remove(index, what, force=force, dry_run=dry_run)
    if not dry_run:
        _show_people(index)
    return changed


def index_rebuild(*, index: PathLike = DEFAULT_INDEX, dry_run: bool = False) -> tuple[str, ...]:
    """Write all pages again from the stored files, and return the keys of those that changed.

    Raises:
        StoreError: a record is damaged, or the storage fails.
    """
    from wheelsmith.index import rebuild

    with _disk_full():
        changed = rebuild(index, dry_run=dry_run)
        if not dry_run:
            _show_people(index)
        return changed


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


def _show_people(index: PathLike, projects: Sequence[str] | None = None) -> None:
    """Bring the pages for people up to date; a bucket has none."""
    from wheelsmith.index import local_directory
    from wheelsmith.index.people import render

    if (directory := local_directory(index)) is not None and directory.is_dir():
        render(directory, projects=projects)


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


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
