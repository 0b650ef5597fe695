"""Walk a project's CMake files as CMake would, with everything that is not known left open.

In: the directory of a project and given values. Out: every call of a command that sets no variable, with the possible
texts of its arguments, and warnings. Both branches of an undecided `if` are walked, each with the variables that it
sets; behind it a variable may be what either branch made it. Functions and macros are called, loops over known lists
run. Fails with `SourceError` if the top file is not CMake. It reads nothing outside the project.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wheelsmith.cmake.blocks import BLOCKS, PARENT, Texts, branches, either, end_of, handed_up, inside
from wheelsmith.cmake.syntax import Argument, CMakeSyntaxError, Command, parse
from wheelsmith.cmake.values import holds, known, possible
from wheelsmith.errors import SourceError

#: Commands that may write to any variable that they name: its value is not known afterwards.
_WRITING = re.compile(
    r"string|math|list|get_\w+|cmake_path|cmake_parse_arguments|file|execute_process|find_\w+|separate_arguments"
)
#: What holds on every machine that wheelsmith builds on.
_HERE = {
    "UNIX": ("1",),
    "LINUX": ("1",),
    "WIN32": ("",),
    "APPLE": ("",),
    "MSVC": ("",),
    "CMAKE_SYSTEM_NAME": ("Linux",),
    "CMAKE_SYSTEM_PROCESSOR": ("x86_64",),
    "CMAKE_HOST_SYSTEM_NAME": ("Linux",),
}
_DEEPEST = 40
_MOST_COMMANDS = 200_000
_LONGEST_LOOP = 64


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition around a call that is not decided: the variables in it, and those of the environment behind them.

    `holds` says whether the call is reached where the condition holds, or where it does not.
    """

    names: tuple[str, ...]
    environment: tuple[str, ...]
    holds: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A command that was reached, or a function of the project that was called. `where` is file and line."""

    name: str
    arguments: tuple[Texts, ...]
    where: str
    guards: tuple[Guard, ...] = ()


def walk(project: Path, given: Mapping[str, str]) -> tuple[list[Call], list[str]]:
    """Every call that configuring the project may reach, in order, and what could not be followed.

    Raises:
        SourceError: the top CMakeLists.txt is not CMake.
    """
    walker = _Walker(project, given)
    walker.directory(project)
    if walker.calls or not walker.broken_top:
        return walker.calls, walker.warnings
    raise SourceError(f"CMakeLists.txt cannot be read: {walker.broken_top}.", "Check that the source is whole.")


class _Walker:
    def __init__(self, project: Path, given: Mapping[str, str]) -> None:
        self.calls: list[Call] = []
        self.warnings: list[str] = []
        self.broken_top = ""
        self._project = project.resolve()
        self._given = given
        self._values: dict[str, Texts] = {**_HERE, **{name: (value,) for name, value in given.items()}}
        self._functions: dict[str, tuple[Command, Sequence[Command]]] = {}
        self._file = project / "CMakeLists.txt"
        self._depth = self._steps = 0
        self._guards: tuple[Guard, ...] = ()

    def directory(self, path: Path) -> None:
        """Walk the CMakeLists.txt of a directory, in a scope of its own."""
        top = str(path)
        before = self._values
        self._values = inside(before) | {"CMAKE_CURRENT_SOURCE_DIR": (top,)}
        if path.resolve() == self._project:
            self._values |= dict.fromkeys(("CMAKE_SOURCE_DIR", "PROJECT_SOURCE_DIR"), (top,))
            self._values |= {"CMAKE_BINARY_DIR": (f"{top}/build",), "PROJECT_BINARY_DIR": (f"{top}/build",)}
        self._read(path / "CMakeLists.txt")
        self._values = handed_up(self._values, before)

    def _read(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self._project) or self._depth > _DEEPEST:
            return
        try:
            commands = parse(path.read_text("utf-8", errors="replace"))
        except (OSError, CMakeSyntaxError) as error:
            self._warn(path, f"cannot be read: {error}")
            if self._depth == 0:
                self.broken_top = str(error)
            return
        before, self._file = self._file, path
        name = "CMAKE_CURRENT_LIST_DIR"
        directory = self._values.get(name)
        self._values[name] = (str(path.parent),)
        self._depth += 1
        self._run(commands)
        self._depth -= 1
        self._file = before
        if directory is not None:
            self._values[name] = directory

    def _run(self, commands: Sequence[Command]) -> bool:
        """Walk commands; False if the last thing met was the end: return(), break() or a fatal error."""
        at = 0
        while at < len(commands):
            command = commands[at]
            self._steps += 1
            if self._steps > _MOST_COMMANDS:
                self._warn(self._file, "is too long to be followed to its end")
                return False
            end = end_of(commands, at) if command.name in BLOCKS else at
            body = commands[at + 1 : end]
            match command.name:
                case "if":
                    if not self._if(command, body):
                        return False
                case "foreach":
                    self._foreach(command, body)
                case "while":
                    self._run(body)
                case "function" | "macro":
                    if command.arguments:
                        self._functions[command.arguments[0].text.lower()] = (command, body)
                case "return" | "break" | "continue":
                    return False
                case _:
                    if not self._command(command):
                        return False
            at = end + 1
        return True

    def _if(self, command: Command, body: Sequence[Command]) -> bool:
        before, around = self._values, self._guards
        outcomes: list[dict[str, Texts]] = []
        decided = False
        for condition, branch in branches(command, body):
            truth = True if condition is None else holds(condition, before)
            if truth is False:
                continue
            self._values = dict(before)
            inner = self._guards
            if condition is not None and truth is None:
                self._guards = (*inner, self._guard(condition, before, True))
            if self._run(branch):
                outcomes.append(self._values)
            self._guards = inner
            if condition is not None and truth is None:
                self._guards = (*inner, self._guard(condition, before, False))
            if truth is True:
                decided = True
                break
        self._guards = around
        if not decided:
            outcomes.append(before)
        if outcomes:
            self._values = either(outcomes)
        return bool(outcomes)

    @staticmethod
    def _guard(condition: Sequence[Argument], values: Mapping[str, Texts], truth: bool) -> Guard:
        words = [argument.text for argument in condition]
        names = tuple(dict.fromkeys(name for word in words for name in re.findall(r"[A-Za-z_][\w-]*", word)))
        texts = (*words, *(text for name in names for text in values.get(name, ())))
        environment = tuple(dict.fromkeys(name for text in texts for name in re.findall(r"ENV\{(\w+)\}", text)))
        return Guard(names, environment, truth)

    def _foreach(self, command: Command, body: Sequence[Command]) -> None:
        if not command.arguments:
            return
        name, *rest = command.arguments
        words = [argument.text for argument in rest]
        if words[:2] == ["IN", "LISTS"]:
            items = [self._values.get(word, ("${}",)) for word in words[2:]]
        else:
            items = [possible(argument, self._values) for argument in rest[2 if words[:2] == ["IN", "ITEMS"] else 0 :]]
        single = [texts[0] for texts in items if len(texts) == 1 and known(texts[0])]
        flat = [piece for text in single for piece in text.split(";") if piece]
        if "RANGE" in words[:1] or len(single) != len(items) or len(flat) > _LONGEST_LOOP:
            flat = [f"${{{name.text}}}"]
        for item in flat:
            self._values[name.text] = (item,)
            self._run(body)
        self._values.pop(name.text, None)

    def _command(self, command: Command) -> bool:  # noqa: PLR0912 - one case for each command
        texts = self._flat(command)
        first = texts[0][0] if texts else ""
        match command.name:
            case "set":
                self._set(first, texts[1:])
            case "option":
                if first not in self._values:
                    self._values[first] = texts[2] if len(texts) > 2 else ("OFF",)
            case "unset":
                self._values.pop(first, None)
            case "project":
                self._values["PROJECT_NAME"] = texts[0] if texts else ("",)
            case "message":
                return first != "FATAL_ERROR"
            case "include":
                self._include(first, optional=("OPTIONAL",) in texts)
            case "add_subdirectory":
                path = self._path(first)
                if known(first) and (path / "CMakeLists.txt").is_file():
                    self.directory(path)
            case "get_filename_component" if len(texts) > 2 and texts[2][0] in {"ABSOLUTE", "REALPATH"}:
                self._values[first] = texts[1]
            case "list" if first == "APPEND" and len(texts) > 1 and len(texts[1]) == 1:
                name = texts[1][0]
                if name in self._values:
                    begun = () if self._values[name] == ("",) else (self._values[name],)
                    self._set(name, (*begun, *texts[2:]))
            case name if name in self._functions:
                self.calls.append(Call(name, tuple(texts), self._where(command), self._guards))
                self._call(*self._functions[name], texts)
            case name:
                self._reached(command, texts)
        return True

    def _reached(self, command: Command, texts: Sequence[Texts]) -> None:
        """Note a command that we do not carry out; what it may write to is not known afterwards."""
        self.calls.append(Call(command.name, tuple(texts), self._where(command), self._guards))
        if _WRITING.fullmatch(command.name):
            for argument in command.arguments:
                if argument.text in self._values and argument.text not in self._given:
                    self._values[argument.text] = (f"${{{argument.text}}}",)

    def _flat(self, command: Command) -> list[Texts]:
        """The arguments; an unquoted one whose value is a known list counts as its elements."""
        result: list[Texts] = []
        for argument in command.arguments:
            texts = possible(argument, self._values)
            if argument.kind == "unquoted" and len(texts) == 1 and known(texts[0]) and "$" in argument.text:
                result += [(piece,) for piece in texts[0].split(";") if piece]
            else:
                result.append(texts)
        return result

    def _set(self, name: str, texts: Sequence[Texts]) -> None:
        words = [text[0] if len(text) == 1 else None for text in texts]
        name = name if not name.startswith("ENV{") else f"ENV{{{name[4:-1]}}}"
        if "CACHE" in words:
            if name in self._values and "FORCE" not in words:
                return  # a normal variable, or -D, goes before the cache's default
            texts = texts[: words.index("CACHE")]
        if words[-1:] == ["PARENT_SCOPE"]:
            texts = texts[:-1]
            name = f"{PARENT}{name}"
        if not texts:
            self._values[name] = ("",)  # as unset: what is appended to it begins a list
            return
        value = Argument(";".join(f"${{{n}}}" for n in range(len(texts))), "quoted")
        self._values[name] = possible(value, {str(n): text for n, text in enumerate(texts)})

    def _call(self, definition: Command, body: Sequence[Command], texts: Sequence[Texts]) -> None:
        if self._depth > _DEEPEST:
            return
        names = [argument.text for argument in definition.arguments[1:]]
        bound = dict(zip(names, texts, strict=False))
        extra = texts[len(names) :]
        if all(len(text) == 1 for text in extra):
            bound["ARGN"] = (";".join(text[0] for text in extra),)
        before = self._values
        self._depth += 1
        if definition.name == "function":
            self._values = inside(before) | bound
            self._run(body)
            self._values = handed_up(self._values, before)
        else:
            self._values = before | bound
            self._run(body)
            for name in bound:
                self._values.pop(name, None)
            self._values |= {name: before[name] for name in bound if name in before}
        self._depth -= 1

    def _include(self, name: str, *, optional: bool) -> None:
        if not known(name):
            self._warn(self._file, f"includes {name}, which is not known")
            return
        here = self._path(name)
        folders = [folder for text in self._values.get("CMAKE_MODULE_PATH", ()) for folder in text.split(";") if folder]
        for path in (here, *(self._path(folder) / f"{name}.cmake" for folder in folders if known(folder))):
            if path.is_file():
                self._read(path)
                return
        if not optional and ("/" in name or name.endswith(".cmake")):
            self._warn(self._file, f"includes {name}, which is not in the source")

    def _path(self, text: str) -> Path:
        return Path(self._values["CMAKE_CURRENT_SOURCE_DIR"][0], text)

    def _where(self, command: Command) -> str:
        return f"{self._relative(self._file)}:{command.line}"

    def _warn(self, path: Path, what: str) -> None:
        self.warnings.append(f"{self._relative(path)} {what}.")

    def _relative(self, path: Path) -> str:
        resolved = path.resolve()
        return str(resolved.relative_to(self._project)) if resolved.is_relative_to(self._project) else path.name
