"""Find the Python interpreter of a version.

In: `3.12`. Out: an `Interpreter` with its headers checked. Fails with `PythonNotFoundError`. Nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from wheelsmith.children import run_child
from wheelsmith.errors import PythonNotFoundError

_QUESTION = (
    "import json, sys, sysconfig; from pathlib import Path;"
    "print(json.dumps([sys.executable, '.'.join(map(str, sys.version_info[:3])), sys.base_prefix,"
    " (Path(sysconfig.get_path('include')) / 'Python.h').is_file()]))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython: its executable, full version, and installation prefix."""

    executable: Path
    version: str
    base_prefix: Path
    has_headers: bool


def running_python() -> str:
    """`major.minor` of the interpreter that runs wheelsmith."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def find_interpreter(version: str) -> Interpreter:
    """The first interpreter of `version` (`major.minor`) with its development headers.

    Looked at: the running one, `pythonX.Y` on PATH, what uv manages, pyenv's versions, and /opt/python
    (the manylinux images).

    Raises:
        PythonNotFoundError: none is installed, or only without headers.
    """
    without_headers: Interpreter | None = None
    for candidate in _candidates(version):
        found = ask(candidate)
        if found is None or found.version.rpartition(".")[0] != version:
            continue
        if found.has_headers:
            return found
        without_headers = without_headers or found
    if without_headers is not None:
        raise PythonNotFoundError(
            f"Python {version} ({without_headers.executable}) has no development headers (Python.h).",
            f"Install them: `apt-get install python{version}-dev` on Debian and Ubuntu.",
        )
    raise PythonNotFoundError(
        f"Python {version} is not installed.",
        f"Install it (`uv python install {version}`, or your distribution's package), or choose another with --python.",
    )


def ask(executable: Path) -> Interpreter | None:
    """What an interpreter says of itself; None if it does not answer. No package that is there runs (`-S`)."""
    try:
        answer = subprocess.run(
            [executable, "-IS", "-c", _QUESTION], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        path, version, prefix, headers = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(Path(path), version, Path(prefix), headers)


def _candidates(version: str) -> Iterator[Path]:
    if version == running_python():
        yield Path(sys.executable)
    if on_path := shutil.which(f"python{version}"):
        yield Path(on_path)
    command = [find_uv_bin(), "python", "find", "--no-python-downloads", "--no-project", version]
    answer = run_child(command, cwd=os.path.sep)
    if answer.returncode == 0:
        yield Path(answer.stdout.strip())
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted((pyenv / "versions").glob(f"{version}.*/bin/python{version}"), reverse=True)
    tag = f"cp{version.replace('.', '')}"
    yield from Path("/opt/python").glob(f"{tag}-{tag}/bin/python{version}")
