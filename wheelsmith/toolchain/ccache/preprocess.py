"""Shows ccache everything that nvcc will really compile. A program, run by ccache in place of `nvcc … -E`.

In: nvcc's command line with `-E`. Out: on stdout, the steps that nvcc would run (`-dryrun`) and the preprocessed text
of every one of its passes: host, and each arch. Fails as the preprocessor fails, and then ccache compiles as if it were
not there.

Why: ccache asks nvcc for one pass, which is that of the first arch. What stands under `#if __CUDA_ARCH__ >= 900`, or
under `#ifndef __CUDA_ARCH__`, and the headers included there, are no part of its text, and a change in them would be
answered with the old object (seen with ccache 4.14.2 and nvcc 13.0). Standard library only: it starts once a unit.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

_MARK = "#$ "
_RANDOM = re.compile(r"tmpxft_[0-9a-f]+_[0-9a-f]+")  # names of temporary files, without -objtemp


def main() -> int:
    """Print the passes."""
    compiler, *arguments = sys.argv[1:]
    if "-E" not in arguments:  # a question of another kind, such as `-###`
        os.execvp(compiler, [compiler, *arguments])  # noqa: S606 - no shell is what is meant
    arguments.remove("-E")
    mode = os.environ.get("WHEELSMITH_NVCC_MODE") or "-c"
    # A second try without it, as `-fatbin` and its like go with no other mode.
    steps = _steps([compiler, *arguments, mode]) or _steps([compiler, *arguments])
    passes = list(_passes(steps))
    if not passes:
        os.execvp(compiler, [compiler, *arguments, "-E"])  # noqa: S606
    environment = dict(os.environ) | dict(_variables(steps))
    out = sys.stdout.buffer
    out.write("".join(f"// {_RANDOM.sub('tmpxft', step)}\n" for step in steps).encode("utf-8", "surrogateescape"))
    out.flush()
    for command in passes:
        status = subprocess.run(command, env=environment, check=False).returncode
        if status != 0:
            return status
    return 0


def _steps(command: list[str]) -> list[str]:
    done = subprocess.run([*command, "-o", "unit.o", "-dryrun"], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines() if done.returncode == 0 else []
    return [line[len(_MARK) :] for line in lines if line.startswith(_MARK)]


def _variables(steps: list[str]) -> Iterator[tuple[str, str]]:
    """The search path with which nvcc runs its steps."""
    for step in steps:
        name, separator, value = step.partition("=")
        if separator and name in ("PATH", "LD_LIBRARY_PATH"):
            yield name, value


def _passes(steps: list[str]) -> Iterator[list[str]]:
    """The preprocessor's commands, writing to stdout."""
    for step in steps:
        if " -E " not in step:
            continue
        words = shlex.split(step)
        if "-E" in words and "-o" in words:
            position = words.index("-o")
            yield words[:position] + words[position + 2 :]


if __name__ == "__main__":
    sys.exit(main())
