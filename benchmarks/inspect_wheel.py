"""Seconds and peak memory of `wheelsmith inspect` on a wheel, against `unzip -p` of the same libraries.

    python benchmarks/inspect_wheel.py vllm-0.15.1-….whl [--cuobjdump PATH] [--repeat 3]

Everything is measured in one run on one machine, alternating, so that the ratios hold where the seconds do not. With
`--cuobjdump` also against unzip to a directory plus `cuobjdump --list-elf --list-ptx` of each library, and the two
lists are compared.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import wheelsmith

_LISTED = re.compile(r"(ELF|PTX) file +\d+: .*\.sm_(\d+[af]?)\.(?:cubin|ptx)")


def run(command: list[str], output: str | None = None) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak MiB of a command."""
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL if output is None else Path(output).open("wb")) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} failed with {child.returncode}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("wheel", type=Path)
    options.add_argument("--cuobjdump")
    options.add_argument("--repeat", type=int, default=3)
    given = options.parse_args()
    with zipfile.ZipFile(given.wheel) as archive:
        libraries = [member for member in archive.infolist() if member.filename.endswith(".so")]
    names = [member.filename for member in libraries]
    print(f"{given.wheel.name}: {given.wheel.stat().st_size:,} bytes, {len(libraries)} libraries of", end=" ")
    print(f"{sum(member.file_size for member in libraries):,} bytes")

    ours, theirs = [], []
    for _ in range(given.repeat):
        theirs.append(run(["unzip", "-p", str(given.wheel), *names]))
        ours.append(run([sys.executable, "-m", "wheelsmith", "inspect", str(given.wheel), "--json"]))
    for name, rows in (("wheelsmith inspect", ours), ("unzip -p", theirs)):
        wall, processor = (statistics.median(row[i] for row in rows) for i in (0, 1))
        print(f"{name:20} {wall:7.2f} s wall {processor:7.2f} s processor {max(row[2] for row in rows):7.0f} MiB peak")
    ratios = [mine[0] / other[0] for mine, other in zip(ours, theirs, strict=True)]
    print(f"ratio of wall time   {statistics.median(ratios):7.2f} (each run: {' '.join(f'{r:.2f}' for r in ratios)})")
    ratio = statistics.median(mine[1] / other[1] for mine, other in zip(ours, theirs, strict=True))
    print(f"ratio of processor   {ratio:7.2f}")
    if given.cuobjdump:
        compare(given.wheel, names, given.cuobjdump, statistics.median(row[0] for row in ours))


def compare(wheel: Path, names: list[str], cuobjdump: str, ours: float) -> None:
    """Time NVIDIA's way, and hold its list against ours."""
    report = {library.path: library for library in wheelsmith.inspect(wheel).libraries}
    with tempfile.TemporaryDirectory() as folder:
        seconds = run(["unzip", "-q", str(wheel), *names, "-d", folder])[0]
        agree = 0
        for name in names:
            started = time.monotonic()
            listing = subprocess.run(
                [cuobjdump, "--list-elf", "--list-ptx", str(Path(folder, name))],
                capture_output=True,
                text=True,
                check=False,
            ).stdout
            seconds += time.monotonic() - started
            mine = Counter(  # cuobjdump prints sm_100 for 100f
                ("ELF" if code.kind == "sass" else "PTX", code.arch.sm[3:].removesuffix("f"))
                for code in report[name].facts.device_code
            )
            agree += mine == Counter(_LISTED.findall(listing))
        print(f"unzip + cuobjdump    {seconds:7.2f} s wall; ratio {ours / seconds:.2f}")
        print(f"agreement            {agree} of {len(names)} libraries")


if __name__ == "__main__":
    main()
