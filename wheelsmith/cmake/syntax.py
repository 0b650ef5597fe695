"""CMake's syntax: text into commands with their arguments. Nothing is evaluated.

In: the text of a CMakeLists.txt or *.cmake file. Out: `Command`s in order. Fails with `CMakeSyntaxError`, which says
the line. Source: cmake-language(7), "Syntax": commands, bracket, quoted and unquoted arguments (with the legacy forms
`-Da="b c"` and `$(MAKE)`), line and bracket comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

_SPACE = re.compile(r"[ \t\r\n]+")
_COMMAND = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)[ \t]*\(")
_BRACKET = re.compile(r"\[(=*)\[")
_QUOTED = re.compile(r'"((?:[^\\"]|\\.)*)"', re.DOTALL)
# Quotes inside, and make's $(VAR), are legacy; a `#` begins a comment only where an argument could begin.
_UNQUOTED = re.compile(r'(?:\$\([A-Za-z0-9_]*\)|\\[^\n]|[^ \t\r\n()#"\\]|(?<=[^ \t\r\n()])"(?:[^\\"\n]|\\.)*")+')


class CMakeSyntaxError(ValueError):
    """The text is not CMake; the message says the line."""


@dataclass(frozen=True, slots=True)
class Argument:
    """`text` as it is written, without quotes or brackets; a parenthesis inside a command is an argument too.

    `start` and `end` say where the text stands in the file, quotes and brackets excluded.
    """

    text: str
    kind: Literal["bracket", "quoted", "unquoted", "parenthesis"]
    start: int = field(default=-1, compare=False)
    end: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Command:
    """`name` in lower case, as CMake does not care; `line` is 1-based."""

    name: str
    arguments: tuple[Argument, ...]
    line: int


def parse(text: str) -> tuple[Command, ...]:
    """The commands of a file.

    Raises:
        CMakeSyntaxError: something that CMake's grammar does not allow, or a quote, bracket or parenthesis that is
            never closed.
    """
    return tuple(_Reader(text).commands())


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, len("\N{BYTE ORDER MARK}") if text.startswith("\N{BYTE ORDER MARK}") else 0

    def commands(self) -> Iterator[Command]:
        while self._skip():
            start = self._at
            name = self._take(_COMMAND)
            if name is None:
                raise self._wrong(f"a command was expected, not {self._text[start : start + 20]!r}")
            yield Command(name[1].lower(), tuple(self._arguments(start)), self._line(start))

    def _arguments(self, start: int) -> Iterator[Argument]:
        depth = 1
        while self._skip():
            if self._text[self._at] in "()":
                depth += 1 if self._text[self._at] == "(" else -1
                self._at += 1
                if depth == 0:
                    return
                yield Argument(self._text[self._at - 1], "parenthesis")
            elif (content := self._bracket()) is not None:
                yield Argument(content, "bracket")
            elif quoted := self._take(_QUOTED):
                # A backslash at the end of a line joins it with the next.
                joined = re.sub(r"(?<!\\)((?:\\\\)*)\\\r?\n", r"\1", quoted[1])
                yield Argument(joined, "quoted", *quoted.span(1))
            elif unquoted := self._take(_UNQUOTED):
                yield Argument(unquoted[0], "unquoted", *unquoted.span())
            else:
                raise self._wrong(f"no argument begins with {self._text[self._at]!r} here, or it is never closed")
        raise self._wrong("the command is never closed", start)

    def _skip(self) -> bool:
        """Pass over space and comments; whether anything is left."""
        while self._at < len(self._text):
            if self._take(_SPACE):
                continue
            if self._text[self._at] != "#":
                return True
            self._at += 1
            if self._bracket() is None:
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
        return False

    def _bracket(self) -> str | None:
        start = self._at
        opened = self._take(_BRACKET)
        if opened is None:
            return None
        closing = f"]{opened[1]}]"
        end = self._text.find(closing, self._at)
        if end < 0:
            raise self._wrong(f"the bracket is never closed with {closing}", start)
        content = self._text[self._at : end]
        self._at = end + len(closing)
        return content.removeprefix("\r").removeprefix("\n")  # a line end right behind the bracket does not count

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._at)
        if match:
            self._at = match.end()
        return match

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1

    def _wrong(self, what: str, at: int | None = None) -> CMakeSyntaxError:
        return CMakeSyntaxError(f"line {self._line(self._at if at is None else at)}: {what}")
