"""The list of GPU code in strangers' wheels, ours against that of NVIDIA's cuobjdump: archs, kinds and order.

    python benchmarks/cuobjdump_agreement.py --folder /tmp/wheels              # what is there already
    python benchmarks/cuobjdump_agreement.py --folder /tmp/wheels --download   # the list below, from the package index

Every ELF file and static archive with GPU code is compared; of a PE file, which cuobjdump does not read on Linux, every
fatbin region is written to a file of its own. Also counts what the reader looked into. Needs nvidia-cuda-cuobjdump.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.wheel.inspect import inspect_path

if TYPE_CHECKING:
    from wheelsmith.wheel.report import LibraryReport

WHEELS = (
    "vllm==0.15.1",
    "bitsandbytes==0.50.2",
    "bitsandbytes==0.45.0",
    "cupy-cuda13x==14.2.0",
    "cupy-cuda12x==13.4.0",
    "xformers==0.0.35",
    "nvidia-cudnn-cu12",
    "nvidia-cusparse",
    "nvidia-nccl-cu12",
    "nvidia-curand",
    "nvidia-cufft",
    "nvidia-",
    "cusolver",
    "nvidia-npp",
    "nvidia-nvshmem-cu12",
    "nvidia-cusparselt-cu12",
    "torchaudio",
    "torchvision",
    "jax-",
    "cuda12-plugin",
    "xgboost",
    "lightgbm",
    "ctranslate2",
    "spconv-cu120",
    "vllm-flash-attn",
    "sgl-kernel",
    "onnxruntime-gpu",
)
_PLATFORMS = ("manylinux_2_31", "manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux1")
_LISTED = re.compile(r"(ELF|PTX) file +\d+: .*\.sm_(\d+[af]?)\.(?:cubin|ptx)")

Listing = dict[str, list[str]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--download", action="store_true")
    given = options.parse_args()
    if given.download:
        for name in WHEELS:
            download(name, given.folder)
    files = importlib.metadata.files("nvidia-cuda-cuobjdump") or []
    tool = str(next(Path(str(file.locate())) for file in files if file.name == "cuobjdump"))
    total = agreed = entries = given_up = 0
    for wheel in sorted(given.folder.glob("*.whl")):
        started = time.monotonic()
        report = inspect_path(wheel)
        seconds = time.monotonic() - started
        good, failed, bad, count = compare(wheel, report.libraries, tool)
        total, agreed, given_up = total + good + len(bad), agreed + good, given_up + len(failed)
        entries += count
        codes = [code for library in report.libraries for code in library.facts.device_code]
        unknown = sum(code.entries is None and code.kind != "ltoir" for code in codes)
        false = sum(code.label is not None for code in codes)
        stubs = sum(len(code.stubs) for code in codes)
        elsewhere = sum(bool(code.section) for code in codes)
        made = sorted({code.toolkit for code in codes if code.toolkit})
        print(
            f"{wheel.name[:44]:44} {good:3} of {good + len(bad):3} agree, {count:6} entries, {seconds:6.1f} s; "
            f"not looked into {unknown}, stubs {stubs}, false labels {false}, elsewhere {elsewhere}, "
            f"unjudged {len(report.unjudged)}, CUDA {' '.join(made) or '-'}",
            flush=True,
        )
        for line in failed + bad:
            print(f"    {line}")
        for item in report.unjudged[:5]:
            print(f"    not judged: {item.path}: {item.reason}")
    print(f"{agreed} of {total} libraries agree, {entries} entries; of {given_up} more cuobjdump gave up")
    sys.exit(agreed != total)


def download(name: str, folder: Path) -> None:
    """Get the newest wheel for Linux that the index has, of any of a few platforms."""
    platforms = [f"--platform={platform}_x86_64" for platform in (*_PLATFORMS, "manylinux2014", "linux")]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    if subprocess.run([*command, "--python-version=3.11", *platforms, name], check=False).returncode:
        print(f"{name}: the index has no such wheel")


def compare(wheel: Path, libraries: tuple[LibraryReport, ...], tool: str) -> tuple[int, list[str], list[str], int]:
    """How many libraries agree; a line for each that cuobjdump cannot read, and for each other; entries that agree."""
    good, failed, bad, count = 0, [], [], 0
    by_member = defaultdict(list)
    for library in libraries:
        if library.facts.kind != "data" and any(not code.section for code in library.facts.device_code):
            by_member[library.path.partition("(")[0]].append(library)
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        for member, parts in by_member.items():
            file = Path(archive.extract(member, folder))
            theirs, said = listing(tool, file) if parts[0].facts.format == "elf" else regions(tool, file, parts[0])
            ours: Listing = {"ELF": [], "PTX": []}
            for code in (code for part in parts for code in part.facts.device_code):
                if not code.section and code.kind != "ltoir":  # cuobjdump prints sm_100 for 100f
                    ours["ELF" if code.kind == "sass" else "PTX"].append(code.listed.sm[3:].removesuffix("f"))
            if member.endswith(".a"):  # ours are sorted by name
                ours, theirs = ({kind: sorted(archs) for kind, archs in one.items()} for one in (ours, theirs))
            if ours == theirs:
                good += 1
                count += sum(map(len, ours.values()))
            elif said:
                failed.append(f"{member}: cuobjdump gave up after {sum(map(len, theirs.values()))}: {said}")
            else:
                sizes = [{kind: len(archs) for kind, archs in one.items()} for one in (ours, theirs)]
                bad.append(f"{member}: ours {sizes[0]}, theirs {sizes[1]}")
            file.unlink()
    return good, failed, bad, count


def listing(tool: str, file: Path) -> tuple[Listing, str]:
    """What cuobjdump prints of a file, in its order, and with what words it gave up."""
    command = [tool, "--list-elf", "--list-ptx", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: Listing = {"ELF": [], "PTX": []}
    for kind, arch in _LISTED.findall(done.stdout):
        found[kind].append(arch.removesuffix("f"))
    return found, done.stderr.strip()[:100] if done.returncode else ""


def regions(tool: str, file: Path, library: LibraryReport) -> tuple[Listing, str]:
    """The same of every fatbin region of a PE file."""
    data = file.read_bytes()
    found: Listing = {"ELF": [], "PTX": []}
    failed = ""
    for _, group in groupby(library.facts.device_code, key=lambda code: code.unit):
        start = data.rindex(b"\x50\xed\x55\xba", 0, next(group).offset)
        size = 16 + int.from_bytes(data[start + 8 : start + 16], "little")
        part = file.with_suffix(".fatbin")
        part.write_bytes(data[start : start + size])
        listed, said = listing(tool, part)
        failed = failed or said
        for kind, archs in listed.items():
            found[kind] += archs
    return found, failed


if __name__ == "__main__":
    main()
