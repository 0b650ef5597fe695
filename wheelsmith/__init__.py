"""wheelsmith: compile CUDA packages into wheels proved to run natively on your GPUs, and publish them.

This is the API: what the command line calls, and what a program may call. Every function raises a subclass of
`wheelsmith.errors.WheelsmithError` (with `cause`, `remedy` and `exit_code`) for everything that can be expected to go
wrong, and tells what it does through `listener` (see `wheelsmith.events`).

>>> import wheelsmith
>>> wheelsmith.plan("vllm==0.15.1", gpu="RTX 5090,A40").target.archs.torch
'8.6;12.0'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wheelsmith.api.building import build, fetch, plan, rebuild
    from wheelsmith.api.defaults import DEFAULT_INDEX
    from wheelsmith.api.diagnosis import explain
    from wheelsmith.api.images import (
        build_in_container,
        choose_place,
        image_build,
        image_parts,
        image_push,
        image_render,
        image_sizes,
    )
    from wheelsmith.api.indexing import (
        client_config,
        index_gc,
        index_list,
        index_rebuild,
        index_rm,
        index_serve,
        index_status,
        index_token_create,
        index_token_revoke,
        index_tokens,
        index_unyank,
        index_verify,
        index_yank,
        publish,
        try_install,
    )
    from wheelsmith.api.machine import doctor, gpus
    from wheelsmith.api.recipes import recipe_bump, recipe_lock, recipe_mirror, recipe_schema, recipes
    from wheelsmith.api.timeline import timeline
    from wheelsmith.api.wheels import advise, fits, inspect, verify

#: Where each name is; it is imported when it is first asked for, so that `import wheelsmith` costs nothing.
_MODULES = {
    "wheelsmith.api.building": (
        "build",
        "fetch",
        "plan",
        "rebuild",
    ),
    "wheelsmith.api.defaults": ("DEFAULT_INDEX",),
    "wheelsmith.api.diagnosis": ("explain",),
    "wheelsmith.api.images": (
        "build_in_container",
        "choose_place",
        "image_build",
        "image_parts",
        "image_push",
        "image_render",
        "image_sizes",
    ),
    "wheelsmith.api.indexing": (
        "client_config",
        "index_gc",
        "index_list",
        "index_rebuild",
        "index_rm",
        "index_serve",
        "index_status",
        "index_token_create",
        "index_token_revoke",
        "index_tokens",
        "index_unyank",
        "index_verify",
        "index_yank",
        "publish",
        "try_install",
    ),
    "wheelsmith.api.machine": (
        "doctor",
        "gpus",
    ),
    "wheelsmith.api.recipes": (
        "recipe_bump",
        "recipe_lock",
        "recipe_mirror",
        "recipe_schema",
        "recipes",
    ),
    "wheelsmith.api.timeline": ("timeline",),
    "wheelsmith.api.wheels": (
        "advise",
        "fits",
        "inspect",
        "verify",
    ),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DEFAULT_INDEX",
    "advise",
    "build",
    "build_in_container",
    "choose_place",
    "client_config",
    "doctor",
    "explain",
    "fetch",
    "fits",
    "gpus",
    "image_build",
    "image_parts",
    "image_push",
    "image_render",
    "image_sizes",
    "index_gc",
    "index_list",
    "index_rebuild",
    "index_rm",
    "index_serve",
    "index_status",
    "index_token_create",
    "index_token_revoke",
    "index_tokens",
    "index_unyank",
    "index_verify",
    "index_yank",
    "inspect",
    "plan",
    "publish",
    "rebuild",
    "recipe_bump",
    "recipe_lock",
    "recipe_mirror",
    "recipe_schema",
    "recipes",
    "timeline",
    "try_install",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
