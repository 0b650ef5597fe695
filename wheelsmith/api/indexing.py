"""Put wheels into an index, look after it, and try an install from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wheelsmith.api.defaults import DEFAULT_INDEX, PathLike, book, disk_full, show_people
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.index.entry import Entry
    from wheelsmith.index.manage import Collected
    from wheelsmith.index.publish import Published, Unusual
    from wheelsmith.index.record import ProjectRecord
    from wheelsmith.index.smoke_test import TryoutResult
    from wheelsmith.index.verify import IndexVerification


def publish(
    wheels: Sequence[PathLike],
    *,
    index: PathLike = DEFAULT_INDEX,
    variant: str | None = None,
    sha256: Mapping[str, str] | None = None,
    wheel_variants: bool = False,
    overlap: bool = False,
    listener: Listener = ignore,
) -> tuple[Published, ...]:
    """Put wheels into the index at `index`: all of them or none.

    Args:
        wheels: paths of finished wheels.
        index: a directory, or `file:`, `s3://bucket/prefix`, `gs://…`, `az://…`.
        variant: the path that shows them, such as `cu128-torch2.9`; default: what each wheel's own metadata tell.
        sha256: expected digests, by file name.
        wheel_variants: also take wheels with a variant label in their names (a draft); `/variants/simple/` shows them.
        overlap: also take wheels for tags that another wheel of their version serves already.
        listener: told of every step.

    Raises:
        InvalidWheelError: one is no valid wheel.
        HashMismatchError: one has another digest than expected.
        IndexConflictError: the index holds other bytes under the same name, however spelled; or a wheel for the same
            tags, and `overlap` was not given.
    """
    from wheelsmith.index.metadata import project_of
    from wheelsmith.index.publish import publish as publish_wheels

    with disk_full():
        paths = [Path(wheel) for wheel in wheels]
        accept: list[Unusual] = ["wheel variants"] if wheel_variants else []
        accept += ["overlap"] if overlap else []
        published = publish_wheels(paths, index, variant=variant, sha256=sha256, accept=accept, listener=listener)
        show_people(index, [project_of(path.name) for path in paths])
        return published


def index_list(project: str | None = None, *, index: PathLike = DEFAULT_INDEX) -> tuple[ProjectRecord, ...]:
    """What the index holds, by project.

    Raises:
        UsageError: there is no such project.
    """
    from wheelsmith.index.manage import list_records

    return list_records(index, project)


def index_verify(
    *, index: PathLike = DEFAULT_INDEX, repair: bool = False, listener: Listener = ignore
) -> IndexVerification:
    """Read every file of the index, compare every page with the records, and with `repair` mend what is wrong.

    Raises:
        StoreError: a record is damaged, or the storage fails.
    """
    from wheelsmith.index.verify import verify

    with disk_full():
        return verify(index, repair=repair, listener=listener)


def index_yank(
    what: str, *, index: PathLike = DEFAULT_INDEX, reason: str = "", dry_run: bool = False
) -> tuple[Entry, ...]:
    """Yank files (PEP 592): `name`, `name==version` or a file name. Returns those whose state changes.

    Raises:
        UsageError: the index has nothing of this name.
    """
    from wheelsmith.index.manage import yank

    changed = yank(index, what, reason=reason, dry_run=dry_run)
    if not dry_run:
        show_people(index, [entry.project for entry in changed])
    return changed


def index_unyank(what: str, *, index: PathLike = DEFAULT_INDEX, dry_run: bool = False) -> tuple[Entry, ...]:
    """Take `index_yank` back.

    Raises:
        UsageError: the index has nothing of this name.
    """
    from wheelsmith.index.manage import yank

    changed = yank(index, what, reason=None, dry_run=dry_run)
    if not dry_run:
        show_people(index, [entry.project for entry in changed])
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
    from wheelsmith.index.manage import set_status

    changed = set_status(index, project, status, reason=reason, dry_run=dry_run)
    if not dry_run:
        show_people(index, [changed.project])
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
    from wheelsmith.index.manage import collect
    from wheelsmith.index.retention import Rules

    collected = collect(index, Rules(newest, days, publication_days), dry_run=dry_run)
    if not dry_run:
        show_people(index)
    return collected


def index_rm(
    what: str, *, index: PathLike = DEFAULT_INDEX, force: bool = False, dry_run: bool = False
) -> tuple[Entry, ...]:
    """Delete files: `name`, `name==version` or a file name. Their names stay taken.

    Raises:
        UsageError: the index has nothing of this name.
        IndexConflictError: a publication pins one of them, and `force` was not given.
    """
    from wheelsmith.index.manage import remove

    changed = remove(index, what, force=force, dry_run=dry_run)
    if not dry_run:
        show_people(index, [entry.project for entry in changed])
    return changed


def index_rebuild(*, index: PathLike = DEFAULT_INDEX, dry_run: bool = False) -> tuple[str, ...]:
    """Write all pages again from the stored files, and return the keys of those that changed.

    Raises:
        StoreError: a record is damaged, or the storage fails.
    """
    from wheelsmith.index.verify import rebuild

    with disk_full():
        changed = rebuild(index, dry_run=dry_run)
        if not dry_run:
            show_people(index)
        return changed


def try_install(
    requirement: str,
    *,
    index: PathLike = DEFAULT_INDEX,
    imports: Sequence[str] = (),
    python: str | None = None,
    environment: Literal["isolated", "current"] = "isolated",
    recipes: Sequence[PathLike] = (),
    listener: Listener = ignore,
) -> TryoutResult:
    """Install from the index with pip into an empty environment, import, and remove the environment again.

    Where there is a GPU and the package's recipe has a smoke test, that runs as well.

    Args:
        requirement: such as `cuvec==6.0.1+cu130`; or the path of a wheel that is not published.
        index: the index's directory.
        imports: modules to import; default: those that the package's recipe names, if there is one.
        python: `major.minor`; default: the running interpreter's.
        environment: `isolated`, or `current`: what the wheel depends on is taken from the running interpreter's
            packages, and nothing but the wheel is installed; needs no network.
        recipes: directories whose recipes go before the shipped ones.
        listener: told of every step.

    Raises:
        InstallError: pip fails, an import does, or the smoke test; with `current`, a requirement is not met.
        UsageError: `current` with another Python than the running one.
    """

    from packaging.requirements import InvalidRequirement, Requirement

    from wheelsmith.errors import UnknownPackageError, UsageError
    from wheelsmith.index.smoke_test import try_install as try_it
    from wheelsmith.toolchain.python import find_interpreter, running_python

    if environment == "current" and python not in (None, running_python()):
        raise UsageError(
            f"--env current has the packages of Python {running_python()}, not of {python}.",
            "Leave --python away, or run wheelsmith with that Python.",
        )
    if requirement.endswith(".whl"):
        with _index_of(Path(requirement)) as (name, place):
            return try_install(
                name,
                index=place,
                imports=imports,
                python=python,
                environment=environment,
                recipes=recipes,
                listener=listener,
            )
    try:
        name = Requirement(requirement).name
    except InvalidRequirement as error:
        raise UsageError(
            f"{requirement!r} is not a requirement (PEP 508).", "Write it as in cuvec==6.0.1+cu130."
        ) from error
    smoke = ""
    with suppress(UnknownPackageError):
        wheel = book(recipes).find(name)[0].recipe.wheel
        imports = imports or wheel.imports
        smoke = wheel.smoke if wheel.smoke is not None and _has_gpu() else ""
    return try_it(
        requirement,
        Path(index).absolute(),
        python=None if environment == "current" else find_interpreter(python or running_python()).executable,
        imports=imports,
        smoke=smoke,
        listener=listener,
    )


def _has_gpu() -> bool:
    from wheelsmith.errors import TargetError
    from wheelsmith.gpu.machine import gpus_here

    try:
        return bool(gpus_here().gpus)
    except TargetError:
        return False


@contextmanager
def _index_of(wheel: Path) -> Iterator[tuple[str, Path]]:
    """A wheel that no index has, as a requirement, and an index of its own."""
    import tempfile

    from packaging.utils import parse_wheel_filename

    from wheelsmith.errors import UsageError
    from wheelsmith.index.publish import publish as publish_wheels

    if not wheel.is_file():
        raise UsageError(f"There is no wheel {str(wheel)!r}.", "Name a wheel that is there, or what an index has.")
    with tempfile.TemporaryDirectory(prefix="wheelsmith-try-") as directory:
        place = Path(directory) / "index"
        publish_wheels([wheel], place, listener=ignore)
        name, version, _, _ = parse_wheel_filename(wheel.name)
        yield f"{name}=={version}", place


def where(index: PathLike) -> Path | str:
    """An index as it was given: a path of `s3://…` would lose a slash."""
    return index if isinstance(index, str) else Path(index)
