"""Applying one patch to a tree: exactly, or not at all.

In: a `DiffPatch` or an `EditPatch`, and the root of the tree. Out: changed files. Fails with `PatchError`, whose cause
names patch, file and place, and whose detail shows what was expected and what is there. Files are bytes: line ends,
a missing last newline and foreign encodings stay as they are.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from wheelsmith.errors import PatchError
from wheelsmith.planning.model import DiffPatch
from wheelsmith.sources.diffs import NewFile, changes
from wheelsmith.sources.safe_paths import below

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.planning.model import EditPatch, Patch

_SHOWN = 5


def apply(patch: Patch, root: Path) -> None:
    """Apply `patch` to the tree at `root`. Nothing is written before all of the patch has matched.

    A hunk of a diff must match in every line (no fuzz). It may stand at another line than it says only if its old text
    is in the file exactly once. An edit's `find` must be there exactly `count` times.

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
    return changes(patch, root) if isinstance(patch, DiffPatch) else _edited(patch, root)


def _edited(patch: EditPatch, root: Path) -> dict[Path, NewFile | None]:
    try:
        path = below(root, patch.file)
        data = path.read_bytes()
    except (ValueError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        reason = f"{error}" if isinstance(error, ValueError) else "there is no such file in the source"
        raise PatchError(
            f"The edit of {patch.file} cannot be made: {reason}.", "Correct `file` in the recipe."
        ) from error
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
