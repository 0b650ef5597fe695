"""Who leads a project's compilers past wheelsmith's wrappers.

In: a directory that CMake has configured. Out: a sentence for each language whose compiler is not started by a wrapper
of ours, or not first. A launcher that the project names without a directory comes to ours through PATH (see
`compiler_wrappers`); one with a directory does not. It cannot fail: what cannot be read leads nobody past us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from wheelsmith.fsutil import read_plain

_LARGEST = 64 << 20  # bytes of a file that the build wrote
_LANGUAGES = {"C": "C", "CXX": "C++", "CUDA": "CUDA"}
# A rule of the Ninja generator; words such as ${LAUNCHER} are empty unless a project sets them for a target.
_RULE = re.compile(r"^rule (C|CXX|CUDA)_COMPILER__.*\n(?: .*\n)*?  command = (?:\$\{\w+\})*(\S+)", re.MULTILINE)
_ENTRY = re.compile(r"^CMAKE_(C|CXX|CUDA)_COMPILER(_LAUNCHER)?:\w+=([^;\n]+)", re.MULTILINE)


def bypasses(build: Path, root: str) -> list[str]:
    """What to tell a person about `build`; `root` is the build's root as the build sees it."""
    ours = (f"{root}/launch/", f"{root}/cuda/bin/nvcc")
    return [
        f"the project starts its {_LANGUAGES[language]} compiler with {program}: what that does by itself, wheelsmith's"
        " compile cache, memory limits and records do not see"
        for language, program in sorted(set(_first_words(build)))
        if "/" in program and not program.startswith(ours)
    ]


def _first_words(build: Path) -> Iterator[tuple[str, str]]:
    """Each language with the program that its compile commands begin with."""
    rules = _RULE.findall(_read(build / "CMakeFiles/rules.ninja"))
    if rules:  # they are what counts, where they are
        yield from rules
        return
    entries: dict[str, str] = {}
    for language, launcher, program in _ENTRY.findall(_read(build / "CMakeCache.txt")):
        if launcher or language not in entries:
            entries[language] = program
    yield from entries.items()


def _read(path: Path) -> str:
    try:
        return read_plain(path, _LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""
