"""What CMake wrote when it configured: a toolkit beside the plan's, or compilers led past our wrappers.

In: a build tree, which strangers' code has filled. Out: a sentence for each language whose compiler is not started by
a wrapper of ours, or not first: a launcher that the project names without a directory comes to ours through PATH (see
`compiler_wrappers`), one with a directory does not. Fails with `ToolkitError` when CMake's cache names a compiler, a
root or a runtime library of another toolkit than the plan's: CMake can find two and still exit with 0. (Its CUDA
language listens to CUDACXX and PATH, FindCUDAToolkit to CUDAToolkit_ROOT, the old FindCUDA of torch to CUDA_PATH.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from wheelsmith.errors import ToolkitError
from wheelsmith.fsutil import entries_below, read_plain

_CACHE = "CMakeCache.txt"
_LARGEST = 64 << 20  # bytes of a file that the build wrote
_TOOLKIT = re.compile(
    r"^(CMAKE_CUDA_COMPILER|CUDA_TOOLKIT_ROOT_DIR|CUDA_NVCC_EXECUTABLE|CUDAToolkit_NVCC_EXECUTABLE|CUDA_CUDART"
    r"|CUDA_CUDART_LIBRARY|CUDAToolkit_CUDA_INCLUDE_DIR|CUDA_TOOLKIT_INCLUDE):\w+=(/.+)$",
    re.MULTILINE,
)
_LANGUAGES = {"C": "C", "CXX": "C++", "CUDA": "CUDA"}
# A rule of the Ninja generator; words such as ${LAUNCHER} are empty unless a project sets them for a target.
_RULE = re.compile(r"^rule (C|CXX|CUDA)_COMPILER__.*\n(?: .*\n)*?  command = (?:\$\{\w+\})*(\S+)", re.MULTILINE)
_COMPILER = re.compile(r"^CMAKE_(C|CXX|CUDA)_COMPILER(_LAUNCHER)?:\w+=([^;\n]+)", re.MULTILINE)


def refuse_second_toolkit(tree: Path, roots: Sequence[str]) -> None:
    """Look at every CMake cache below `tree`; `roots` are the names under which the plan's toolkit may appear.

    Raises:
        ToolkitError: an entry lies in another toolkit.
    """
    caches = sorted(entry.path for entry in entries_below(tree) if entry.name == _CACHE)
    for text in map(_read, map(Path, caches)):
        for name, path in _TOOLKIT.findall(text):
            if not any(path == root or path.startswith(f"{root}/") for root in roots):
                raise ToolkitError(
                    f"The build mixed two CUDA toolkits: CMake's {name} is {path}.",
                    "Patch the project (in the recipe) so that it does not look there itself.",
                )


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
    for language, launcher, program in _COMPILER.findall(_read(build / _CACHE)):
        if launcher or language not in entries:
            entries[language] = program
    yield from entries.items()


def _read(path: Path) -> str:
    try:
        return read_plain(path, _LARGEST).decode("utf-8", "replace")
    except OSError:  # a link, a pipe, a directory: nothing that CMake wrote
        return ""
