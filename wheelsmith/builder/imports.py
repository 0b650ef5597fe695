"""Whether the modules that the plan names import from the finished wheel, without a GPU.

In: a plan, the sealed wheel, the work directory and what it was built with. Out: for each module `imported`, or why
that was not checked: the build environment holds what building needs, not all that running needs. Each module is
imported in a process of its own, in the sandbox of the build, with no GPU visible; it ends with wheelsmith, after a
while, and when it has said too much. Fails with `ContractError` where the import fails for a reason of the wheel's own.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.children import start_child
from wheelsmith.compile.process import end_build
from wheelsmith.compile.sandbox import Room
from wheelsmith.errors import ContractError
from wheelsmith.planning.model import CANONICAL

if TYPE_CHECKING:
    from wheelsmith.builder.tools import Tools
    from wheelsmith.planning.model import Plan

_SECONDS = 300.0  # of one module
_ALL_SECONDS = 900.0  # of all modules together
_MOST_SAID = 16 << 20  # bytes of output of one module
_TAIL = 1 << 16  # bytes of it that are looked at
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
    end = time.monotonic() + _ALL_SECONDS
    return {
        module: _import(module, room.command([python, "-c", _PROGRAM, module], leashed=True), variables, own, end)
        for module in plan.imports
    }


def _import(module: str, command: list[str], variables: dict[str, str], own: set[str], end: float) -> str:
    seconds = max(0.0, min(_SECONDS, end - time.monotonic()))
    status, said = _run(command, variables, seconds)
    if status is None:
        return f"not checked: {said}"
    if status == 0:
        return "imported"
    missing = _MODULE.search(said)
    if missing is not None and missing[1].partition(".")[0] not in own:
        return f"not checked: it needs {missing[1]}, which the build environment does not have"
    library = _LIBRARY.search(said)
    if library is not None:
        return f"not checked: it needs {library[1]}, which the build environment does not have"
    raise ContractError(
        f"The finished wheel's module {module} does not import without a GPU.",
        "Mend the package by a patch in the recipe, or take the module out of wheel.imports.",
        detail="\n".join(said.splitlines()[-_SHOWN:]),
    )


def _run(command: list[str], variables: dict[str, str], seconds: float) -> tuple[int | None, str]:
    """The exit status of a command of `Room.command`, and the end of what it wrote to stderr; or None, and why it was
    ended before that."""
    end, tail, size = time.monotonic() + seconds, b"", 0
    process = start_child(
        command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None, "it is a pipe"  # noqa: S101
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stderr, selectors.EVENT_READ)
            while selector.select(max(0.0, end - time.monotonic())):
                chunk = os.read(process.stderr.fileno(), 1 << 16)
                tail, size = (tail + chunk)[-_TAIL:], size + len(chunk)
                if size > _MOST_SAID:
                    return None, f"it had written more than {_MOST_SAID:,} bytes"
                if not chunk:
                    break
        status = process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None, f"it had not ended after {seconds:.0f} s"
    finally:
        end_build(process)
        process.stderr.close()
    return status, tail.decode("utf-8", "replace")
