"""The libraries that a CMake project builds for CUDA, and the arch lists that decide it, without running CMake.

In: the directory of a project, and variables whose values are given (the version of nvcc above all). Out: one `Target`
for each library that Python loads, in the order of the files. Fails as `walk` does. What external trees define is not
seen, as they are not there; nor is what is for other vendors' GPUs alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wheelsmith.cmake.walk import Call, Guard, walk

#: Commands that make a library for Python, by custom: their first argument is its name.
_MAKING = re.compile(
    r"define_(?:gpu_)?extension_target|pybind11_add_module|nanobind_add_module|python3?_add_library|add_torch_extension",
    re.IGNORECASE,
)
_ITEM = re.compile(r"\d{1,2}\.\d[af]?(?:\+PTX)?", re.IGNORECASE)
_OTHERS = re.compile(r"\b(?:HIP|ROCM|XPU|SYCL|MUSA|METAL|CPU|HIP_FOUND)\b", re.IGNORECASE)
_VERSION = re.compile(r"CUDA\w*VERSION\w*\}?\"?\s+VERSION_(?:GREATER|LESS)(?:_EQUAL)?\s+\"?(\d+\.\d+)")


@dataclass(frozen=True, slots=True)
class Target:
    """A library.

    Attributes:
        name: of the target and the module.
        destination: the folder of the wheel that it is installed to; empty: not known.
        gpu: whether it has GPU code: its language is not CXX alone.
        stable: the Python version of the stable ABI that it is built for (USE_SABI); None: it names none.
        archs: what the arch lists that decide whether it is built hold; None: none decides.
        where: file and line.
        installed: its path in the wheel without an ending, where `install(TARGETS …)` says it; empty: nothing does.
    """

    name: str
    destination: str
    gpu: bool
    stable: str | None
    archs: tuple[str, ...] | None
    where: str
    installed: str = ""


def read_extensions(project: Path, given: Mapping[str, str]) -> tuple[Target, ...]:
    """The libraries of a project under the given values.

    Raises:
        SourceError: the top CMakeLists.txt is not CMake.
    """
    calls, _ = walk(project, given)
    lists = _lists(calls)
    found: dict[str, Target] = {}
    for call in calls:
        if not _MAKING.fullmatch(call.name) or not call.arguments or _foreign(call.guards):
            continue
        for name in call.arguments[0]:
            if re.fullmatch(r"[\w.]+", name):
                found.setdefault(name, _target(name, call, lists))
    return tuple(replace(target, installed=_installed(target.name, calls)) for target in found.values())


def _installed(name: str, calls: Sequence[Call]) -> str:
    """Where install(TARGETS) puts a library, under the name that OUTPUT_NAME gives it."""
    folder, module = "", name
    for call in calls:
        words = [text[0] if len(text) == 1 else "" for text in call.arguments]
        if call.name == "install" and words[:2] == ["TARGETS", name] and "DESTINATION" in words[:-1]:
            folder = words[words.index("DESTINATION") + 1]
        if call.name == "set_target_properties" and words[:1] == [name] and "OUTPUT_NAME" in words[:-1]:
            module = words[words.index("OUTPUT_NAME") + 1]
    return f"{folder}/{module}" if re.fullmatch(r"\w[\w./-]*", folder) and re.fullmatch(r"[\w.]+", module) else ""


def cuda_branches(project: Path) -> tuple[str, ...]:
    """The CUDA releases at which the project's CMake files decide something, lowest first."""
    found: set[str] = set()
    for path in (project / "CMakeLists.txt", *sorted((project / "cmake").rglob("*.cmake"))):
        if path.is_file() and not path.is_symlink():
            found.update(_VERSION.findall(path.read_text("utf-8", errors="replace")))
    return tuple(sorted(found, key=lambda text: tuple(map(int, text.split(".")))))


def _target(name: str, call: Call, lists: Mapping[str, tuple[str, ...]]) -> Target:
    words = [text[0] if len(text) == 1 else "" for text in call.arguments]

    def behind(keyword: str) -> tuple[str, ...]:
        return call.arguments[words.index(keyword) + 1] if keyword in words[:-1] else ()

    language = behind("LANGUAGE")
    deciding = [
        one for guard in call.guards if guard.holds for one in guard.names if one.upper().endswith(("ARCHS", "ARCHES"))
    ]
    archs = tuple(dict.fromkeys(item for one in deciding for item in _of(one, lists))) if deciding else None
    destination, stable = behind("DESTINATION"), behind("USE_SABI")
    sources = [text for texts in call.arguments[1:] for text in texts if re.search(r"\.\w+$", text)]
    plain = call.name.endswith("_add_library") and sources and not any(text.endswith(".cu") for text in sources)
    return Target(
        name,
        destination[0] if len(destination) == 1 else "",
        language != ("CXX",) and not plain,
        stable[0] if len(stable) == 1 else None,
        archs,
        call.where,
    )


def _of(variable: str, lists: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The list of a variable, or of those that it is made of: QUTLASS_ARCHS of QUTLASS_SM120_ARCHS and others."""
    if variable in lists:
        return lists[variable]
    stem = re.sub(r"_ARCH(?:E)?S$", "_", variable, flags=re.IGNORECASE)
    return tuple(item for name, items in lists.items() if name.startswith(stem) for item in items)


def _lists(calls: Sequence[Call]) -> dict[str, tuple[str, ...]]:
    """Every arch list that a function of the project is given, by the variable that it is for."""
    found: dict[str, tuple[str, ...]] = {}
    for call in calls:
        if len(call.arguments) < 2 or len(call.arguments[0]) != 1:
            continue
        items = tuple(item for text in call.arguments[1] for item in text.split(";") if item)
        if items and all(map(_ITEM.fullmatch, items)):
            name = call.arguments[0][0]
            found[name] = tuple(dict.fromkeys((*found.get(name, ()), *items)))
    return found


def _foreign(guards: Sequence[Guard]) -> bool:
    """Whether it is reached for other vendors' GPUs, or without any, only."""
    said = [" ".join(guard.names) for guard in guards if guard.holds]
    return any(_OTHERS.search(words) and "CUDA" not in words.upper().split() for words in said)
