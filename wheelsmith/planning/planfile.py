"""A plan read back from JSON, so that a build can be repeated after its recipe has changed.

In: what `Plan.to_dict` gave, its digest, and the lock. Out: the same `Plan`, or a `VerificationError` that names the
first place that is not as it should be. The text comes from outside: a plan is accepted only when writing it again
gives exactly what was read and the same digest, and when every path lies below the canonical one. `gpus`, which only
inform, are not read back.
"""

from __future__ import annotations

import dataclasses
import hashlib
import types
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args, get_type_hints

from msgspec import ValidationError

from wheelsmith.errors import UnknownGpuError, VerificationError
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.planning.model import CANONICAL, SCHEMA_VERSION, Patch, Plan, Source, Tree
from wheelsmith.recipe.lockfile import lock_flaw
from wheelsmith.schema import read, told

T = TypeVar("T")

_REMEDY = "Get the provenance again, or use the version of wheelsmith that wrote it."
_DERIVED = ("schema_version", "lock_sha256", "pins")


def read_plan(data: Mapping[str, Any], digest: str, lock: str | None) -> Plan:
    """The plan that `data` describes.

    Args:
        data: JSON values.
        digest: the digest that the plan must have.
        lock: the hash-locked requirements that were installed. It becomes the plan's only if the plan had a lock.

    Raises:
        VerificationError: it is no plan of this version, or it contradicts its digest, the lock or itself.
    """
    if data.get("schema_version") != SCHEMA_VERSION:
        raise VerificationError(f"The plan has the schema version {data.get('schema_version')!r}.", _REMEDY)
    locked = data.get("lock_sha256")
    if locked is not None and (lock is None or hashlib.sha256(lock.encode()).hexdigest() != locked):
        raise VerificationError("The lock is not the one that the plan names.", _REMEDY)
    if lock is not None and (flaw := lock_flaw(lock)) is not None:
        raise VerificationError(f"Line {flaw.line} of the lock is not taken: {flaw.why}.", _REMEDY)
    plain = {key: value for key, value in data.items() if key not in _DERIVED}
    try:
        target = dict(plain["target"]) | {"gpus": []}
        target["archs"] = dataclasses.asdict(ArchSet.parse(target["archs"]))
        fields = plain | {"target": target, "lock": lock if locked is not None else None}
        fields["promises"] = [
            _with_archs(rule) | {"lacks": [_with_archs(lack) for lack in rule.get("lacks", [])]}
            for rule in plain["promises"]
        ]
        fields["limits"] = plain["limits"] | {"forbidden": [_arch(text) for text in plain["limits"]["forbidden"]]}
        for name in ("environment", "config_settings", "options"):
            fields[name] = sorted(plain[name].items())
        plan = _plan(fields)
    except (KeyError, TypeError, ValueError, AttributeError, UnknownGpuError) as error:
        raise _no_plan(f"{type(error).__name__}: {error}") from error
    for path in _paths(plan):
        if not path.startswith(f"{CANONICAL}/") or ".." in path.split("/"):
            raise _no_plan(f"the path {path!r} is not below {CANONICAL}")
    again = plan.to_dict()
    if again | {"target": again["target"] | {"gpus": data["target"].get("gpus")}} != data:
        raise _no_plan("it has parts that this version of wheelsmith does not know")
    if plan.digest != digest:
        raise VerificationError(f"The plan's digest is {plan.digest}, not {digest}.", _REMEDY)
    return plan


def _plan(fields: Mapping[str, Any]) -> Plan:
    """Field by field, as msgspec takes no union of dataclasses."""
    made = {
        "source": _one_of(Source, "source", fields["source"]),
        "trees": tuple(
            Tree(
                _read(str, f"trees.{index}.name", tree["name"]),
                _one_of(Source, f"trees.{index}.source", tree["source"]),
                _read(str, f"trees.{index}.path", tree["path"]),
            )
            for index, tree in enumerate(fields["trees"])
        ),
        "patches": tuple(_one_of(Patch, f"patches.{index}", it) for index, it in enumerate(fields["patches"])),
    }
    hints = {name: hint for name, hint in get_type_hints(Plan).items() if name not in made}
    return Plan(**made, **{name: _read(hint, name, fields[name]) for name, hint in hints.items() if name in fields})


def _one_of(union: types.UnionType, place: str, value: Mapping[str, Any]) -> Any:
    """A member of a union, which says which one in `kind`."""
    kinds = {kind.__name__: kind for kind in get_args(union)}
    return _read(kinds[value["kind"]], place, value)


def _read(kind: type[T], place: str, value: object) -> T:
    try:
        return read(kind, value)
    except ValidationError as error:
        inner, _, phrase = told(error).partition(": ")
        raise _no_plan(f"{place}{'' if inner == 'it' else f'.{inner}'}: {phrase}") from error


def _with_archs(table: Mapping[str, Any]) -> dict[str, object]:
    archs = table.get("archs")
    return {**table, "archs": None if archs is None else [_arch(text) for text in archs]}


def _arch(text: str) -> dict[str, object]:
    return dataclasses.asdict(Arch.parse(text))


def _paths(plan: Plan) -> Iterator[str]:
    yield from (tree.path for tree in plan.trees)
    yield from (patch.path for patch in plan.patches)


def _no_plan(why: str) -> VerificationError:
    return VerificationError(f"The plan in the provenance cannot be used: {why}.", _REMEDY)
