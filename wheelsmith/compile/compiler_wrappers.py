"""Put the wrapper in front of every compiler that a build may start.

In: a room's root directory as wheelsmith and as the build see it, the toolkit, and where programs are looked for. Out:
`launch/` in the room, and the variables that lead a build there. Fails with `OSError`.

    launch/compiler_wrapper.py, place.py   the program, and what it must know
    launch/bin/                    gcc, g++, c++, …: each is the wrapper; first on PATH. So are ccache and sccache, and
                                   their like where there is one: a project's own launcher leads to ours
    launch/run                     the wrapper for CMAKE_<LANG>_{COMPILER,LINKER}_LAUNCHER: what it runs comes first
    launch/wide                    nvcc with more passes at once, for the cache to start
    launch/nvcc                    the wrapper that takes the place of the toolkit's bin/nvcc
    launch/toolkit/                the real nvcc, with a profile that names the toolkit's canonical path

nvcc finds its parts beside the path that it is started by (argv[0]) and through `nvcc.profile` there, so a copy of it
with a profile that says where the toolkit is works as if it were the original, down to the paths of the headers.
"""

from __future__ import annotations

import os
import py_compile
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wheelsmith.compile.chain import BELOW, LOG_VARIABLES, PREFIX, Chain
from wheelsmith.compile.sandbox import Room
from wheelsmith.fsutil import remove_tree
from wheelsmith.planning.model import CANONICAL

#: Programs that projects put before their compilers when they find them.
LAUNCHERS = frozenset({"ccache", "sccache", "distcc", "icecc", "buildcache", "cachepot"})
#: Started by the cache in front of nvcc; see `compiler_wrapper`.
WIDE = '#!/bin/sh\nexec "$@" --threads "$WHEELSMITH_WIDTH"\n'
_STOOD_IN_FOR = ("ccache", "sccache")  # also where there is none: a recipe or a project may name them all the same
_COMPILERS = re.compile(r"(?:[\w.]+-linux-(?:gnu|musl)\w*-)?(?:cc|c\+\+|gcc|g\+\+|clang|clang\+\+)(?:-\d+(?:\.\d+)*)?")


@dataclass(frozen=True, slots=True)
class CompilerWrappers:
    """What leads a build to the wrapper: variables, PATH's first directory, and files to mount (as `Chain.binds`)."""

    variables: tuple[tuple[str, str], ...]
    path: str
    binds: tuple[tuple[Path, str], ...]


