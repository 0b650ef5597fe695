"""A one-line program compiled by nvcc with the host compiler that was found: whether the two, and the C library, fit.

In: a toolkit, a host compiler, the variables of a build, and where results are kept. Out: `Trial`. It takes about two
seconds, the first time: a success is kept under the identity of everything that took part. It cannot fail.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wheelsmith.children import run_child
from wheelsmith.store import write_atomic
from wheelsmith.toolchain.cuda import CudaToolkit
from wheelsmith.toolchain.host import BUILD_PATH, HostCompiler

#: A kernel, so that both compilers run, and the header whose declarations toolkits and C libraries quarrel about.
PROGRAM = "#include <cmath>\n__global__ void wheelsmith(double *x) { *x = sqrt(*x); }\n"

_LONGEST = 120.0  # seconds
_PASSED = ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")
_MADE_BY = re.compile(rb"GCC: \([^)\0]*\) (\d[\w.]*)|(clang version \d[\w.]*)")  # of the object's section .comment
_PARTS = ("bin/nvcc", "bin/nvcc.profile", "include/crt/host_config.h", "include/crt/math_functions.h")


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it.

    Attributes:
        ok: whether the program compiled.
        used: version of the compiler that made the host code, such as `13.3.0`: nvcc may have preferred another than
            the one that was found; empty: not known.
        words: what nvcc said.
        seconds: wall time; 0: the result was kept from an earlier trial.
    """

    ok: bool
    used: str
    words: str
    seconds: float


def try_compiler(
    toolkit: CudaToolkit, compiler: HostCompiler, variables: Mapping[str, str], store: Path | None = None
) -> Trial:
    """Compile the program, or say that it compiled before.

    Args:
        toolkit: whose nvcc.
        compiler: handed to nvcc only if somebody named it; else nvcc takes what it finds, as in a build.
        variables: of the build, of which those that nvcc reads count.
        store: root of the store that keeps the result; None, or not there: nothing is kept.
    """
    flags = {name: variables[name] for name in _PASSED if name in variables}
    kept = None
    if store is not None and store.is_dir():
        kept = store / "trials" / f"{_identity(toolkit, compiler, flags)}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            return Trial(True, str(json.loads(kept.read_text("utf-8"))["used"]), "", 0.0)
    trial = _compile(toolkit, compiler, flags)
    if trial.ok and kept is not None:
        with suppress(OSError):  # a store that cannot be written is said elsewhere
            kept.parent.mkdir(exist_ok=True)
            write_atomic(kept, json.dumps({"used": trial.used, "seconds": round(trial.seconds, 2)}).encode())
    return trial


def _compile(toolkit: CudaToolkit, compiler: HostCompiler, flags: Mapping[str, str]) -> Trial:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wheelsmith-") as folder:
        source, result = Path(folder, "trial.cu"), Path(folder, "trial.o")
        source.write_text(PROGRAM, "utf-8")
        environment = {
            "PATH": f"{toolkit.root}/bin:{BUILD_PATH}",
            "TMPDIR": folder,
            "HOME": folder,
            "LC_ALL": "C.UTF-8",
        }
        environment |= dict(flags) | compiler.variables(flags)
        command: list[str | Path] = [toolkit.root / "bin" / "nvcc", "-c", source, "-o", result]
        try:
            done = run_child(command, cwd=folder, env=environment, timeout=_LONGEST)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Trial(False, "", str(error), time.monotonic() - started)
        seconds, words = time.monotonic() - started, f"{done.stdout}{done.stderr}".replace(f"{folder}/", "").strip()
        if done.returncode != 0 or not result.is_file():
            return Trial(False, "", words, seconds)
        made_by = _MADE_BY.search(result.read_bytes())
        return Trial(True, (made_by[1] or made_by[2]).decode() if made_by else "", words, seconds)


def _identity(toolkit: CudaToolkit, compiler: HostCompiler, flags: Mapping[str, str]) -> str:
    """A digest of all that takes part. Every g++ of the machine does: nvcc chooses among them."""
    facts = [PROGRAM, toolkit.release, compiler.version, compiler.asked and "asked", *platform.libc_ver()]
    facts += [f"{name}={value}" for name, value in sorted(flags.items())]
    facts += map(_file, _involved(toolkit, compiler))
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]


def _involved(toolkit: CudaToolkit, compiler: HostCompiler) -> Iterator[Path]:
    yield Path("/etc/os-release")
    yield Path("/usr/include/features.h")
    yield Path(compiler.path)
    for part in _PARTS:
        yield toolkit.root / part
    for directory in BUILD_PATH.split(":"):
        yield from sorted(Path(directory).glob("*g++*"))


def _file(path: Path) -> str:
    real = os.path.realpath(path)
    try:
        facts = Path(real).stat()
    except OSError:
        return f"{path} {real}"
    return f"{path} {real} {facts.st_size} {facts.st_mtime_ns}"
