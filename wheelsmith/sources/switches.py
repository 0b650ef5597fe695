"""Environment variables by which a project's build is told what to do, such as `FORCE_CUDA` and `MAX_JOBS`.

In: a source tree. Out: the variables that its build scripts read, and where. Nothing of the tree is run. Nothing fails:
what cannot be read has no switches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Meaning = Literal["force", "skip", "archs", "jobs", "other"]

_READ = re.compile(
    r"(?:os\.)?(?:environ(?:\.get|\.setdefault|\.pop)?|getenv)\s*[\[(]\s*f?['\"]([A-Z][A-Z0-9_]{2,})['\"]"
    r"|\b\w*env\w*\(\s*['\"]([A-Z][A-Z0-9_]{2,})['\"]"
    r"|\$ENV\{([A-Z][A-Z0-9_]{2,})\}"
    r"|['\"]([A-Z][A-Z0-9_]{2,})['\"]\s+in\s+os\.environ"
)
#: Set by every build, or of no use in one.
_COMMON = {"PATH", "HOME", "CUDA_HOME", "CUDA_PATH", "CUDACXX", "LD_LIBRARY_PATH", "CC", "CXX", "CFLAGS", "CXXFLAGS"}
_OTHERS = re.compile(r"HIP|ROCM|NPU|MLU|MUSA|XPU|HPU|CXX11_ABI|GITHUB")  # GPUs of other makers, and what is long over
_MEANINGS: tuple[tuple[Meaning, re.Pattern[str]], ...] = (
    ("archs", re.compile(r"ARCH|COMPUTE_CAP|SM_LIST|GENCODE")),
    ("jobs", re.compile(r"MAX_JOBS|NUM_WORKERS|PARALLEL|THREADS|N_WORKERS")),
    ("skip", re.compile(r"SKIP|NO_CUDA|DISABLE|CPU_ONLY|NOEXT|NO_EXT|ONLY_CPU|PRECOMPILED|CUDA_OPTIONAL")),
    ("force", re.compile(r"FORCE|WITH_(?:CUDA|GPU|OPS)|USE_CUDA|BUILD_(?:CUDA|OPS|EXT)|ENABLE_CUDA|_CUDA$")),
)
_LARGEST = 1 << 20  # bytes of a build script


@dataclass(frozen=True, slots=True)
class Switch:
    """A variable that a build script reads: `where` is `setup.py:31`, `line` what stands there."""

    name: str
    meaning: Meaning
    where: str
    line: str


def find_switches(tree: Path) -> tuple[Switch, ...]:
    """The variables that say whether and for what GPU code is built, in the order of their meaning, each once."""
    found: dict[str, Switch] = {}
    for path in build_scripts(tree):
        text = read_script(path)
        lines = text.split("\n")
        for match in _READ.finditer(text):  # a call may be broken into lines
            name = next(filter(None, match.groups()))
            if name not in _COMMON and not _OTHERS.search(name) and name not in found:
                number = text.count("\n", 0, match.end())
                where = f"{path.relative_to(tree).as_posix()}:{number + 1}"
                found[name] = Switch(name, meaning_of(name), where, lines[number].strip()[:160])
    order = [meaning for meaning, _ in _MEANINGS]
    wanted = [switch for switch in found.values() if switch.meaning in order]
    return tuple(sorted(wanted, key=lambda switch: order.index(switch.meaning)))


def meaning_of(name: str) -> Meaning:
    """What a variable of this name is likely to be for."""
    return next((meaning for meaning, pattern in _MEANINGS if pattern.search(name)), "other")


def build_scripts(tree: Path) -> Iterator[Path]:
    """The files that say how a project is built: at its top, and what a custom backend has below it."""
    names = ("setup.py", "pyproject.toml", "CMakeLists.txt", "build.py", "_build_backend.py", "configure.py")
    for name in names:
        if (path := tree / name).is_file() and not path.is_symlink():
            yield path
    for pattern in ("setup_*.py", "tools/*.py", "build_*.py", "op_builder/*.py", "*/CMakeLists.txt", "cmake/*.cmake"):
        for path in sorted(tree.glob(pattern)):
            if path.is_file() and not path.is_symlink():
                yield path


def read_script(path: Path) -> str:
    """The text of a build script; empty if it is none."""
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""
