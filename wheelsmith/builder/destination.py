"""Where a wheel is to go, looked at before the first compiler starts.

In: an index, a plan, and the key of its build. Out: nothing. Fails with `StoreError` (the index cannot be written),
`UsageError` (it is no index) and `IndexConflictError` (what is there already keeps this wheel out): as far as that can
be known before the wheel is there. Whether its bytes are those of a wheel of the same name is known at the end only.
"""

from __future__ import annotations

import json
import tempfile
from base64 import b64decode
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from wheelsmith.attest.provenance import SUFFIX
from wheelsmith.errors import IndexConflictError, StoreError
from wheelsmith.index.claim import claim_of
from wheelsmith.index.entry import Entry
from wheelsmith.index.location import local_directory, open_storage
from wheelsmith.index.storage import Storage
from wheelsmith.index.transactions import load
from wheelsmith.planning.model import Plan

_PROBE = ".wheelsmith/writable"


def check_writable(index: str | Path) -> None:
    """Refuse an index that cannot be written, by writing.

    Raises:
        UsageError, StoreError: see above.
    """
    storage, root = open_storage(index), local_directory(index)
    if root is None:
        storage.write(_PROBE, b"")
        storage.delete(_PROBE)
    elif root.is_dir():
        with storage.exclusive():
            return
    else:
        _check_parent(root)


def _check_parent(root: Path) -> None:
    """An index that is not there yet is made at the end only: a build that fails leaves nothing."""
    place = root
    while not place.exists() and not place.is_symlink():
        place = place.parent
    problem = "" if place.is_dir() else f"{place} is not a directory"
    try:
        if not problem:
            with tempfile.TemporaryFile(dir=place):
                return
    except OSError as error:
        problem = f"{place}: {error.strerror}"
    raise StoreError(
        f"The index {root} cannot be written: {problem}.", "Name a directory that you may write to with --index."
    )


def check_name(index: str | Path, plan: Plan, key: str) -> None:
    """Refuse a build whose wheel could not be published: the index has this version for the same Python, and it is not
    of this build.

    Raises:
        IndexConflictError: see above.
    """
    storage = open_storage(index)
    for entry in load(storage, plan.name).entries:
        if _in_the_way(entry, plan) and _stated(storage, entry).key != key:
            raise _taken(entry, plan, storage)


def find_published(index: str | Path, plan: Plan, digests: Collection[str]) -> Entry | None:
    """The wheel in the index that serves the plan's Python and was made for one of the plans with these digests, as the
    statement beside it tells; None: there is none.

    Raises:
        IndexConflictError: a wheel is in the way that is of none of these plans.
    """
    storage, other = open_storage(index), None
    for entry in load(storage, plan.name).entries:
        if _in_the_way(entry, plan):
            if _stated(storage, entry).plan_digest in digests:
                return entry
            other = entry
    if other is not None:
        raise _taken(other, plan, storage)
    return None


def _in_the_way(entry: Entry, plan: Plan) -> bool:
    """Whether a wheel would serve an environment that the plan's wheel will serve. Its tags are not known yet."""
    if Version(entry.version) != Version(plan.wheel_version) or entry.wheel_variant is not None:
        return False
    machine = plan.target.platform.partition("_")[2]
    major, minor = map(int, plan.target.python.split("."))
    for tag in claim_of(entry.filename).tags:
        digits = tag.interpreter.lstrip("cpy")
        serves = digits in {str(major), f"{major}{minor}"} or (
            tag.abi == "abi3" and digits[:1] == str(major) and int(digits[1:] or 0) <= minor
        )
        if serves and (tag.platform == "any" or tag.platform.endswith(machine)):
            return True
    return False


def _taken(entry: Entry, plan: Plan, storage: Storage) -> IndexConflictError:
    return IndexConflictError(
        f"The index {storage.url} has {entry.filename} already, which is not of this build: another plan"
        " or other tools made it, and a published file never changes.",
        "Publish this one elsewhere with --index; or, if nobody uses the other one, take it away first:"
        f" `wheelsmith index rm --force '{plan.requirement}' --index {storage.url}`.",
    )


@dataclass(frozen=True, slots=True)
class _Stated:
    """The key and the plan's digest of a build, as the statement beside its wheel tells them."""

    key: str | None = None
    plan_digest: str | None = None


def _stated(storage: Storage, entry: Entry) -> _Stated:
    """What a published statement tells; nothing, if there is none, it cannot be read, or is about other bytes."""
    stored = storage.read(f"{entry.path}{SUFFIX}")
    if stored is None:
        return _Stated()
    try:
        document = json.loads(stored.data)
        if "payload" in document:
            document = json.loads(b64decode(document["payload"]))
        if document["subject"][0]["digest"]["sha256"] != entry.sha256:
            return _Stated()
        predicate = document["predicate"]
        key = str(predicate["runDetails"]["metadata"]["invocationId"])
        return _Stated(key, str(predicate["buildDefinition"]["internalParameters"]["plan_digest"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        return _Stated()
