"""Variant wheels: a label behind the platform tag, and `variants.json`, which tells what labels mean.

In: a file name, `variant.json` of a wheel, or those of all variants of a version. Out: the plain name and the label,
the checked object, or the content of `{name}-{version}-variants.json`. Fails with `InvalidWheelError` on what is no
such object, and with `IndexConflictError` where wheels of one version contradict each other.

The formats are drafts (PEP 825, PEP 850, schema v0.2.0), and clients take them in previews only. Here that is what uv
0.13 reads with `--preview-features wheel-variants`. pip and `packaging` know no such file names, so these wheels are
published only if that was asked for, and shown only under `/variants/simple/` and by their publications.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from wheelsmith.errors import IndexConflictError, InvalidWheelError
from wheelsmith.schema import matching, read_json, told

if TYPE_CHECKING:
    from collections.abc import Iterable

PLACE = "variants"
MAX_BYTES = 1 << 16
_LABELLED = re.compile(r"((?:[^-]+-){2}(?:\d[^-]*-)?(?:[^\d-][^-]*-)[^-]+-[^-]+)-([0-9a-z._]{1,16})\.whl")
_REMEDY = "Make it again, as with `variantlib make-variant`."

_Word = Annotated[str, matching("[a-z0-9_]+", "lower-case letters, digits, _")]
_Value = Annotated[str, matching("[a-z0-9_.]+", "lower-case letters, digits, _ and .")]


class _Priorities(Struct, frozen=True):
    namespace: list[_Word]


class _Info(Struct, frozen=True, kw_only=True):
    default_priorities: _Priorities = field(name="default-priorities")
    providers: dict[_Word, dict[str, Any]] = field(default_factory=dict)
    variants: Annotated[
        dict[str, dict[_Word, dict[_Word, Annotated[list[_Value], Meta(min_length=1)]]]], Meta(min_length=1)
    ]


def split_name(filename: str) -> tuple[str, str | None]:
    """Return a wheel's file name without its variant label, and the label, or None if it has none.

    >>> split_name("pkg-1.0-cp312-cp312-linux_x86_64-cu13.whl")
    ('pkg-1.0-cp312-cp312-linux_x86_64.whl', 'cu13')
    """
    match = _LABELLED.fullmatch(filename)
    return (filename, None) if match is None else (f"{match[1]}.whl", match[2])


def read_info(data: bytes, filename: str, label: str) -> dict[str, Any]:
    """Check `variant.json` of a wheel with this label, and return it.

    Raises:
        InvalidWheelError: it is no variant metadata, or that of another label.
    """
    try:
        if len(data) > MAX_BYTES:
            raise InvalidWheelError(f"{filename} has a variant.json of {len(data)} bytes.", _REMEDY)
        read_json(_Info, data)
        info = {"default-priorities": {}, "providers": {}, "variants": {}, **read_json(dict[str, Any], data)}
    except msgspec.ValidationError as error:
        raise InvalidWheelError(f"{filename} has no usable variant.json: {told(error)}.", _REMEDY) from error
    if set(info["variants"]) != {label}:
        stated = ", ".join(info["variants"])
        raise InvalidWheelError(f"{filename} says in variant.json that it is {stated!r}, not {label!r}.", _REMEDY)
    return info


def merge(infos: Iterable[dict[str, Any]], what: str) -> dict[str, Any]:
    """Return `variants.json` of one version, from `variant.json` of each of its wheels; `what` names it in errors.

    Raises:
        IndexConflictError: they name other properties for a label, other providers, or another order of namespaces.
    """
    merged: dict[str, Any] = {}
    for info in infos:
        if not merged:
            merged = {**info, "variants": dict(info["variants"]), "providers": dict(info["providers"])}
            continue
        for part in ("variants", "providers"):
            for name, value in info[part].items():
                if merged[part].setdefault(name, value) != value:
                    raise _contradiction(what, f"{part}.{name}")
        if info["default-priorities"] != merged["default-priorities"]:
            raise _contradiction(what, "default-priorities")
    merged["variants"] = dict(sorted(merged["variants"].items()))
    return merged


def _contradiction(what: str, where: str) -> IndexConflictError:
    return IndexConflictError(
        f"The variant wheels of {what} contradict each other: {where} differs.",
        "Give them the same providers, priorities and labels.",
    )
