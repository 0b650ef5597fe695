"""The documents by name, and the JSON Schema of each.

In: a name. Out: a schema (draft 2020-12) as JSON values. Fails with `UsageError` for a name that is none.
"""

from __future__ import annotations

from typing_extensions import is_typeddict

from wheelsmith.documents import builds, indexes, machines, plans, recipes, wheels
from wheelsmith.documents.builds import BuildDocument, FetchDocument, RebuildDocument, TimelineDocument
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
from wheelsmith.documents.plans import PlanDocument
from wheelsmith.documents.recipes import BumpDocument, LockDocument, MirrorDocument, RecipesDocument
from wheelsmith.documents.wheels import AdviceDocument, FitsDocument, InspectDocument, VerifyDocument
from wheelsmith.errors import UsageError, did_you_mean

#: One JSON value.
JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

#: Every document by its name, which is the command's with `-` for spaces.
DOCUMENTS: dict[str, type] = {
    "advise": AdviceDocument,
    "build": BuildDocument,
    "doctor": DoctorDocument,
    "error": ErrorDocument,
    "explain": ExplainDocument,
    "fetch": FetchDocument,
    "fits": FitsDocument,
    "gpus": GpusDocument,
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
    "plan": PlanDocument,
    "publish": PublishDocument,
    "rebuild": RebuildDocument,
    "recipes-bump": BumpDocument,
    "recipes-list": RecipesDocument,
    "recipes-lock": LockDocument,
    "recipes-mirror": MirrorDocument,
    "timeline": TimelineDocument,
    "try": TryDocument,
    "verify": VerifyDocument,
}

#: Any of them.
Document = (
    AdviceDocument
    | BuildDocument
    | BumpDocument
    | ClientConfigDocument
    | DoctorDocument
    | EngineDocument
    | ErrorDocument
    | ExplainDocument
    | FetchDocument
    | FilesDocument
    | FitsDocument
    | GpusDocument
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
    | MirrorDocument
    | PlanDocument
    | PublishDocument
    | RebuildDocument
    | RecipesDocument
    | RenderDocument
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
    from pydantic import ConfigDict, TypeAdapter

    if name not in DOCUMENTS:
        raise UsageError(f"There is no document {name!r}.", did_you_mean(name, DOCUMENTS))
    for module in (builds, indexes, machines, plans, recipes, wheels):
        for value in vars(module).values():
            if is_typeddict(value):
                value.__pydantic_config__ = ConfigDict(use_attribute_docstrings=True)
    made = TypeAdapter(DOCUMENTS[name]).json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_untitled(made)}


def _untitled(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Without the titles that only repeat the keys of properties."""
    return {
        key: {name: _without_title(value) for name, value in item.items()}
        if key == "properties" and isinstance(item, dict)
        else {name: _untitled(value) for name, value in item.items() if isinstance(value, dict)}
        if key == "$defs" and isinstance(item, dict)
        else item
        for key, item in schema.items()
    }


def _without_title(value: JsonValue) -> JsonValue:
    return {key: item for key, item in value.items() if key != "title"} if isinstance(value, dict) else value
