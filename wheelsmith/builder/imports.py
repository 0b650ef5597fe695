"""Whether the modules that the plan names import from the finished wheel, without a GPU.

In: a plan, the sealed wheel, the work directory and what it was built with. Out: for each module `imported`, or why
that was not checked: the build environment holds what building needs, not all that running needs. Each module is
imported in a process of its own, in the sandbox of the build, with no GPU visible. Fails with `ContractError` where the
import fails for a reason of the wheel's own.
"""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.compile.sandbox import Room
from wheelsmith.errors import ContractError
from wheelsmith.planning.model import CANONICAL

if TYPE_CHECKING:
    from wheelsmith.builder.tools import Tools
    from wheelsmith.planning.model import Plan

_SECONDS = 300
_PROGRAM = "import importlib, sys; importlib.import_module(sys.argv[1])"
_MODULE = re.compile(r"^ModuleNotFoundError: No module named '([^']+)'", re.MULTILINE)
_LIBRARY = re.compile(r"^(?:ImportError|OSError): ([^\s:]+): cannot open shared object file", re.MULTILINE)
_SHOWN = 12


def check_imports(plan: Plan, wheel: Path, root: Path, tools: Tools) -> dict[str, str]:
    """Import the plan's modules from the wheel; see above.

    Raises:
        ContractError: an import fails, and not because something else is missing in the build environment.
    """
    if not plan.imports:
        return {}
    unpacked = root / "proof" / "imports"
    with zipfile.ZipFile(wheel) as archive:  # its names were checked when it was sealed
        archive.extractall(unpacked)
        own = {name.partition("/")[0].partition(".")[0] for name in archive.namelist()}
    environment = tools.environment
    room = Room(root, environment.prefix, tools.toolkit.root, tools.isolation, environment.interpreter.base_prefix)
    room.hand_over()
    python = room.seen(f"{CANONICAL}/env/bin/python")
    if not (environment.prefix / "pyvenv.cfg").is_file():  # --env current outside a virtual environment
        python = str(environment.interpreter.executable)
    variables = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": f"{room.place}/home",
        "TMPDIR": f"{room.place}/tmp",  # noqa: S108 - private to the build
        "PYTHONPATH": f"{room.place}/proof/imports",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return {
        module: _import(module, room.command([python, "-c", _PROGRAM, module]), variables, own)
        for module in plan.imports
    }


def _import(module: str, command: list[str], variables: dict[str, str], own: set[str]) -> str:
    try:
        done = subprocess.run(
            command, env=variables, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not checked: it had not ended after {_SECONDS} s"
    if done.returncode == 0:
        return "imported"
    missing = _MODULE.search(done.stderr)
    if missing is not None and missing[1].partition(".")[0] not in own:
        return f"not checked: it needs {missing[1]}, which the build environment does not have"
    library = _LIBRARY.search(done.stderr)
    if library is not None:
        return f"not checked: it needs {library[1]}, which the build environment does not have"
    raise ContractError(
        f"The finished wheel's module {module} does not import without a GPU.",
        "Mend the package by a patch in the recipe, or take the module out of wheel.imports.",
        detail="\n".join(done.stderr.splitlines()[-_SHOWN:]),
    )
