"""Arch lists in CMake files, read and changed by what they mean.

In: the text of a CMakeLists.txt or *.cmake file, and the name of a variable. Out: every list of compute capabilities
that the file gives it, with its line; or the text with further archs in its lists. Fails with `CMakeSyntaxError`
if the text is not CMake. A list is what `set`, `list(APPEND)`, or a function whose first argument is the variable gets
as literal text, such as "8.0+PTX;12.0f": what a variable holds is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wheelsmith.cmake.syntax import Argument, Command, parse
from wheelsmith.gpu.arch import Arch, sass_runs_on

_ITEM = re.compile(r"(\d{1,2}\.\d)([af]?)(\+PTX)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ArchList:
    """One list: its line (from 1), its items as they are written, and whether `list(APPEND)` makes it."""

    line: int
    items: tuple[str, ...]
    appended: bool

    @property
    def text(self) -> str:
        """The list as CMake writes it."""
        return ";".join(self.items)


@dataclass(frozen=True, slots=True)
class Change:
    """A list that was changed: its line, what it was, and what it is now."""

    line: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What an arch list is to say.

    Attributes:
        also: compute capabilities whose family the kernels run on as well, as the list is to spell them.
        known: every compute capability that the toolkit compiles for: the members of those families.
        ptx: whether `+PTX` stays.
        exact: whether each of `also` must stand in the list itself, as in one that says which targets are taken at all.
    """

    also: tuple[Arch, ...]
    known: tuple[Arch, ...]
    ptx: bool = False
    exact: bool = False


def lists_of(text: str, variable: str) -> tuple[ArchList, ...]:
    """Every literal arch list that the file gives `variable`, in its order."""
    return tuple(found for found, _ in _found(text, variable))


def with_archs(text: str, variable: str, wish: Wish) -> tuple[str, tuple[Change, ...]]:
    """The text with the wish in every list of the variable; no change: each list says it already.

    A list is left without a further arch if one of its own items gives machine code to every member of that family.
    What only `list(APPEND)` builds is one list.
    """
    found = list(_found(text, variable))
    changes = []
    whole = [item for each, _ in found for item in each.items] if all(each.appended for each, _ in found) else None
    edits: list[tuple[Argument, str]] = []
    for number, (each, arguments) in enumerate(found):
        # Of lists that are appended to each other, one takes what is missing.
        also = () if each.appended and (whole is None or number) else wish.also
        items = _wished(each.items, also, wish, whole or each.items)
        if items == each.items:
            continue
        changes.append(Change(each.line, each.text, ";".join(items)))
        edits += [(arguments[0], ";".join(items)), *((argument, "") for argument in arguments[1:])]
    for argument, replacement in sorted(edits, key=lambda edit: edit[0].start, reverse=True):
        text = text[: argument.start] + replacement + text[argument.end :]
    return text, tuple(changes)


def _missing(items: Sequence[str], also: Sequence[Arch], wish: Wish) -> tuple[Arch, ...]:
    """Those of `also` whose machine code runs on a GPU that no item of the list gives any."""
    have = [Arch.parse(match[1] + match[2]) for item in items if (match := _ITEM.fullmatch(item))]
    if wish.exact:
        return tuple(arch for arch in also if arch not in have)
    found = []
    for arch in also:
        members = [cc for cc in wish.known if sass_runs_on(arch, cc)] or [arch.base]
        if not all(any(sass_runs_on(code, cc) for code in have) for cc in members):
            found.append(arch)
    return tuple(found)


def _wished(items: tuple[str, ...], also: Sequence[Arch], wish: Wish, whole: Sequence[str]) -> tuple[str, ...]:
    kept = items if wish.ptx else tuple(item[:-4] if item.upper().endswith("+PTX") else item for item in items)
    further = _missing(whole, also, wish)
    if not further:
        return kept
    return tuple(sorted((*kept, *map(str, further)), key=_order))


def _order(item: str) -> tuple[int, int, str]:
    arch = Arch.parse(item.partition("+")[0])
    return arch.major, arch.minor, item


def _found(text: str, variable: str) -> Iterator[tuple[ArchList, tuple[Argument, ...]]]:
    for command in parse(text):
        arguments = _literals(command, variable)
        items = tuple(item for argument in arguments for item in argument.text.split(";") if item)
        if items and all(_ITEM.fullmatch(item) for item in items):
            yield ArchList(command.line, items, command.name == "list"), arguments


def _literals(command: Command, variable: str) -> tuple[Argument, ...]:
    """The arguments that may be the variable's list."""
    words = [argument.text for argument in command.arguments]
    if command.name == "list":
        return command.arguments[2:] if words[:1] in (["APPEND"], ["PREPEND"]) and words[1:2] == [variable] else ()
    if words[:1] != [variable]:
        return ()
    if command.name == "set":
        ends = [words.index(word) for word in ("CACHE", "PARENT_SCOPE") if word in words]
        return command.arguments[1 : min(ends, default=None)]
    return command.arguments[1:2]
