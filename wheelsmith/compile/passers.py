"""Who passes an option that nvcc or the C++ compiler refuses: that decides what to do about it.

In: what a failed build's log says, and the plan. Out: the same, with a remedy for who passes the option: the recipe, by
the place in it, or the package's own build. Nothing fails.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from wheelsmith.planning.model import DiffPatch, EditPatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.diagnostics.diagnose import Explanation
    from wheelsmith.planning.model import Plan

_UNKNOWN, _OTHERS = "nvcc-option", ("nvcc-arguments", "compiler-option")  # the signatures
#: What is quoted last: `Unknown option '-x'`, `Value 'v' is not defined for option 'x'`, `unknown argument: '-x'`.
_OPTION = re.compile(r"(?:nvcc fatal *: .*|: (?:fatal )?error: \w+ .*)(?:[Oo]ption|argument):? ['‘\"]-{0,2}([\w-]+)")


def with_passer(found: Explanation, plan: Plan) -> Explanation:
    """Where a compiler refuses an option, the remedy names who passes it."""
    if found.id not in (_UNKNOWN, *_OTHERS):
        return found
    option = _OPTION.search(found.message) or _OPTION.search(found.excerpt)
    if option is None:
        return found
    places = tuple(_places(plan, option[1]))
    remedy = "The recipe does not pass it, the package's own build does: take it out with a [[patch]] in the recipe"
    if places:
        remedy = f"The recipe passes it, in {' and '.join(places)}: take it out there"
    if found.id == _UNKNOWN:
        remedy += ", or choose a CUDA release whose nvcc knows it with --cuda"
    return replace(found, remedy=remedy)


def _places(plan: Plan, option: str) -> Iterator[str]:
    """Where in its recipe it stands."""
    passed = re.compile(rf"(?<![\w-])--?{re.escape(option)}(?![\w-])")
    for key, value in plan.environment:
        if passed.search(value):
            yield "[build] compress" if option == "compress-mode" else f"[build.env] {key}"
    for key, value in plan.config_settings:
        if passed.search(value):
            yield f'[build.config_settings] "{key}"'
    for patch in plan.patches:
        if isinstance(patch, EditPatch):
            added = patch.replace if not passed.search(patch.find) else ""
            name = patch.file
        elif isinstance(patch, DiffPatch):
            lines = [line[1:] for line in patch.text.splitlines() if line.startswith("+") and line[1:2] != "+"]
            added, name = "\n".join(lines), patch.name
        else:
            continue
        if passed.search(added):
            yield f"its [[patch]] {name}"
