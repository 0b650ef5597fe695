"""Read a compiler's command line: what it compiles, for which archs, and in how many processes at once.

In: arguments, the directory they were given in, and the build's root as the build sees it. Out: a `Unit`, or None if
nothing worth a slot happens (`--version`, preprocessing, CMake's probes). It cannot fail.

Sources: GCC manual "Overall Options"; NVIDIA "CUDA Compiler Driver NVCC", "Command Option Description".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os.path import normpath, relpath
from pathlib import PurePosixPath
from typing import Literal

Kind = Literal["cuda", "c++", "c", "link"]

_SUFFIXES: dict[str, Kind] = {".cu": "cuda", ".c": "c", ".s": "c", ".S": "c"}
_CXX: Kind = "c++"
_SUFFIXES |= dict.fromkeys((".cc", ".cpp", ".cxx", ".c++", ".C", ".cp", ".CPP", ".ii"), _CXX)
_LINKED = (".o", ".a", ".so", ".obj", ".lo")
_COMPILE = {"-c", "-dc", "-dw", "-S", "--compile", "--device-c", "--device-w"}
_COMPILE |= {"-cubin", "-ptx", "-fatbin", "-lto", "--cubin", "--ptx", "--fatbin"}
_QUERY = {"--version", "-V", "--help", "-h", "-E", "--preprocess", "-M", "-MM", "--generate-dependencies"}
_QUERY |= {"-fsyntax-only", "-###", "-dryrun", "--dryrun", "-dumpversion", "-dumpmachine", "-dumpfullversion"}
_QUERY |= {"--list-gpu-arch", "--list-gpu-code", "-arch-ls", "-code-ls"}
_PROBE = re.compile(r"/CMakeFiles/(CMakeScratch|CMakeTmp|ShowIncludes|\d+\.\d+[^/]*)(/|$)|/CompilerId\w+(/|$)")
# Options whose value is the next argument, as far as such a value may look like a file that is compiled or linked.
_VALUED = {
    *("-o", "--output-file", "-odir", "--output-directory", "-MF", "-MT", "-MQ", "-MJ", "-I", "-L", "-D", "-U"),
    *("-x", "-T", "-include", "-imacros", "-isystem", "-iquote", "-idirafter", "-isysroot", "--options-file"),
    *("-Xcompiler", "-Xlinker", "-Xptxas", "-Xcudafe", "-Xassembler", "-Xpreprocessor", "-Xfatbinary", "-Xnvlink"),
    *("-ccbin", "--compiler-bindir", "-gencode", "--generate-code", "-arch", "--gpu-architecture"),
    *("-code", "--gpu-code", "-t", "--threads", "-split-compile", "--split-compile", "-time", "--time"),
}
_CODE = re.compile(r"(?:sm|compute|lto)_\d+[af]?")


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing that a compiler makes.

    Attributes:
        name: the source's path inside the build's root (of a link: the output's); of a file elsewhere its last part.
        kind: what it is.
        archs: the code that nvcc makes of it: `sm_86`, `compute_120`.
        level: the optimisation option; `-O0` and `-O3` take different times.
        threads: compilers that run at once in it (nvcc's `--threads`).
        output: absolute path of what is written, as the build sees it; empty: not named.
        passes: device code passes that could run side by side, and that nobody has asked to (`--threads 1` asks for
            nothing: vLLM's setup.py always says it).
    """

    name: str
    kind: Kind
    archs: tuple[str, ...] = ()
    level: str = ""
    threads: int = 1
    output: str = ""
    passes: int = 1


def understand(arguments: Sequence[str], directory: str, root: str) -> Unit | None:
    """What the command line `arguments` (the compiler first), given in `directory`, makes in the build at `root`."""
    if _QUERY.intersection(arguments) or any(item.startswith(("-print-", "--print-")) for item in arguments):
        return None
    inputs = list(_inputs(arguments))
    sources = [item for item in inputs if PurePosixPath(item).suffix in _SUFFIXES]
    output = _value(arguments, "-o", "--output-file")
    place = f"{PurePosixPath(directory, output or (inputs[0] if inputs else ''))}"
    if not inputs or _PROBE.search(place) or _PROBE.search(f"{directory}/"):
        return None
    if sources:
        source = f"{PurePosixPath(directory, sources[0])}"
        kind: Kind = _SUFFIXES[PurePosixPath(source).suffix]
        if _value(arguments, "-x") == "cu":
            kind = "cuda"
        name = source
    elif any(item.endswith(_LINKED) or item.startswith("@") for item in inputs) and not _COMPILE & set(arguments):
        kind, name = "link", place
    else:
        return None
    archs = tuple(sorted(set(_CODE.findall(" ".join(_codes(arguments))))))
    threads = _threads(arguments, len(archs))
    levels = [item for item in arguments if re.fullmatch(r"-O[0-3sgz]?|-Ofast", item)]
    return Unit(
        name=_inside(name, root),
        kind=kind,
        archs=archs,
        level=levels[-1] if levels else "",
        threads=threads,
        output=normpath(place) if output else "",
        passes=len({arch.rpartition("_")[2] for arch in archs}) or 1 if threads == 1 else 1,
    )


def _inputs(arguments: Sequence[str]) -> Iterator[str]:
    previous = ""
    for item in arguments[1:]:
        if previous not in _VALUED and not item.startswith("-"):
            yield item
        previous = item


def _value(arguments: Sequence[str], *names: str) -> str:
    for index, item in enumerate(arguments):
        if item in names and index + 1 < len(arguments):
            return arguments[index + 1]
        name, equals, value = item.partition("=")
        if equals and name in names:
            return value
    return ""


def _codes(arguments: Sequence[str]) -> Iterator[str]:
    """The parts of the command line that name code to be made."""
    for index, item in enumerate(arguments):
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        name, _, value = item.partition("=")
        if name in {"-gencode", "--generate-code"}:
            yield (value or following).partition("code=")[2]
        elif name in {"-code", "--gpu-code", "-arch", "--gpu-architecture"}:
            yield value or following


def _threads(arguments: Sequence[str], archs: int) -> int:
    """nvcc compiles so many archs of one file at once; `0`: as many as there are processors."""
    joined = [item[2:] for item in arguments if re.fullmatch(r"-t[0-9]+", item)]
    text = _value(arguments, "-t", "--threads") or "".join(joined[:1])
    asked = int(text) if re.fullmatch(r"[0-9]{1,4}", text) else 1
    return max(1, min(asked or archs, archs))


def _inside(path: str, root: str) -> str:
    path = normpath(path)
    return relpath(path, root) if path.startswith(f"{root}/") else PurePosixPath(path).name
