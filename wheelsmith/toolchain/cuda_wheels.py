"""Make a working toolkit of the files in NVIDIA's CUDA wheels.

In: the unpacked `nvidia/cu13` folder. Out: the same folder, changed so that nvcc links, CMake's FindCUDAToolkit finds
every library, and code that needs the driver library links without a driver. Fails with `ToolkitError`.
"""

from __future__ import annotations

import re
from pathlib import Path

from wheelsmith.children import run_child
from wheelsmith.errors import ToolkitError

# A declaration in cuda.h, `CUresult CUDAAPI cuInit(`, or a rename, `#define cuMemAlloc cuMemAlloc_v2`.
_SYMBOL = re.compile(
    r"\bCUDAAPI\s+(?P<declared>cu[A-Z]\w*)\s*\(|^\s*#\s*define\s+cu[A-Z]\w*\s+(?P<renamed>cu[A-Z]\w*)\s*$",
    re.MULTILINE,
)


def mend(root: Path) -> None:
    """Apply the three mends that the wheels need.

    Raises:
        ToolkitError: the folder has no compiler or no cuda.h.
    """
    library_dir = root / "lib"
    if not (root / "bin" / "nvcc").is_file() or not library_dir.is_dir():
        raise ToolkitError(f"{root} holds no CUDA compiler.", "Report this: NVIDIA's wheels have changed their layout.")
    (root / "lib64").symlink_to("lib")
    for library in library_dir.glob("lib*.so.*"):
        plain = library_dir / f"{library.name.partition('.so.')[0]}.so"
        if not plain.exists():
            plain.symlink_to(library.name)
    (library_dir / "stubs").mkdir(exist_ok=True)
    make_driver_stub(root / "include" / "cuda.h", library_dir / "stubs" / "libcuda.so")


def driver_symbols(header: str) -> tuple[str, ...]:
    """The functions of the CUDA driver API that the text of cuda.h declares or renames to."""
    return tuple(sorted({match["declared"] or match["renamed"] for match in _SYMBOL.finditer(header)}))


def make_driver_stub(header: Path, target: Path) -> None:
    """Compile a `libcuda.so` that has the driver's symbols and no code: it is only linked against, never loaded.

    Raises:
        ToolkitError: no header, or the compiler fails.
    """
    if not header.is_file():
        raise ToolkitError(f"{header} is missing.", "Report this: NVIDIA's wheels have changed their layout.")
    symbols = driver_symbols(header.read_text("utf-8", errors="replace"))
    code = "".join(f"void {name}(void) {{}}\n" for name in symbols)
    command = ["gcc", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(target), "-Wl,-soname,libcuda.so.1"]
    done = run_child(command, text=code)
    if done.returncode != 0:
        raise ToolkitError(
            "The link-time stand-in for the driver library could not be compiled.",
            "Check that gcc works.",
            detail=done.stderr,
        )
