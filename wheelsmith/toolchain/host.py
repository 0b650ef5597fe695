"""The C++ compiler of the machine.

In: PATH. Out: which `g++` or `c++` it is. Fails with `NoCompilerError`.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from wheelsmith.errors import NoCompilerError

#: Where the build looks too (`PATH` of every plan), so that doctor and build see the same compiler.
BUILD_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class HostCompiler:
    """The compiler that nvcc hands host code to. `version` is the first line of `--version`."""

    path: str
    version: str


def find_host_compiler() -> HostCompiler:
    """Find g++ where the build will look for it.

    Raises:
        NoCompilerError: there is none.
    """
    path = shutil.which("g++", path=BUILD_PATH)
    if path is None:
        raise NoCompilerError(
            f"There is no C++ compiler (g++) in {BUILD_PATH}.",
            "Install one: `apt-get install g++` on Debian and Ubuntu, `dnf install gcc-c++` on Fedora and RHEL.",
        )
    output = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return HostCompiler(path, output.partition("\n")[0].strip())
