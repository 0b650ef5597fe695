"""Unified diffs, matched against a tree without fuzz.

In: a `DiffPatch` (plain or git's extended format) and the root of the tree. Out: the new content of every file that it
touches. Nothing is written. Fails with `PatchError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchedFile, PatchSet

from wheelsmith.errors import PatchError
from wheelsmith.sources.safe_paths import below

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.planning.model import DiffPatch

_NULL = "/dev/null"
_REMAKE = "Remake the patch against this version of the source, or limit it to others with `versions`."
_FORMAT = "Write it with `git diff`; paths begin with a/ and b/."


@dataclass(frozen=True, slots=True)
class NewFile:
    """What a file shall be after the patch."""

    data: bytes
    executable: bool


@dataclass(frozen=True, slots=True)
class _Change:
    """Old and new lines of a hunk, with their line ends; `start` is the index of the first old line as stated."""

    title: str
    start: int
    old: list[bytes]
    new: list[bytes]


def changes(patch: DiffPatch, root: Path) -> dict[Path, NewFile | None]:
    """The files that `patch` makes of the tree at `root`; None stands for a deleted one.

    Raises:
        PatchError: the diff is malformed, does not match exactly, or touches what it must not.
    """
    result: dict[Path, NewFile | None] = {}
    for entry in _parse(patch):
        source, target = _names(entry)
        name = source if target is None else target
        assert name is not None, "_names gives one of the two"  # noqa: S101
        before = None if source is None else _read(patch, root, source, result)
        if source != target and target is not None and _exists(_place(patch, root, target), result):
            raise PatchError(f"The patch {patch.name} would create {target}, which is there already.", _REMAKE)
        if source is not None and source != target and target is not None and not _renames(entry):
            raise PatchError(f"The patch {patch.name} names two files, {source} and {target}, as one.", _FORMAT)

        lines = _lines(before.data) if before else []
        wanted = [_change(number, hunk) for number, hunk in enumerate(entry, 1)]
        after = b"".join(_replaced(patch, source or name, lines, wanted))
        if source is not None and source != target:
            result[_place(patch, root, source)] = None
        if target is None:
            if after:
                raise PatchError(
                    f"The patch {patch.name} deletes {name}, but the file holds more than the patch removes.",
                    _REMAKE,
                    detail=f"left over would be {len(_lines(after))} lines, the first {_shown(_lines(after)[0])}",
                )
            continue
        executable = before.executable if before else False
        if entry.target_mode is not None:
            executable = entry.target_mode == "100755"
        result[_place(patch, root, target)] = NewFile(after, executable)
    return result


def _parse(patch: DiffPatch) -> PatchSet:
    # Only LF ends a line of a diff: CR, form feed and the like are content.
    text = patch.text.split("\n")
    lines = [f"{line}\n" for line in text[:-1]] + [text[-1]] * bool(text[-1])
    try:
        parsed = PatchSet(lines)
    except UnidiffParseError as error:
        raise PatchError(f"The patch {patch.name} is not a unified diff: {str(error).strip()}.", _FORMAT) from error
    if not parsed:
        raise PatchError(f"The patch {patch.name} changes nothing: no file is named in it.", _FORMAT)
    for entry in parsed:
        if entry.is_binary_file or any(line.startswith(("copy from", "copy to")) for line in entry.patch_info or ()):
            raise PatchError(f"The patch {patch.name} has a binary change or a copy: {entry.path}.", _FORMAT)
        if {entry.source_mode, entry.target_mode} & {"120000", "160000"}:
            raise PatchError(
                f"The patch {patch.name} changes a symbolic link or a submodule: {entry.path}.",
                "Patch the file that the link names, or make the submodule a tree of the recipe.",
            )
        for number, hunk in enumerate(entry, 1):
            _check_end(patch, entry, number, hunk, lines)
    return parsed


def _check_end(patch: DiffPatch, entry: PatchedFile, number: int, hunk: Hunk, lines: list[str]) -> None:
    """Refuse lines that the hunk's header does not count; a parser takes them for a comment."""
    last = max((line.diff_line_no or 0 for line in hunk), default=0)
    while last < len(lines) and lines[last].startswith("\\"):
        last += 1
    following = lines[last : last + 2]
    if not following or not following[0].startswith(("+", "-", " ")) or following[0].rstrip() == "--":
        return  # "-- " is the signature below a mail of git format-patch
    if following[0].startswith("--- ") and len(following) == 2 and following[1].startswith("+++ "):
        return
    raise PatchError(
        f"Hunk {number} of {entry.path} in the patch {patch.name} is longer than its header says.",
        _FORMAT,
        detail=f"line {last + 1} of the patch: {following[0].rstrip()}",
    )


def _names(entry: PatchedFile) -> tuple[str | None, str | None]:
    """Path before and after, None for /dev/null; a/ and b/ are taken off where both sides have theirs."""
    source, target = _unquoted(entry.source_file), _unquoted(entry.target_file)
    if (source == _NULL or source.startswith("a/")) and (target == _NULL or target.startswith("b/")):
        source = source if source == _NULL else source[2:]
        target = target if target == _NULL else target[2:]
    return None if source == _NULL else source, None if target == _NULL else target


