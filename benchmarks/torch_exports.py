"""Make the tables `wheelsmith/compat/torch/<version>.exports` from torch wheels or from an installed torch.

pip download --no-deps --python-version 3.12 --platform manylinux_2_28_x86_64 --only-binary :all: torch==2.10.0
python benchmarks/torch_exports.py torch-2.10.0-*.whl …
python benchmarks/torch_exports.py .venv/lib/python3.12/site-packages/torch=2.11.0
"""

from __future__ import annotations

import sys
from pathlib import Path

from wheelsmith.compat.torch_abi import exports_of_directory, exports_of_wheel

TARGET = Path(__file__).parents[1] / "wheelsmith" / "compat" / "torch"


def main() -> None:
    for argument in sys.argv[1:]:
        path, _, version = argument.partition("=")
        made = exports_of_directory(Path(path), version) if version else exports_of_wheel(Path(path))
        target = TARGET / f"{made.version.partition('+')[0]}.exports"
        target.write_bytes(made.to_bytes())
        print(f"{target.name}: {len(made.hashes)} symbols, {target.stat().st_size} bytes, from {made.source}")


if __name__ == "__main__":
    main()
