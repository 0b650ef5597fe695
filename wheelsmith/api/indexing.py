"""Put wheels into an index, look after it, and try an install from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wheelsmith.api.defaults import DEFAULT_INDEX, PathLike, book, disk_full, show_people
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.index.entry import Entry
    from wheelsmith.index.manage import Collected
    from wheelsmith.index.publish import Published
    from wheelsmith.index.record import ProjectRecord
    from wheelsmith.index.smoke_test import TryoutResult
    from wheelsmith.index.verify import Verification


def publish(
    wheels: Sequence[PathLike],
    *,
    index: PathLike = DEFAULT_INDEX,
    variant: str | None = None,
    sha256: Mapping[str, str] | None = None,
    wheel_variants: bool = False,
    listener: Listener = ignore,
) -> tuple[Published, ...]:
    """Put wheels into the index at `index`: all of them or none.

    Args:
        wheels: paths of finished wheels.
        index: a directory, or `file:`, `s3://bucket/prefix`, `gs://…`, `az://…`.
        variant: the path that shows them, such as `cu128-torch2.9`; default: what each wheel's own metadata tell.
        sha256: expected digests, by file name.
        wheel_variants: also take wheels with a variant label in their names (a draft); `/variants/simple/` shows them.
        listener: told of every step.

    Raises:
        InvalidWheelError: one is no valid wheel.
        HashMismatchError: one has another digest than expected.
        IndexConflictError: the index holds other bytes under the same name.
    """
    from wheelsmith.index.publish import publish as publish_wheels

    with disk_full():
        paths = [Path(wheel) for wheel in wheels]
        published = publish_wheels(
            paths, index, variant=variant, sha256=sha256, wheel_variants=wheel_variants, listener=listener
        )
        show_people(index)
        return published


def index_list(project: str | None = None, *, index: PathLike = DEFAULT_INDEX) -> tuple[ProjectRecord, ...]:
    """What the index holds, by project.

    Raises:
        UsageError: there is no such project.
    """
    from wheelsmith.index.manage import list_records

    return list_records(index, project)


def index_verify(*, index: PathLike = DEFAULT_INDEX, repair: bool = False, listener: Listener = ignore) -> Verification:
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
        show_people(index)
    return changed


def index_unyank(what: str, *, index: PathLike = DEFAULT_INDEX, dry_run: bool = False) -> tuple[Entry, ...]:
    """Take `index_yank` back.

    Raises:
        UsageError: the index has nothing of this name.
    """
    from wheelsmith.index.manage import yank

    changed = yank(index, what, reason=None, dry_run=dry_run)
    if not dry_run:
        show_people(index)
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
        show_people(index)
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
        show_people(index)
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
    from wheelsmith.index.smoke_test import try_install as try_it
    from wheelsmith.toolchain.python import find_interpreter, running_python

    try:
        name = Requirement(requirement).name
    except InvalidRequirement as error:
        raise UsageError(
            f"{requirement!r} is not a requirement (PEP 508).", "Write it as in cuvec==6.0.1+cu130."
        ) from error
    if not imports:
        try:
            imports = book(()).find(name)[0].recipe.wheel.imports
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
