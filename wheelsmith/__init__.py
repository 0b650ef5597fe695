"""wheelsmith: compile CUDA packages into wheels proved to run natively on your GPUs, and publish them.

This is the API: what the command line calls, and what a program may call. Every function raises a subclass of
`wheelsmith.errors.WheelsmithError` (with `cause`, `remedy` and `exit_code`) for everything that can be expected to go
wrong, and tells what it does through `listener` (see `wheelsmith.events`).

>>> import wheelsmith
>>> wheelsmith.plan("vllm==0.15.1", gpu="RTX 5090,A40").target.archs.torch
'8.6;12.0'
"""

from __future__ import annotations

# Imported first, so that the function `plan` below is what `wheelsmith.plan` means afterwards: importing a submodule
# for the first time binds its name in the package.
import wheelsmith.plan  # noqa: F401
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
    index_gc,
    index_list,
    index_rebuild,
    index_rm,
    index_status,
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

__all__ = [
    "DEFAULT_INDEX",
    "advise",
    "build",
    "build_in_container",
    "choose_place",
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
    "index_status",
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