def _unquoted(name: str) -> str:
    r"""The name that git writes as "caf\303\251" (git-config(1), core.quotePath)."""
    if len(name) < 2 or not (name[0] == name[-1] == '"'):
        return name

    def byte(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8) & 255]) if code.isdigit() else {b"t": b"\t", b"n": b"\n"}.get(code, code)

    raw = name[1:-1].encode("utf-8", "surrogateescape")
    return re.sub(rb"\\([0-7]{3}|.)", byte, raw).decode("utf-8", "surrogateescape")


def _renames(entry: PatchedFile) -> bool:
    return any(line.startswith("rename from ") for line in entry.patch_info or ())


def _place(patch: DiffPatch, root: Path, name: str) -> Path:
    try:
        return below(root, name)
    except ValueError as error:
        raise PatchError(
            f"The patch {patch.name} must not touch this path: {error}.", "Name files of the tree, relative to its top."
        ) from error


def _exists(path: Path, result: dict[Path, NewFile | None]) -> bool:
    return result[path] is not None if path in result else path.exists()


def _read(patch: DiffPatch, root: Path, name: str, result: dict[Path, NewFile | None]) -> NewFile:
    path = _place(patch, root, name)
    if path in result:
        file = result[path]
    elif path.is_file():
        file = NewFile(path.read_bytes(), bool(path.stat().st_mode & 0o100))
    else:
        file = None
    if file is None:
        raise PatchError(f"The patch {patch.name} changes {name}, which is not a file of the source.", _REMAKE)
    return file


def _lines(data: bytes) -> list[bytes]:
    """Lines with their LF. Only LF ends a line."""
    *whole, rest = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def _change(number: int, hunk: Hunk) -> _Change:
    old: list[bytes] = []
    new: list[bytes] = []
    last: tuple[list[bytes], ...] = ()
    for line in hunk:
        value = line.value.encode("utf-8", "surrogateescape")
        if line.line_type == "\\":  # "No newline at end of file" speaks of the line before it
            for side in last:
                side[-1] = side[-1].removesuffix(b"\n")
            continue
        last = {" ": (old, new), "-": (old,), "+": (new,)}.get(line.line_type, ())
        for side in last:
            side.append(value)
    stated = f"-{hunk.source_start},{hunk.source_length} +{hunk.target_start},{hunk.target_length}"
    return _Change(f"hunk {number} (@@ {stated} @@)", max(hunk.source_start - 1, 0), old, new)


def _replaced(patch: DiffPatch, name: str, lines: list[bytes], wanted: list[_Change]) -> list[bytes]:
    """`lines` with every change made, each at its place, in order."""
    result: list[bytes] = []
    done = 0
    for change in wanted:
        start = _find(patch, name, lines, change)
        if start < done:
            raise PatchError(
                f"The patch {patch.name} does not match {name}: {change.title} lies before the end of the one above.",
                _REMAKE,
            )
        result += lines[done:start] + change.new
        done = start + len(change.old)
    return result + lines[done:]


def _find(patch: DiffPatch, name: str, lines: list[bytes], change: _Change) -> int:
    if not change.old:
        if lines:
            raise PatchError(
                f"The patch {patch.name} inserts into {name} without context: {change.title} cannot be checked.",
                "Remake the patch with context lines: `git diff -U3`.",
            )
        return 0
    size = len(change.old)
    if lines[change.start : change.start + size] == change.old:
        return change.start
    places = [
        i for i in range(len(lines) - size + 1) if lines[i] == change.old[0] and lines[i : i + size] == change.old
    ]
    if len(places) == 1:
        return places[0]
    if places:
        raise PatchError(
            f"The patch {patch.name} fits {name} in {len(places)} places, none at line {change.start + 1} as"
            f" {change.title} says.",
            _REMAKE,
            detail="\n".join(f"{name}:{place + 1}" for place in places),
        )
    raise _mismatch(patch, name, lines, change)


def _mismatch(patch: DiffPatch, name: str, lines: list[bytes], change: _Change) -> PatchError:
    """Show the first line that differs, at the place where most lines fit."""

    def fitting(start: int) -> tuple[int, int]:
        same = sum(a == b for a, b in zip(lines[start : start + len(change.old)], change.old, strict=False))
        return same, -abs(start - change.start)

    start = max(range(max(len(lines), 1)), key=fitting)
    there = [*lines[start : start + len(change.old)], None]
    index = next(i for i, line in enumerate(there) if line is None or line != change.old[i])
    line = there[index]
    return PatchError(
        f"The patch {patch.name} does not match {name}: {change.title} fails at line {start + index + 1}.",
        _REMAKE,
        detail=(
            f"{name}:{start + index + 1}\n"
            f"  the patch expects {_shown(change.old[index])}\n"
            f"  the file has      {'its end' if line is None else _shown(line)}"
        ),
    )


def _shown(line: bytes) -> str:
    """A line with its line end visible: that is often all that differs."""
    return repr(line.decode("utf-8", "backslashreplace"))
