"""The licences of everything that was compiled into a wheel: the project's own trees and those that stand beside it.

In: a plan and the laid-out sources. Out: files for the wheel's `.dist-info/licenses/` (PEP 639). Nothing fails: what
cannot be read is left out. The project's own licence at its top is its build backend's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.fsutil import entries_below, read_plain
from wheelsmith.planning.model import CANONICAL

if TYPE_CHECKING:
    from wheelsmith.planning.model import Plan

_NAME = re.compile(r"(?:LICEN[CS]E|COPYING|NOTICE|COPYRIGHT)(?:[.-].*)?", re.IGNORECASE)
_CODE = (".py", ".pyc", ".h", ".cpp", ".cu")
_LARGEST, _MOST = 1 << 20, 400  # bytes of one, and how many


def licences(plan: Plan, root: Path) -> dict[str, bytes]:
    """Path below `.dist-info` and text of each licence file: of the trees, and of what the source vendors.

    Args:
        plan: what was built.
        root: the directory that stands for the canonical path.
    """
    found: dict[str, bytes] = {}
    places = [(f"trees/{tree.name}", root / Path(tree.path).relative_to(CANONICAL)) for tree in plan.trees]
    for label, directory in [*places, ("source", root / "src")]:
        for name, path in _files(directory):
            if label == "source" and "/" not in name:
                continue
            if len(found) < _MOST and (text := _text(path)) is not None:
                found[f"licenses/{label}/{name}"] = text
    return found


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    if not directory.is_dir():
        return
    paths = sorted(Path(entry.path) for entry in entries_below(directory) if _NAME.fullmatch(entry.name))
    for path in paths:
        name = path.relative_to(directory).as_posix()
        if path.suffix not in _CODE and not name.startswith((".git/", "build/")) and ".egg-info/" not in name:
            yield name, path


def _text(path: Path) -> bytes | None:
    try:
        return read_plain(path, _LARGEST)
    except OSError:  # a link, a pipe, no permission
        return None
