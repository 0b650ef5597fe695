"""The C++ compiler of the machine that nvcc hands host code to.

In: a choice, the environment, PATH. Out: which compiler it is. Fails with `NoCompilerError`.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wheelsmith.errors import NoCompilerError, TargetError

#: Where the build looks too (`PATH` of every plan), so that doctor and build see the same compiler.
BUILD_PATH = "/usr/local/bin:/usr/bin:/bin"
#: Variables that name it: CMake's, which hands it to nvcc as `-ccbin`, before nvcc's own.
VARIABLES = ("CUDAHOSTCXX", "NVCC_CCBIN")

#: Of the machines that build.
_SYSTEM, _PROCESSORS = "Linux", ("x86_64", "AMD64")
_VERSION = re.compile(r"\b\d+\.\d+(?:\.\d+)?\b")


@dataclass(frozen=True, slots=True)
class HostCompiler:
    """The compiler that nvcc hands host code to.

    Attributes:
        path: where it is.
        version: the first line of `--version`.
        asked: what named it, as in `--host-compiler`; empty: nobody, it is the g++ that a build finds.
        preferred: version of the compiler that nvcc takes instead, if nobody has named one (Debian's nvcc has its own
            opinion); empty: none, or not tried.
    """

    path: str
    version: str
    asked: str = ""
    preferred: str = ""

    @property
    def number(self) -> str:
        """Its version alone, such as `14.2.0`; empty: not known."""
        found = _VERSION.findall(self.version)
        return found[-1] if found else ""

    @property
    def installation(self) -> tuple[tuple[Path, bool], ...]:
        """What a build must see of it, to read, if somebody has named it: all that is installed with it, where that is
        a folder of its own, such as /opt/gcc-13."""
        real = Path(self.path).resolve()
        if not self.asked or real.is_relative_to("/usr"):  # which every build sees
            return ()
        prefix, home = real.parent.parent, Path.home()
        alone = real.parent.name == "bin" and prefix not in (home, *home.parents)
        return tuple(dict.fromkeys(((prefix if alone else real, False), (Path(self.path), False))))

    @property
    def facts(self) -> str:
        """What compiles, for a build's record: the version, and the other one that nvcc takes."""
        return f"{self.version}; nvcc takes {self.preferred}" if self.preferred else self.version

    def variables(self, given: Mapping[str, str]) -> dict[str, str]:
        """What leads CMake and nvcc to it, in a build that is given these variables; nothing, if nobody has named it.

        nvcc of CUDA 12.4 and older does not know NVCC_CCBIN; NVCC_PREPEND_FLAGS it knows since 11.2, and what a project
        says itself comes after it and counts.
        """
        if not self.asked:
            return {}
        flags = f"{given.get('NVCC_PREPEND_FLAGS', '')} -ccbin {self.path}".strip()
        return {"CUDAHOSTCXX": self.path, "NVCC_PREPEND_FLAGS": flags}


def refuse_other_machine() -> None:
    """Refuse a machine for which nothing can be built here, in one sentence instead of a missing file.

    Raises:
        TargetError: it is no Linux on x86-64.
    """
    system, processor = platform.system(), platform.machine()
    if system == _SYSTEM and processor in _PROCESSORS:
        return
    there = (
        "in WSL 2 (`wsl --install`)" if system == "Windows" else "on such a machine (Linux on x86-64), real or virtual"
    )
    if system == _SYSTEM:
        there = "on an x86-64 machine; wheels for Arm (Grace, Jetson) wheelsmith does not build yet"
    name = {"Darwin": "macOS", "": "this system"}.get(system, system)
    raise TargetError(
        f"wheelsmith builds linux_x86_64 wheels, and this machine is {name} on {processor or 'an unknown processor'}.",
        f"Run the build {there}. `plan`, `inspect`, `fits`, `explain` and `advise` work here as well."
        if system != "Windows"
        else f"Run it {there}.",
    )


def find_host_compiler(choice: str | None = None, environment: Mapping[str, str] = os.environ) -> HostCompiler:
    """The compiler of that name or path, else that of CUDAHOSTCXX or NVCC_CCBIN, else the g++ that a build will find.

    Raises:
        NoCompilerError: it is not there, or does not run.
    """
    named = [("--host-compiler", choice), *((name, environment.get(name)) for name in VARIABLES)]
    asked, name = next(((what, value) for what, value in named if value), ("", "g++"))
    program = f"{name}/g++" if "/" in name and Path(name).is_dir() else name  # nvcc's -ccbin takes a directory, too
    path = shutil.which(program, path=BUILD_PATH if "/" not in name else None)
    if path is None and not asked:
        raise NoCompilerError(
            f"There is no C++ compiler (g++) in {BUILD_PATH}.",
            "Install one: `apt-get install g++` on Debian and Ubuntu, `dnf install gcc-c++` on Fedora and RHEL.",
        )
    version = _version(path) if path is not None else ""
    if path is None or not version:
        lack = "does not run" if path is not None else f"is not in {BUILD_PATH}" if "/" not in name else "is not there"
        raise NoCompilerError(
            f"The host compiler {name}, which {asked or 'PATH'} names, {lack}.",
            "Name a C++ compiler that is installed, such as /usr/bin/g++-13, or leave it away.",
        )
    return HostCompiler(str(Path(path).absolute()), version, asked)


def other_compilers(oldest: int, newest: int) -> Iterator[HostCompiler]:
    """The `g++-N` of this machine with a major version in that range, the newest first."""
    for major in range(newest, oldest - 1, -1):
        path = shutil.which(f"g++-{major}", path=BUILD_PATH)
        if path is not None and (version := _version(path)):
            yield HostCompiler(path, version, "--host-compiler")


def _version(path: str) -> str:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""
