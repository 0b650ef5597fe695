"""The documents by name, and the JSON Schema of each.

In: a name. Out: a schema (draft 2020-12) as JSON values. Fails with `UsageError` for a name that is none.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import types
import typing
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import NotRequired, cast, get_args, get_origin, get_type_hints, is_typeddict

from wheelsmith.documents import builds, farms, indexes, machines, matrices, plans, recipes, wheels
from wheelsmith.documents.builds import BuildDocument, FetchDocument, RebuildDocument, TimelineDocument
from wheelsmith.documents.farms import FarmDocument, SimulationDocument
from wheelsmith.documents.indexes import (
    ClientConfigDocument,
    IndexChangeDocument,
    IndexExportDocument,
    IndexGcDocument,
    IndexLinksDocument,
    IndexListDocument,
    IndexRebuildDocument,
    IndexServeDocument,
    IndexStatusDocument,
    IndexVerifyDocument,
    PublishDocument,
    TokenDocument,
    TokensDocument,
)
from wheelsmith.documents.machines import (
    CompletionDocument,
    DoctorDocument,
    EngineDocument,
    ErrorDocument,
    ExplainDocument,
    FilesDocument,
    GpusDocument,
    ImageSizesDocument,
    RenderDocument,
    TryDocument,
)
from wheelsmith.documents.matrices import MatrixDocument
from wheelsmith.documents.plans import PlanDocument
from wheelsmith.documents.recipes import (
    BumpDocument,
    CatalogueDocument,
    CheckDocument,
    DraftDocument,
    LockDocument,
    MirrorDocument,
    RecipesDocument,
    RecipesStatusDocument,
    SupportDocument,
)
from wheelsmith.documents.wheels import AdviceDocument, FitsDocument, InspectDocument, VerifyDocument
from wheelsmith.errors import UsageError, did_you_mean

#: One JSON value.
JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

_PLAIN: dict[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
}

#: Every document by its name, which is the command's with `-` for spaces.
DOCUMENTS: dict[str, type] = {
    "advise": AdviceDocument,
    "build": BuildDocument,
    "doctor": DoctorDocument,
    "error": ErrorDocument,
    "explain": ExplainDocument,
    "farm-build": FarmDocument,
    "farm-simulate": SimulationDocument,
    "fetch": FetchDocument,
    "fits": FitsDocument,
    "gpus": GpusDocument,
    "completion": CompletionDocument,
    "image-build": EngineDocument,
    "image-parts": FilesDocument,
    "image-push": EngineDocument,
    "image-render": RenderDocument,
    "image-sizes": ImageSizesDocument,
    "index-client-config": ClientConfigDocument,
    "index-export": IndexExportDocument,
    "index-gc": IndexGcDocument,
    "index-links": IndexLinksDocument,
    "index-list": IndexListDocument,
    "index-rebuild": IndexRebuildDocument,
    "index-rm": IndexChangeDocument,
    "index-serve": IndexServeDocument,
    "index-status": IndexStatusDocument,
    "index-token-create": TokenDocument,
    "index-token-list": TokensDocument,
    "index-token-revoke": TokenDocument,
    "index-unyank": IndexChangeDocument,
    "index-verify": IndexVerifyDocument,
    "index-yank": IndexChangeDocument,
    "inspect": InspectDocument,
    "matrix": MatrixDocument,
    "plan": PlanDocument,
    "publish": PublishDocument,
    "rebuild": RebuildDocument,
    "recipes-bump": BumpDocument,
    "recipes-catalogue": CatalogueDocument,
    "recipes-check": CheckDocument,
    "recipes-list": RecipesDocument,
    "recipes-lock": LockDocument,
    "recipes-mirror": MirrorDocument,
    "recipes-new": DraftDocument,
    "recipes-status": RecipesStatusDocument,
    "recipes-support": SupportDocument,
    "timeline": TimelineDocument,
    "try": TryDocument,
    "verify": VerifyDocument,
}

#: Any of them.
Document = (
    AdviceDocument
    | BuildDocument
    | BumpDocument
    | CatalogueDocument
    | CheckDocument
    | ClientConfigDocument
    | DoctorDocument
    | DraftDocument
    | EngineDocument
    | ErrorDocument
    | ExplainDocument
    | FarmDocument
    | FetchDocument
    | FilesDocument
    | FitsDocument
    | GpusDocument
    | CompletionDocument
    | ImageSizesDocument
    | IndexChangeDocument
    | IndexExportDocument
    | IndexGcDocument
    | IndexLinksDocument
    | IndexListDocument
    | IndexRebuildDocument
    | IndexServeDocument
    | IndexStatusDocument
    | IndexVerifyDocument
    | InspectDocument
    | LockDocument
    | MatrixDocument
    | MirrorDocument
    | PlanDocument
    | PublishDocument
    | RebuildDocument
    | RecipesDocument
    | RecipesStatusDocument
    | RenderDocument
    | SimulationDocument
    | SupportDocument
    | TimelineDocument
    | TokenDocument
    | TokensDocument
    | TryDocument
    | VerifyDocument
)


def document_schema(name: str) -> dict[str, JsonValue]:
    """The JSON Schema (draft 2020-12) of a document.

    Raises:
        UsageError: no document has this name.
    """
    if name not in DOCUMENTS:
        raise UsageError(f"There is no document {name!r}.", did_you_mean(name, DOCUMENTS))
    shapes: dict[str, dict[str, JsonValue]] = {}
    _schema(DOCUMENTS[name], shapes)
    top = DOCUMENTS[name].__name__
    others = {key: value for key, value in shapes.items() if key != top or f"/{top}'" in repr(shapes)}
    made: dict[str, JsonValue] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **shapes[top]}
    return made | ({"$defs": {key: others[key] for key in sorted(others)}} if others else {})


def _schema(kind: object, shapes: dict[str, dict[str, JsonValue]]) -> dict[str, JsonValue]:
    """The schema of what a shape may consist of; the shapes in it are added to `shapes`."""
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if is_typeddict(kind):
        shape = cast("type", kind)
        if shape.__name__ not in shapes:
            shapes[shape.__name__] = {}  # so that a shape may hold itself
            shapes[shape.__name__].update(_shape(shape, shapes))
        return {"$ref": f"#/$defs/{shape.__name__}"}
    inside = get_args(kind)
    match get_origin(kind):
        case typing.Literal:
            return {"type": "string"} | ({"const": inside[0]} if len(inside) == 1 else {"enum": list(inside)})
        case builtins.list:
            return {"type": "array", "items": _schema(inside[0], shapes)}
        case builtins.dict:
            return {"type": "object", "additionalProperties": inside[1] is object or _schema(inside[1], shapes)}
        case typing.Union | types.UnionType:
            return {"anyOf": [_schema(item, shapes) for item in inside]}
    raise TypeError(f"{kind} is nothing that a document holds")


def _shape(shape: type, shapes: dict[str, dict[str, JsonValue]]) -> dict[str, JsonValue]:
    about = _descriptions().get(shape.__name__, {})
    properties: dict[str, JsonValue] = {}
    required: list[JsonValue] = []
    for key, hint in get_type_hints(shape, include_extras=True).items():
        left_out = get_origin(hint) is NotRequired
        properties[key] = _schema(get_args(hint)[0] if left_out else hint, shapes) | (
            {"description": about[key]} if key in about else {}
        )
        required += [] if left_out else [key]
    made: dict[str, JsonValue] = {"description": inspect.cleandoc(shape.__doc__)} if shape.__doc__ else {}
    made |= {"properties": properties, "required": required, "title": shape.__name__, "type": "object"}
    return made


@cache
def _descriptions() -> dict[str, dict[str, str]]:
    """What the text below a key says of it, by shape and key. It is in the source only: Python does not keep it."""
    found: dict[str, dict[str, str]] = {}
    for module in (builds, farms, indexes, machines, matrices, plans, recipes, wheels):
        for shape in ast.parse(inspect.getsource(module)).body:
            if isinstance(shape, ast.ClassDef):
                bases = [found.get(base.id, {}) for base in shape.bases if isinstance(base, ast.Name)]
                found[shape.name] = {key: text for base in bases for key, text in base.items()} | dict(_texts(shape))
    return found


def _texts(shape: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for key, below in pairwise(shape.body):
        match key, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
