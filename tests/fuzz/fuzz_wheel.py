"""Fuzz the readers of untrusted files with atheris (libFuzzer): only `WheelsmithError` may leave them.

    pip install atheris
    python tests/fuzz/fuzz_wheel.py elf -runs=200000 -max_len=20000 -timeout=10 -rss_limit_mb=1024
    python tests/fuzz/fuzz_wheel.py all -runs=200000          # every target in turn, each in a process of its own

Targets: `elf`, `pe`, `fatbin`, `cubin`, `ptx`, `data`, `ar`, `wheel`, `exports`. Seeds are made here. What it finds
goes into tests/wheel. Not part of the default test run.
"""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

NAME = "demo-1.0-py3-none-any.whl"


def seeds() -> dict[str, bytes]:
    """One sound input for each target."""
    from tests.support.cubins import EMPTY, REAL, cubin
    from tests.support.portable_executables import pe_file
    from tests.support.wheel_makers import LZ4, PTX, SASS, ZSTD, build_library, build_wheel, entry, region
    from wheelsmith.compat.torch_abi import TorchExports

    code = cubin({"_ZN6marlin6MarlinEv": REAL, "hollow": EMPTY}, "90a")
    text = b".version 8.8\n.target sm_86\n.visible .entry x(.param .u64 p) { .reg .b32 %r<2>; ret; }\n"
    fatbin = region(entry(SASS, 86, payload=code), entry(PTX, 86, isa=(8, 8), payload=b".version 8.8\n.entry x"))
    fatbin += region(entry(SASS, 90, 0x100000 | LZ4), entry(PTX, 80, ZSTD))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = build_library(folder, fatbin, flags=["-lm"])
        (folder / "lib.so").write_bytes(library)
        subprocess.run(["ar", "rcs", "lib.a", "lib.so"], cwd=folder, check=True)
        wheel = build_wheel(folder / NAME, {"demo/a.so": library, "demo/b.a": (folder / "lib.a").read_bytes()})
        packed = io.BytesIO()
        with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
            for member in source.infolist():
                target.writestr(member.filename, source.read(member))
        return {
            "elf": library,
            "fatbin": fatbin,
            "pe": pe_file({".nv_fatb": fatbin}, imports=["cudart64_12.dll"], delayed=["torch_cuda.dll"]),
            "cubin": code,
            "ptx": text,
            "data": gzip.compress(code + fatbin),
            "ar": (folder / "lib.a").read_bytes(),
            "wheel": packed.getvalue(),
            "exports": TorchExports("2.9.1", "seed", frozenset({1, 2**20, 2**31})).to_bytes(),
        }


def read(target: str, data: bytes, folder: Path) -> None:
    """Give the input to the reader."""
    from wheelsmith.binary.ar import read_archive
    from wheelsmith.binary.cubin import Budget, read_cubin
    from wheelsmith.binary.elf import read_elf
    from wheelsmith.binary.fatbin import read_fatbin
    from wheelsmith.binary.pe import read_pe
    from wheelsmith.binary.ptx import read_ptx
    from wheelsmith.binary.window import Window
    from wheelsmith.compat.torch_abi import TorchExports
    from wheelsmith.wheel.contents import read_contents
    from wheelsmith.wheel.inspect import inspect_path

    match target:
        case "elf":
            read_elf(data)
        case "fatbin":
            read_fatbin(data)
        case "cubin":
            read_cubin(Window.of_bytes(data), Budget())
        case "pe":
            read_pe(Window.of_bytes(data))
        case "ptx":
            read_ptx(data)
        case "data":
            read_contents("data", Window.of_bytes(data))
        case "ar":
            for _, member in read_archive(Window.of_bytes(data)):
                read_elf(member)
        case "wheel":
            (folder / NAME).write_bytes(data)
            inspect_path(folder / NAME)
        case "exports":
            TorchExports.from_bytes(data)


def fuzz(target: str, options: list[str]) -> None:
    """Run libFuzzer on one target; it does not return."""
    import atheris

    with atheris.instrument_imports(include=["wheelsmith.wheel", "wheelsmith.binary"]):
        import wheelsmith.binary.pe
        import wheelsmith.compat.torch_abi
        import wheelsmith.wheel.inspect  # noqa: F401
    from wheelsmith.errors import WheelsmithError

    folder = Path(tempfile.mkdtemp(prefix="wheelsmith-fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for name, seed in seeds().items():
        if name == target:
            (corpus / name).write_bytes(seed)

    def one_input(data: bytes) -> None:
        try:
            read(target, data, folder)
        except WheelsmithError:
            return

    atheris.Setup([sys.argv[0], str(corpus), *options], one_input)
    atheris.Fuzz()


def main() -> None:
    """Read the arguments."""
    target, *options = sys.argv[1:] or ["all"]
    if target == "all":
        for name in seeds():
            print(f"== {name}", flush=True)
            subprocess.run([sys.executable, __file__, name, *options], check=True)
    else:
        fuzz(target, options)


if __name__ == "__main__":
    main()
