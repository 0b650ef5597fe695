"""Which of nvcc's steps could be used again when an arch is added: what each takes, and whether its input is the same.

    python -m benchmarks.phases UNIT.cu [--before "86 120"] [--after "86 89 120"] [--toolkit DIR] [--host] [-- FLAGS]

`UNIT.cu` may also be `small` or `cub`: the units of `benchmarks.cache`. The steps that `nvcc -dryrun` names are run one
by one for both lists of archs, in one directory with the same names of files, and measured: CPU-seconds. A step is
`same` if its command line and the bytes of every file that it reads are those of the build before. `--host`: without
cicc and ptxas, whose results the compile cache keeps already.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shlex
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.cache import CUB, SMALL

_MARK = "#$ "


def steps(nvcc: Path, unit: Path, archs: str, place: Path, flags: list[str]) -> list[str]:
    """nvcc's steps, as shell commands."""
    codes = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs.split()]
    command = [str(nvcc), "-O3", *flags, *codes, "-c", str(unit), "-o", f"{place}/unit.o"]
    command += ["-keep", "-keep-dir", str(place), "-dryrun"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line[len(_MARK) :] for line in done.stderr.splitlines() if line.startswith(_MARK)]


def run(commands: list[str], place: Path, *, host: bool) -> list[tuple[str, str, float]]:
    """Of each step its tool, a digest of its command line and of all that it reads, and its CPU-seconds."""
    environment, found = dict(os.environ), []
    for command in commands:
        name, equals, value = command.partition("=")
        if equals and name.isidentifier():
            environment[name] = value.strip('"')
            continue
        words = shlex.split(command)
        tool = Path(words[0]).name
        if tool == "rm" or (host and tool in {"cicc", "ptxas", "fatbinary", "as"}):
            continue
        if tool in {"gcc", "g++"}:
            tool = "preprocessor" if "-E" in words else "host compiler"
            if host and tool == "host compiler":
                continue
        digest = hashlib.sha256(command.encode())
        for word in words[1:]:
            for part in (word, word.rpartition("=")[2]):
                path = place / part
                if path.is_file() and not path.name.endswith(".o") and words[words.index(word) - 1] != "-o":
                    digest.update(path.read_bytes())
        # The stub is included by name: `#include "unit.cudafe1.stub.c"`, and it the device code.
        if tool == "host compiler":
            for path in sorted(place.glob("*.stub.c")) + sorted(place.glob("*.fatbin.c")):
                digest.update(path.read_bytes())
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, shell=True, cwd=place, env=environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((tool, digest.hexdigest(), seconds))
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unit")
    parser.add_argument("--before", default="86 120")
    parser.add_argument("--after", default="86 89 120")
    parser.add_argument("--toolkit", type=Path, default=Path("/usr/local/cuda"))
    parser.add_argument("--host", action="store_true")
    parser.add_argument("flags", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wheelsmith-phases-") as temporary:
        root = Path(temporary)
        texts = {"small": SMALL["tiles1.cu"], "cub": CUB["sort.cu"]}
        unit = Path(options.unit).absolute()
        if options.unit in texts:
            unit = root / f"{options.unit}.cu"
            unit.write_text(texts[options.unit])
        place, nvcc = root / "keep", options.toolkit / "bin" / "nvcc"
        made = {}
        for archs in (options.before, options.after):
            place.mkdir()
            made[archs] = run(steps(nvcc, unit, archs, place, options.flags), place, host=options.host)
            place.rename(root / archs.replace(" ", "-"))
        known = {digest for _, digest, _ in made[options.before]}
        total: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0, 0.0])
        for tool, digest, seconds in made[options.after]:
            row = total[tool]
            row[0] += 1
            row[2] += seconds
            if digest in known:
                row[1] += 1
                row[3] += seconds
        print(f"{unit.name}: {options.after} after {options.before}; CPU-seconds")
        for tool, (count, same, seconds, spared) in total.items():
            print(f"  {tool:<14} {count:.0f} steps {seconds:6.2f}   same {same:.0f}: {spared:.2f}")
        texts_of = {
            archs: {p.name: p.read_bytes() for p in (root / archs.replace(" ", "-")).iterdir()} for archs in made
        }
        common = texts_of[options.before].keys() & texts_of[options.after].keys()
        for name in sorted(common):
            alike = texts_of[options.before][name] == texts_of[options.after][name]
            print(f"  {name:<32} {'equal' if alike else 'differs'}")


if __name__ == "__main__":
    main()
