"""What it costs to fill a directory index and to add one wheel to it, against dumb-pypi on the same files.

    python -m benchmarks.index_publish [--wheels 2500] [--projects 201] [--rounds 3] [--flat 30,3000,10000]

Both programs start as processes of their own, in turn, on the same tiny wheels; medians and ratios are printed.
dumb-pypi only writes pages (HTML and JSON): it gets names and digests in a file that is made before the clock starts,
and copies, checks and syncs nothing. wheelsmith's `publish` copies, digests and checks every wheel, stores METADATA,
writes merged, publication and variant pages, and syncs all of it; its `rebuild` is what dumb-pypi does. `--flat`
measures one `wheelsmith publish` into indexes of several sizes, from the start of the command to its end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import wheelsmith

_START = [sys.executable, "-m", "wheelsmith"]


def make_wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel of one module and its metadata."""
    stem = f"{name}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    members = {
        f"{name}.py": f"version = {version!r}\n",
        f"{stem}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.9\n"
        ),
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member), text)
    return path


def make_wheels(folder: Path, count: int, projects: int) -> list[Path]:
    """`count` wheels of `projects` projects, versions 1.0, 1.1, …"""
    folder.mkdir()
    return [make_wheel(folder, f"project{number % projects:03}", f"1.{number // projects}") for number in range(count)]


def package_list(wheels: list[Path], target: Path) -> Path:
    """What dumb-pypi reads: one JSON object per file."""
    rows = []
    for wheel in wheels:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        with zipfile.ZipFile(wheel) as archive:
            metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA")))
        inside = hashlib.sha256(metadata).hexdigest()
        row = {"filename": wheel.name, "hash": f"sha256={digest}", "requires_python": ">=3.9"}
        rows.append(json.dumps({**row, "upload_timestamp": 1_790_000_000, "core_metadata": f"sha256={inside}"}))
    target.write_text("\n".join(rows) + "\n")
    return target


def timed(command: list[str]) -> float:
    """Seconds that the command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def one_round(work: Path, wheels: list[Path], extra: Path, lists: tuple[Path, Path]) -> dict[str, float]:
    """Every measurement once, each program on an empty directory."""
    ours, theirs = work / "ours", work / "theirs"
    for folder in (ours, theirs):
        shutil.rmtree(folder, ignore_errors=True)
    seconds: dict[str, float] = {}
    dumb = [str(Path(sys.executable).with_name("dumb-pypi")), "--output-dir", str(theirs), "--packages-url", "../../"]
    dumb += ["--no-generate-timestamp", "--no-per-release-json"]
    seconds["dumb-pypi: all pages"] = timed([*dumb, "--package-list-json", str(lists[0])])
    previous = ["--previous-package-list-json", str(lists[0])]
    seconds["dumb-pypi: one added"] = timed([*dumb, "--package-list-json", str(lists[1]), *previous])
    publish = [*_START, "publish", "--index", str(ours)]
    seconds["wheelsmith: publish all"] = timed([*publish, *map(str, wheels)])
    shutil.rmtree(ours / "simple")
    shutil.rmtree(ours / "pub")
    seconds["wheelsmith: all pages"] = timed([*_START, "index", "rebuild", "--index", str(ours)])
    seconds["wheelsmith: one added"] = timed([*publish, str(extra)])
    return seconds


def flat(work: Path, sizes: list[int], projects: int, samples: int) -> None:
    """Print seconds of one `wheelsmith publish` into indexes of several sizes, which take turns."""
    took: dict[int, list[float]] = {size: [] for size in sizes}
    for size in sizes:
        started = time.perf_counter()
        wheelsmith.publish(make_wheels(work / f"flat{size}", size, min(projects, size)), index=work / f"index{size}")
        print(f"filled with {size:,} wheels in {time.perf_counter() - started:.0f} s", flush=True)
    for number in range(samples):
        for size in sizes:
            wheel = make_wheel(work / f"flat{size}", "project000", f"{9 + number}.0")
            took[size].append(timed([*_START, "publish", "--index", str(work / f"index{size}"), str(wheel)]))
    least = min(statistics.median(found) for found in took.values())
    for size, found in took.items():
        middle = statistics.median(found)
        times = f"median {middle:.2f} s, least {min(found):.2f}, most {max(found):.2f}"
        print(f"one `publish` into {size:,} wheels: {times}; {middle / least:.2f} times the fastest size")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=int, default=2500)
    parser.add_argument("--projects", type=int, default=201)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flat", default="", metavar="SIZES", help="such as 30,3000,10000")
    parser.add_argument("--samples", type=int, default=7, help="publishes into each size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if options.rounds:
            wheels = make_wheels(work / "in", options.wheels, options.projects)
            extra = make_wheel(work / "in", "project000", "9.0")
            lists = (package_list(wheels, work / "a.json"), package_list([*wheels, extra], work / "b.json"))
            rounds = [one_round(work, wheels, extra, lists) for _ in range(options.rounds)]
            middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
            print(f"{options.wheels:,} wheels in {options.projects} projects, median of {options.rounds} rounds:")
            for name, seconds in middle.items():
                print(f"  {name:<26}{seconds:8.2f} s")
            for what in ("all pages", "one added"):
                ratio = middle[f"wheelsmith: {what}"] / middle[f"dumb-pypi: {what}"]
                print(f"  {what}: wheelsmith takes {ratio:.2f} times as long as dumb-pypi")
            for name in ("ours", "theirs"):
                print(f"  pages of {name}: {sum(1 for _ in (work / name).rglob('index*'))}")
        flat(work, [int(size) for size in options.flat.split(",") if size], options.projects, options.samples)


if __name__ == "__main__":
    main()
