"""What `explain` costs: CPU-seconds against grep's, and peak memory, for logs of any size, in one run.

    python -m benchmarks.explain [--megabytes 200]

The log is that of a long build as ninja, nvcc, ptxas and pip print it, with prefixes of a CI in front; its failure is
at the end, in the middle, or nowhere. Each run is a process of its own, reading from a pipe. The aim: at most one
CPU-second for 20 MB, and 100 MiB, whatever the size.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

FAILURE = (
    "FAILED: [code=137] last.cu.o\n/cuda/bin/nvcc -c last.cu -o last.cu.o\nKilled\n"
    "ninja: build stopped: subcommand failed.\n"
)
WORDS = r"error|fatal|FAILED|Killed|Traceback|cannot|undefined"


def lines(number: int) -> str:
    """Ten lines of a build, no two of them the same."""
    name = f"csrc/attention/error_utils_{number}"
    return (
        f"[{number}/9999999] Building CUDA object CMakeFiles/_C.dir/{name}.cu.o\n"
        f"/cuda/bin/nvcc -Werror=return-type -Xcompiler -fPIC -gencode=arch=compute_90a,code=sm_90a -DFAILED={number}"
        f" -Iinclude/torch -c /src/{name}.cu -o CMakeFiles/_C.dir/{name}.cu.o\n"
        f"ptxas info    : Compiling entry function '_Z{number}flash_fwd' for 'sm_90a'\n"
        f"ptxas info    : Used {number % 255} registers, 380 bytes cmem[0]\n"
        f'/src/{name}.cu({number % 900}): warning #177-D: variable "error" was declared but never referenced\n'
        f"    int error = {number};\n        ^\n\n"
        f"/src/{name}.cpp:{number % 900}:9: warning: unused variable 'fatal' [-Wunused-variable]\n"
        f"-- Performing Test HAVE_{number} - Failed\n"
    )


def write(path: Path, megabytes: int, prefix: Callable[[int], str], where: str) -> None:
    """A log; where its failure is: `end`, `middle`, `nowhere`."""
    size, number = 0, 0
    with path.open("w", encoding="utf-8") as file:
        told = where == "nowhere"
        while size < megabytes * 10**6:
            number += 1
            text = "".join(f"{prefix(number)}{line}\n" for line in lines(number).splitlines())
            if where == "middle" and not told and size > megabytes * 5 * 10**5:
                text, told = text + FAILURE, True
            size += file.write(text)
        if where == "end":
            file.write(FAILURE)


def cost(command: list[str], path: Path) -> tuple[float, int, str]:
    """CPU-seconds, peak memory in bytes, and the first line of what a command says that reads a log from a pipe."""
    source = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    process = subprocess.Popen(command, stdin=source.stdout, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and source.stdout is not None, "they are pipes"
    source.stdout.close()
    said = process.stdout.readline().strip()
    process.stdout.read()
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    source.wait()
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, said


def main() -> None:
    """Write the logs, and run both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=200)
    options = parser.parse_args()
    kinds: list[tuple[str, Callable[[int], str], str]] = [
        ("plain, failure at the end", lambda number: "", "end"),
        ("plain, no failure", lambda number: "", "nowhere"),
        ("plain, failure in the middle", lambda number: "", "middle"),
        ("GitHub, failure at the end", lambda number: f"2026-09-14T08:{number % 60:02}:01.0000000Z ", "end"),
        ("BuildKit, no failure", lambda number: f"#12 {number}.4 ", "nowhere"),
    ]
    print(f"{options.megabytes} MB each; aim: {options.megabytes / 20:.1f} CPU-s, 100 MiB")
    for name, prefix, where in kinds:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "log"
            write(path, options.megabytes, prefix, where)
            seconds, peak, said = cost([sys.executable, "-m", "wheelsmith", "explain", "-"], path)
            grep, _, _ = cost(["grep", "-acE", WORDS], path)
        ratio = f"{seconds / max(grep, 0.01):.0f} times grep's {grep:.2f}"
        print(f"{name:<30} {seconds:6.2f} CPU-s ({ratio}), {peak / 2**20:4.0f} MiB; said: {said}")


if __name__ == "__main__":
    main()
