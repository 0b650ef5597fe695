"""Lock the wheels that a CUDA toolkit is assembled from: `python -m wheelsmith.toolchain.cuda_lock 13.5`.

In: a CUDA release, `major.minor`; the newest `cuda-toolkit` of it on the package index counts. Out: two locks in
`locks` beside this module or in `--to`: `cuda-13.5.txt` (the compiler) and `cuda-13.5-math.txt` (with what torch
extensions include), with the hashes of every platform and no index's name. One's own belong into `locks` beside one's
tables of facts (see `wheelsmith.gpu.tables`). Fails as uv does, see `wheelsmith.toolchain.uv`.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from wheelsmith.errors import UsageError, WheelsmithError
from wheelsmith.events import ignore
from wheelsmith.store import write_atomic
from wheelsmith.toolchain.uv import Uv

COMPILER = ("cccl", "crt", "cudart", "nvcc", "nvvm")
#: With what torch's headers include, and the libraries that extensions for torch link.
MATH = (
    *COMPILER,
    "cublas",
    "cufft",
    "cupti",
    "curand",
    "cusolver",
    "cusparse",
    "nvjitlink",
    "nvrtc",
    "nvtx",
    "profiler",
)

_FLAGS = ("--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-build")


def lock(version: str, extras: tuple[str, ...], uv: Uv) -> str:
    """The hash-locked requirements of CUDA `version` (`major.minor`) with these extras of `cuda-toolkit`.

    Raises:
        UsageError: the version has another form.
        WheelsmithError: uv fails.
    """
    if re.fullmatch(r"\d+\.\d+", version) is None:
        raise UsageError(f"{version!r} is not a CUDA release.", "Write it as in 13.5.")
    with tempfile.TemporaryDirectory() as directory:
        wanted = Path(directory, "requirements.in")
        wanted.write_text(f"cuda-toolkit[{','.join(extras)}]=={version}.*\n", "utf-8")
        flags = (*_FLAGS, "--python-version", "3.9", "--python-platform", "x86_64-manylinux_2_28")
        return uv.run("pip", "compile", wanted, *flags, purpose=f"Locking CUDA {version}")


def main(arguments: list[str] | None = None) -> int:
    """Write the locks of each release named and say which toolkit they hold."""
    parser = argparse.ArgumentParser(prog="python -m wheelsmith.toolchain.cuda_lock", description=__doc__)
    parser.add_argument("versions", nargs="+", metavar="X.Y", help="CUDA releases, such as 13.5")
    parser.add_argument("--index-url", metavar="URL", help="package index")
    parser.add_argument("--to", metavar="DIR", type=Path, default=Path(__file__).with_name("locks"))
    options = parser.parse_args(arguments)
    uv = Uv(offline=False, index_url=options.index_url, listener=ignore)
    try:
        for version in options.versions:
            for name, extras in ((f"cuda-{version}.txt", COMPILER), (f"cuda-{version}-math.txt", MATH)):
                text = lock(version, extras, uv)
                write_atomic(options.to / name, text.encode())
                print(f"{name}: {text.partition(' ')[0]}, {text.count('==')} packages")
    except WheelsmithError as error:
        print(f"{error.cause}\n{error.detail}\n  what to do: {error.remedy}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
