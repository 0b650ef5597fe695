"""Our images against the usual single-stage image with the same content, built in one run from the same base images.

    python -m benchmarks.image_sizes --devel localhost/standin-devel:13.0 --slim localhost/standin-slim:24.04

Needs podman and the base images (tests/container/engines.sh makes stand-ins). Prints sizes, and cold and cached build
times. "Cold" means that no layer is cached; pip's downloads and compiled units in cache mounts are kept between runs,
unless the engine's storage is new.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What one would write by hand: the devel image, everything in it, caches and build tools left where they fall.
SINGLE = """\
FROM {devel}
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y ca-certificates g++ git make \\
      python3 python3-dev python3-venv
COPY . /src
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install setuptools wheel cmake ninja /src
ENV PATH=/opt/venv/bin:$PATH
RUN wheelsmith build {requirement} --gpu "{gpus}" --toolkit auto --index /dist && pip install /dist/*.whl
"""


def main() -> int:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devel", required=True, metavar="IMAGE")
    parser.add_argument("--slim", required=True, metavar="IMAGE")
    parser.add_argument("--requirement", default="cuvec==6.0.1")
    parser.add_argument("--gpus", default="RTX 5090,A40")
    parser.add_argument("--stages", nargs="+", default=["builder", "installer", "wheels", "runtime", "runpod"])
    options = parser.parse_args()
    base = {"BASE_IMAGE": options.devel, "RUNTIME_IMAGE": options.slim, "REQUIREMENT": options.requirement}
    pairs = [f"--build-arg={name}={value}" for name, value in (base | {"GPUS": options.gpus}).items()]

    sizes = {"base: devel": size(options.devel), "base: slim": size(options.slim)}
    times: dict[str, float] = {}
    times["runtime, cold"] = build(["--target=runtime", *pairs, "--no-cache"], "localhost/measure:runtime")
    for stage in options.stages:
        build([f"--target={stage}", *pairs], f"localhost/measure:{stage}")
        sizes[f"stage: {stage}"] = size(f"localhost/measure:{stage}")
    times["runtime, cached"] = build(["--target=runtime", *pairs], "localhost/measure:runtime")
    with tempfile.TemporaryDirectory() as folder:
        single = Path(folder, "Dockerfile")
        single.write_text(SINGLE.format(devel=options.devel, requirement=options.requirement, gpus=options.gpus))
        times["single stage, cold"] = build(["--no-cache", f"--file={single}"], "localhost/measure:single")
    sizes["single stage, same package"] = size("localhost/measure:single")

    small = sizes["stage: runtime"]
    for name, value in sizes.items():
        print(f"{name:<28} {value / 1e6:>9,.1f} MB  {value / small:>6.2f} x runtime")
    for name, seconds in times.items():
        print(f"{name:<28} {seconds:>9.1f} s")
    for line in layers("localhost/measure:runtime"):
        print(line)
    return 0


def build(arguments: list[str], tag: str) -> float:
    """Build an image and return the seconds that it took."""
    started = time.monotonic()
    command = ["podman", "build", "--network=host", "--pull=never", "--format=docker", f"--tag={tag}", *arguments]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{tag} does not build:\n{done.stderr[-3000:]}")
    return time.monotonic() - started


def size(tag: str) -> int:
    """Bytes of an image, uncompressed."""
    command = ["podman", "image", "inspect", "--format", "{{.Size}}", tag]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def layers(tag: str) -> list[str]:
    """What each layer adds, the lowest first."""
    command = ["podman", "history", "--no-trunc", "--format", "json", tag]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    shown = [(row["size"], " ".join(row["CreatedBy"].split())[-90:]) for row in reversed(rows) if row["size"]]
    return [f"  layer {added / 1e6:>9,.1f} MB  …{text}" for added, text in shown]


if __name__ == "__main__":
    sys.exit(main())
