"""The command that made, or should have made, the unit that an error is about.

In: an error, and the lines before it. Out: what was to be made, the command line, and where it ran; empty where that is
not said. It cannot fail.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable
from pathlib import PurePosixPath

from wheelsmith.diagnostics.lines import Line

_SOURCE = re.compile(r"(?P<path>[^\s:(\"'`]+\.(?:cuh?|cc|cpp|cxx|c|hpp|hxx|h|hip|mm?|f90|s|S))\b")
_COMPILERS = re.compile(
    r"(?:[\w.]+-)*(?:nvcc|gcc|g\+\+|cc|c\+\+|clang|clang\+\+|cl|hipcc|icpx|nvc\+\+|ld|ar|gfortran)(?:-[\d.]+)?(?:\.exe)?"
)
_LAUNCHERS = (
    "ccache",
    "sccache",
    "env",
    "distcc",
    "icecc",
    "nice",
    "time",
    "cmake",
    "-E",
    "launch",
    "--",
    "clcache",
    "libtool",
    ":",
    "&&",
)
_STEP = re.compile(r"^(?:\[\s*\d+(?:/\d+|%)\]\s+|\+ |\$ |running: |cargo:\S+ )+")
_CD = re.compile(r"^cd (?P<directory>\"[^\"]+\"|'[^']+'|\S+) && ")
_LIST = re.compile(r"Command '?(?P<list>\[.*?\])'? (?:returned|died|timed out)")


def words_of(command: str) -> list[str]:
    """A command's words; none if it is not one."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def unit_of(words: list[str]) -> str:
    """What a compiler's command makes."""
    for flag in ("-o", "--output-file"):
        if flag in words[:-1]:
            return words[words.index(flag) + 1]
    return next((word[3:] for word in words if word.startswith(("/Fo", "-Fo"))), "")


def is_compile(text: str) -> bool:
    """Whether a line is the command of a compiler or linker, perhaps behind a launcher."""
    for word in text.split(" ", 12)[:12]:
        name = PurePosixPath(word.strip("\"'").replace("\\", "/")).name
        if _COMPILERS.fullmatch(name):
            return " -" in text or " /" in text  # not what it says of itself
        if name not in _LAUNCHERS and not re.match(r"[A-Z_]+=", word):
            return False
    return False


def command_in(message: str) -> tuple[str, str, str] | None:
    """The command that an exception of Python names as a list."""
    found = _LIST.search(message)
    if not found:
        return None
    try:
        words = ast.literal_eval(found["list"])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or not words:
        return None
    command = shlex.join(words)
    return (unit_of(words), command, "") if is_compile(command) else None


def command_before(message: str, before: Iterable[Line]) -> tuple[str, str, str]:
    """The nearest command of a compiler, of the same source if the error names one.

    Args:
        message: the error's line.
        before: the lines before it, the nearest first.
    """
    source = _SOURCE.search(message)
    name = PurePosixPath(source["path"].replace("\\", "/")).name if source else ""
    nearest = ("", "", "")
    for line in before:
        text = _STEP.sub("", line.text.strip())
        place = _CD.match(text)
        if place:
            text = text[place.end() :]
        if (nearest[1] and name not in text) or not is_compile(text):
            continue
        words = words_of(text)
        if not words:
            continue
        found = (unit_of(words), text, place["directory"].strip("\"'") if place else "")
        if not name or any(PurePosixPath(word.replace("\\", "/")).name == name for word in words):
            return found
        nearest = nearest if nearest[1] else found
    return nearest
