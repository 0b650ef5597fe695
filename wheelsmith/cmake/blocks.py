"""CMake's blocks and scopes: where a block ends, the branches of an `if`, and what variables may be afterwards.

In: commands, and possible values of variables. Out: positions, branches, merged values. Nothing can fail: a block that
is never closed ends with the file.
"""

from __future__ import annotations

from collections.abc import Sequence

from wheelsmith.cmake.syntax import Argument, Command

#: Possible values of one argument or variable.
Texts = tuple[str, ...]

BLOCKS = {"if": "endif", "foreach": "endforeach", "while": "endwhile", "function": "endfunction", "macro": "endmacro"}
#: Marks what a scope sets in the one around it, until it ends.
PARENT = "^"


def end_of(commands: Sequence[Command], at: int) -> int:
    """The index of the command that closes the block that begins at `at`; the last one if it is never closed."""
    opening, closing = commands[at].name, BLOCKS[commands[at].name]
    depth = 0
    for index in range(at, len(commands)):
        depth += (commands[index].name == opening) - (commands[index].name == closing)
        if depth == 0:
            return index
    return len(commands)


def branches(command: Command, body: Sequence[Command]) -> list[tuple[Sequence[Argument] | None, Sequence[Command]]]:
    """The branches of an `if` with their conditions; None for else."""
    result: list[tuple[Sequence[Argument] | None, Sequence[Command]]] = []
    condition: Sequence[Argument] | None = command.arguments
    start = depth = 0
    for index, inner in enumerate(body):
        if depth == 0 and inner.name in {"elseif", "else"}:
            result.append((condition, body[start:index]))
            condition, start = (inner.arguments if inner.name == "elseif" else None), index + 1
        depth += (inner.name == "if") - (inner.name == "endif")
    return [*result, (condition, body[start:])]


def either(outcomes: Sequence[dict[str, Texts]]) -> dict[str, Texts]:
    """What each variable may be after any of the outcomes."""
    if len(outcomes) == 1:
        return outcomes[0]
    names = dict.fromkeys(name for outcome in outcomes for name in outcome)
    return {
        name: tuple(dict.fromkeys(text for outcome in outcomes for text in outcome.get(name, (left_open(name),))))
        for name in names
    }


def inside(scope: dict[str, Texts]) -> dict[str, Texts]:
    """What a new scope inside `scope` begins with."""
    return {name: texts for name, texts in scope.items() if not name.startswith(PARENT)}


def left_open(name: str) -> str:
    """The text that stands for the value of a variable that is not known."""
    return f"${name}" if name.startswith("ENV{") else f"${{{name}}}"


def handed_up(inner: dict[str, Texts], outer: dict[str, Texts]) -> dict[str, Texts]:
    """The outer scope with what the inner one set in it (PARENT_SCOPE), perhaps in one branch only."""
    result = dict(outer)
    for key, texts in inner.items():
        if key.startswith(PARENT):
            name = key.removeprefix(PARENT)
            old = outer.get(name, (left_open(name),))
            result[name] = tuple(
                dict.fromkeys(t for text in texts for t in (old if text == left_open(key) else (text,)))
            )
    return result
