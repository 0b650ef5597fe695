"""What CMake's variables and conditions can be, as far as the files alone tell.

In: arguments, and the values that variables may have. Out: every text that an argument may be, and whether a condition
holds: True, False, or None where only a running CMake knows. What is not known stays in a text as `${NAME}` or
`$ENV{NAME}`. It cannot fail. Sources: cmake-language(7), "Variable References"; cmake-commands(7), `if`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from wheelsmith.cmake.syntax import Argument

#: Possible values of variables, in the order in which they were met. A name that is absent is not known.
Values = Mapping[str, tuple[str, ...]]

#: More possibilities than this help nobody: the text counts as not known.
_MOST = 16

_REFERENCE = re.compile(r"\$(ENV|CACHE)?\{")
_UNKNOWN = re.compile(r"\$(?:ENV)?\{")
_FALSE = re.compile(r"(?:|0|OFF|NO|FALSE|N|IGNORE|NOTFOUND|.*-NOTFOUND)", re.IGNORECASE)
_TRUE = re.compile(r"(?:ON|YES|TRUE|Y|-?0*[1-9]\d*(?:\.\d*)?)", re.IGNORECASE)
_UNARY = {"exists", "is_readable", "is_directory", "is_symlink", "is_absolute", "command", "policy", "target", "test"}
_BINARY = re.compile(
    r"(?:VERSION_)?(?:LESS|GREATER|EQUAL|LESS_EQUAL|GREATER_EQUAL)|STR(?:LESS|GREATER|EQUAL|LESS_EQUAL|GREATER_EQUAL)"
    r"|MATCHES|IN_LIST|IS_NEWER_THAN|PATH_EQUAL"
)


_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "STREQUAL": lambda a, b: a == b,
    "VERSION_LESS": lambda a, b: _numbers(a) < _numbers(b),
    "VERSION_GREATER": lambda a, b: _numbers(a) > _numbers(b),
    "VERSION_EQUAL": lambda a, b: _numbers(a) == _numbers(b),
    "VERSION_LESS_EQUAL": lambda a, b: _numbers(a) <= _numbers(b),
    "VERSION_GREATER_EQUAL": lambda a, b: _numbers(a) >= _numbers(b),
}


def known(text: str) -> bool:
    """Whether nothing in the text is left open."""
    return _UNKNOWN.search(text) is None


def possible(argument: Argument, values: Values) -> tuple[str, ...]:
    """Every text that the argument may be."""
    if argument.kind == "bracket":
        return (argument.text,)
    found, _ = _expand(argument.text, 0, values, inside=False)
    return found


def _expand(text: str, at: int, values: Values, *, inside: bool) -> tuple[tuple[str, ...], int]:
    """The possible texts from `at` to the end, or (`inside`) to the brace that closes a reference."""
    parts: list[tuple[str, ...]] = []
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            parts.append(({"n": "\n", "t": "\t", "r": "\r"}.get(text[at + 1], text[at + 1]),))
            at += 2
        elif inside and text[at] == "}":
            return _products(parts), at + 1
        elif reference := _REFERENCE.match(text, at):
            names, at = _expand(text, reference.end(), values, inside=True)
            prefix = reference[1] if reference[1] == "ENV" else ""
            found: list[str] = []
            for name in names:
                key = f"ENV{{{name}}}" if prefix else name
                found += values.get(key, (f"${prefix}{{{name}}}",))
            parts.append(tuple(dict.fromkeys(found)))
        else:
            parts.append((text[at],))
            at += 1
    return _products(parts), at


def _products(parts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    count = 1
    for part in parts:
        count *= len(part)
    if count > _MOST:
        return ("${}",)
    return tuple(dict.fromkeys("".join(choice) for choice in product(*parts)))


def holds(condition: Sequence[Argument], values: Values) -> bool | None:
    """Whether the condition of an `if` holds; None: not known."""
    return _Condition(condition, values).value()


class _Condition:
    """Precedence: parentheses, tests, NOT, AND, OR."""

    def __init__(self, arguments: Sequence[Argument], values: Values) -> None:
        self._rest, self._values = list(arguments), values

    def value(self) -> bool | None:
        result = self._joined("OR", lambda: self._joined("AND", self._negated, False), True)
        return None if self._rest else result  # what is left over is no condition that we understand

    def _word(self, *words: str) -> bool:
        first = self._rest[0] if self._rest else None
        if first is not None and first.kind in {"unquoted", "parenthesis"} and first.text in words:
            self._rest.pop(0)
            return True
        return False

    def _joined(self, word: str, operand: Callable[[], bool | None], decides: bool) -> bool | None:
        results = [operand()]
        while self._word(word):
            results.append(operand())
        if decides in results:
            return decides
        return None if None in results else not decides

    def _negated(self) -> bool | None:
        if self._word("NOT"):
            result = self._negated()
            return None if result is None else not result
        return self._test()

    def _test(self) -> bool | None:
        if self._word("("):
            result = self._joined("OR", lambda: self._joined("AND", self._negated, False), True)
            return result if self._word(")") else None
        if not self._rest:
            return None
        left = self._rest.pop(0)
        if left.kind == "unquoted" and left.text == "DEFINED" and self._rest:
            return self._defined(self._rest.pop(0).text)
        if left.kind == "unquoted" and left.text.lower() in _UNARY and self._rest:
            self._rest.pop(0)
            return None
        if self._rest and self._rest[0].kind == "unquoted" and _BINARY.fullmatch(self._rest[0].text):
            operator = self._rest.pop(0).text
            right = self._rest.pop(0) if self._rest else Argument("", "quoted")
            return self._compared(left, operator, right)
        return self._truth(left)

    def _defined(self, name: str) -> bool | None:
        values = self._values.get(name, ())
        return True if all(values) and values and all(map(known, values)) else None  # set(X) makes it empty

    def _truth(self, argument: Argument) -> bool | None:
        texts = possible(argument, self._values)
        if argument.kind == "unquoted" and not all(_TRUE.fullmatch(t) or _FALSE.fullmatch(t) for t in texts):
            texts = tuple(value for text in texts for value in self._values.get(text, ("${}",)))
        return _agreed([not _FALSE.fullmatch(text) if known(text) else None for text in texts])

    def _compared(self, left: Argument, operator: str, right: Argument) -> bool | None:
        compare = _COMPARISONS.get(operator)
        if compare is None:
            return None
        lefts, rights = self._sides(left, right)
        return _agreed([compare(a, b) if known(a) and known(b) else None for a in lefts for b in rights])

    def _sides(self, left: Argument, right: Argument) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """A variable's name on the left stands for its value; on the right only where it is known to be one."""
        lefts, rights = possible(left, self._values), possible(right, self._values)
        if left.kind == "unquoted" and re.fullmatch(r"[A-Za-z_]\w*", left.text):
            lefts = self._values.get(left.text, ("${}",))
        if right.kind == "unquoted":
            rights = self._values.get(right.text, rights)
        return lefts, rights


def _numbers(text: str) -> list[int]:
    """A version as CMake compares it: numbers between points up to what is none; zeros at the end count for nothing."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def _agreed(results: Sequence[bool | None]) -> bool | None:
    return results[0] if len(set(results)) == 1 else None