def lay_wrappers(
    room: Room, search: Sequence[tuple[Path, str]], *, fallback_jobs: int, chain: Chain | None = None
) -> CompilerWrappers:
    """Write `launch` into the room and, where nothing can be mounted, `cuda`, a directory of links to the toolkit.

    Args:
        room: where the build runs. With a canonical path its toolkit will be mounted at `cuda`, and `launch/nvcc` over
            its nvcc.
        search: the directories of the build's PATH: as they are here, and as the build sees them.
        fallback_jobs: compilers that may run at once when the jobserver is gone.
        chain: what compilers run behind.
    """
    root, seen, toolkit, mounted = room.root, room.place, room.toolkit, room.isolation.canonical
    launch, there, toolkit_seen = root / "launch", f"{seen}/launch", f"{seen}/cuda"
    for name in ("bin", "toolkit"):
        remove_tree(launch / name)
        (launch / name).mkdir(parents=True)
    real = {f"{there}/bin/{name}": path for name, path in _programs(search, _is_compiler)}
    launchers = {name: name for name in _STOOD_IN_FOR} | dict(_programs(search, _is_launcher))
    nvcc = _copy_nvcc(launch, there, toolkit, toolkit_seen) if mounted else str(toolkit / "bin" / "nvcc")
    if nvcc:
        real |= {f"{toolkit_seen}/bin/nvcc": nvcc, f"{there}/nvcc": nvcc}
    place = {
        "HERE": there,
        "BIN": f"{there}/bin",
        "REAL": real,
        "FALLBACK_JOBS": fallback_jobs,
        "NVCC_APPEND": _python_elsewhere(room),
        "CHAIN": () if chain is None else chain.prefix,
        "ENVIRONMENT": {} if chain is None else dict(chain.environment),
        "CHAIN_LOGS": LOG_VARIABLES,
        "CHAIN_PREFIX": PREFIX,
        "CHAIN_BELOW": BELOW,
    }
    (launch / "place.py").write_text("".join(f"{key} = {value!r}\n" for key, value in place.items()), "utf-8")
    shutil.copyfile(Path(__file__).with_name("compiler_wrapper.py"), launch / "compiler_wrapper.py")
    for name in ("place.py", "compiler_wrapper.py"):
        py_compile.compile(str(launch / name), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    for stub, compiler in {f"{there}/run": None, f"{there}/nvcc": nvcc or None, **real}.items():
        if stub.startswith(f"{there}/"):
            _write_program(launch / stub.removeprefix(f"{there}/"), there, f"{compiler!r}")
    for name, path in launchers.items():
        _write_program(launch / "bin" / name, there, f"None, {path!r}")
    (launch / "wide").write_text(WIDE)
    (launch / "wide").chmod(0o755)
    if not mounted:
        _lay_shadow(toolkit, root / "cuda", launch / "nvcc")
    names = [
        f"CMAKE_{language}_{what}_LAUNCHER" for language in ("C", "CXX", "CUDA") for what in ("COMPILER", "LINKER")
    ]
    variables = tuple((name, f"{there}/run") for name in names)
    return CompilerWrappers(
        variables, f"{there}/bin", ((launch / "nvcc", "cuda/bin/nvcc"),) if nvcc and mounted else ()
    )


def _python_elsewhere(room: Room) -> str:
    """What makes nvcc write another path for the Python that the build runs with, where that is somebody's own.

    `assert` in Python's headers says where they lie. Python's own CFLAGS turn it off for C++; nvcc does not get them.
    Only the wrapper adds it: in the build's own variables a project could write the path into its wheel.
    """
    prefix = str(room.interpreter)
    if not room.isolation.canonical or f"{prefix}/".startswith("/usr/") or re.search(r"[\s,='\"]", prefix):
        return ""
    return f"-Xcompiler -fmacro-prefix-map={prefix}={CANONICAL}/python"


def _lay_shadow(toolkit: Path, shadow: Path, nvcc: Path) -> None:
    """Make `shadow` look like the toolkit, with another `bin/nvcc`."""
    remove_tree(shadow)
    (shadow / "bin").mkdir(parents=True)
    for entry in toolkit.iterdir():
        if entry.name != "bin":
            (shadow / entry.name).symlink_to(entry)
    for entry in (toolkit / "bin").iterdir():
        if entry.name != "nvcc":
            (shadow / "bin" / entry.name).symlink_to(entry)
    shutil.copy(nvcc, shadow / "bin" / "nvcc")  # a link would lead whoever resolves it away from the toolkit


def _programs(search: Sequence[tuple[Path, str]], wanted: Callable[[Path], bool]) -> Iterator[tuple[str, str]]:
    """Name and path, as the build sees it, of each wanted program on the PATH; the first of a name counts."""
    known = set()
    for directory, seen in search:
        for file in sorted(directory.iterdir()) if directory.is_dir() else ():
            if file.name not in known and wanted(file) and os.access(file, os.X_OK):
                known.add(file.name)
                yield file.name, f"{seen}/{file.name}"


def _is_compiler(file: Path) -> bool:
    # A distribution's directory of launchers that have the names of compilers (/usr/lib/ccache) is none of compilers.
    return _COMPILERS.fullmatch(file.name) is not None and file.resolve().name not in LAUNCHERS


def _is_launcher(file: Path) -> bool:
    return file.name in LAUNCHERS


def _copy_nvcc(launch: Path, there: str, toolkit: Path, toolkit_seen: str) -> str:
    """The path, as the build sees it, by which the real nvcc is started; empty: nothing can stand in for it."""
    program, profile = toolkit / "bin" / "nvcc", toolkit / "bin" / "nvcc.profile"
    if not profile.is_file() or program.read_bytes()[:4] != b"\x7fELF":  # a distribution's wrapper script
        return ""
    for entry in program.parent.iterdir():
        (launch / "toolkit" / entry.name).symlink_to(f"{toolkit_seen}/bin/{entry.name}")
    for name in ("nvcc", "nvcc.profile"):
        (launch / "toolkit" / name).unlink()
    shutil.copy(program, launch / "toolkit" / "nvcc")
    text = profile.read_text("utf-8", errors="surrogateescape").replace("$(_HERE_)", f"{toolkit_seen}/bin")
    (launch / "toolkit" / "nvcc.profile").write_text(text, "utf-8", errors="surrogateescape")
    return f"{there}/toolkit/nvcc"


def _write_program(path: Path, there: str, arguments: str) -> None:
    interpreter = os.path.realpath(sys.executable)
    first = f"#!{interpreter} -IS\n"
    if " " in interpreter or len(first) > 250:  # what the kernel reads of that line: execve(2)
        first = f"#!/bin/sh\n'''exec' '{interpreter}' -IS \"$0\" \"$@\"\n' '''\n"
    start = f"sys.path.insert(0, {there!r})\nimport compiler_wrapper\ncompiler_wrapper.main({arguments})\n"
    path.write_text(f"{first}import sys\n{start}")
    path.chmod(0o755)
