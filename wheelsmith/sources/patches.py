"""Applying one patch to a tree: exactly, or not at all.

In: a `DiffPatch`, an `EditPatch` or an `ArchPatch`, and the root of the tree. Out: changed files. Fails with
`PatchError`, whose cause names patch, file and place, and whose detail shows what was expected and what is there. Files
are bytes: line ends, a missing last newline and foreign encodings stay as they are.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from wheelsmith.cmake.archlists import Wish, lists_of, with_archs
from wheelsmith.cmake.syntax import CMakeSyntaxError
from wheelsmith.errors import PatchError
from wheelsmith.gpu.arch import Arch
from wheelsmith.planning.model import ArchPatch, DiffPatch, EditPatch
from wheelsmith.sources.diffs import NewFile, changes
from wheelsmith.sources.safe_paths import below

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.planning.model import Patch

_SHOWN = 5


def apply(patch: Patch, root: Path) -> None:
    """Apply `patch` to the tree at `root`. Nothing is written before all of the patch has matched.

    A hunk of a diff must match in every line (no fuzz). It may stand at another line than it says only if its old text
    is in the file exactly once. An edit's `find` must be there exactly `count` times. The variable of an arch list must
    have one.

    Raises:
        PatchError: it does not match, is malformed, or touches a path outside `root` or behind a symbolic link.
    """
    for path, file in changed(patch, root).items():
        path.unlink(missing_ok=True)  # it may be a hard link to a file that the patch does not mean
        if file is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
            path.chmod(0o755 if file.executable else 0o644)


def changed(patch: Patch, root: Path) -> dict[Path, NewFile | None]:
    """What `apply` would write, None for a file that goes; it raises the same."""
    match patch:
        case DiffPatch():
            return changes(patch, root)
        case EditPatch():
            return _edited(patch, root)
        case ArchPatch():
            return _with_archs(patch, root)


def _read(patch: EditPatch | ArchPatch, root: Path) -> tuple[Path, bytes]:
    try:
        path = below(root, patch.file)
        return path, path.read_bytes()
    except (ValueError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        reason = f"{error}" if isinstance(error, ValueError) else "there is no such file in the source"
        raise PatchError(
            f"The edit of {patch.file} cannot be made: {reason}.", "Correct `file` in the recipe."
        ) from error


def _with_archs(patch: ArchPatch, root: Path) -> dict[Path, NewFile | None]:
    """No file at all where upstream's lists say already what is wished."""
    path, data = _read(patch, root)
    # Not as UTF-8 alone: every byte of a comment comes back as it was.
    text = data.decode("utf-8", "surrogateescape")
    also, known = (tuple(map(Arch.parse, archs)) for archs in (patch.also, patch.known))
    wish = Wish(also, known, patch.ptx, patch.exact)
    try:
        if not lists_of(text, patch.variable):
            raise PatchError(
                f"{patch.file} gives the variable {patch.variable} no arch list.",
                "Look at what upstream made of it, and correct the recipe's [[arch_list]] or limit it with `versions`.",
                detail=_near(patch.variable, text),
            )
        changed, places = with_archs(text, patch.variable, wish)
    except CMakeSyntaxError as error:
        raise PatchError(f"{patch.file} is not CMake: {error}.", "Correct `file` in the recipe.") from error
    if not places:
        return {}
    return {path: NewFile(changed.encode("utf-8", "surrogateescape"), bool(path.stat().st_mode & 0o100))}


def _near(variable: str, text: str) -> str:
    names = {found for found in re.findall(r"\b[A-Za-z_][A-Za-z0-9_]*\b", text) if "ARCH" in found.upper()}
    near = difflib.get_close_matches(variable, sorted(names), n=_SHOWN)
    return f"variables of a similar name: {', '.join(near)}" if near else "no variable has a similar name"


def _edited(patch: EditPatch, root: Path) -> dict[Path, NewFile | None]:
    path, data = _read(patch, root)
    find = patch.find.encode("utf-8", "surrogateescape")
    found = data.count(find)
    if found != patch.count or not find:
        raise PatchError(
            f"The edit of {patch.file} expects {patch.find!r} {_times(patch.count)}, but it is there {_times(found)}.",
            "Look at what upstream changed, and correct find and count or limit the patch with `versions`.",
            detail=_places(patch, data) if found else _similar(patch, data),
        )
    replaced = data.replace(find, patch.replace.encode("utf-8", "surrogateescape"))
    return {path: NewFile(replaced, bool(path.stat().st_mode & 0o100))}


def _times(count: int) -> str:
    return {0: "not at all", 1: "once"}.get(count, f"{count} times")


def _places(patch: EditPatch, data: bytes) -> str:
    text = data.decode("utf-8", "surrogateescape")
    lines, start = [], text.find(patch.find)
    while start >= 0 and patch.find:
        lines.append(f"{patch.file}:{text.count(chr(10), 0, start) + 1}")
        start = text.find(patch.find, start + len(patch.find))
    return "found at:\n" + "\n".join(lines[:_SHOWN] + (["…"] if len(lines) > _SHOWN else []))


def _similar(patch: EditPatch, data: bytes) -> str:
    """The lines most like the first telling line of `find`."""
    text = data.decode("utf-8", "backslashreplace")
    hint = ""
    if patch.find in text.replace("\r\n", "\n"):
        hint = "The lines of the file end in CR LF, those of `find` in LF.\n"
    wanted = next((line for line in patch.find.splitlines() if line.strip()), patch.find).strip()
    numbers: dict[str, list[int]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        numbers.setdefault(line.strip(), []).append(number)
    near = difflib.get_close_matches(wanted, [line for line in numbers if line], n=3)
    if not near:
        return f"{hint}no line of {patch.file} is similar to {wanted!r}"
    return f"{hint}most similar:\n" + "\n".join(f"{patch.file}:{numbers[line][0]}: {line}" for line in near)
