"""One toolkit for everybody: CMake can find two and still exit with 0.

In: a finished build tree. Out: nothing. Fails with `ToolkitError` when CMake's cache names a compiler, a root or a
runtime library of another toolkit than the plan's. (CMake's CUDA language listens to CUDACXX and PATH, FindCUDAToolkit
to CUDAToolkit_ROOT, the old FindCUDA that torch uses to CUDA_PATH.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from wheelsmith.errors import ToolkitError
from wheelsmith.fsutil import entries_below, read_plain

_CACHE = "CMakeCache.txt"
_LARGEST = 64 << 20  # bytes of a file that the build wrote
_ENTRY = re.compile(
    r"^(CMAKE_CUDA_COMPILER|CUDA_TOOLKIT_ROOT_DIR|CUDA_NVCC_EXECUTABLE|CUDAToolkit_NVCC_EXECUTABLE|CUDA_CUDART"
    r"|CUDA_CUDART_LIBRARY|CUDAToolkit_CUDA_INCLUDE_DIR|CUDA_TOOLKIT_INCLUDE):\w+=(/.+)$",
    re.MULTILINE,
)


def refuse_second_toolkit(tree: Path, roots: Sequence[str]) -> None:
    """Look at every CMake cache below `tree`; `roots` are the names under which the plan's toolkit may appear.

    Raises:
        ToolkitError: an entry lies in another toolkit.
    """
    caches = sorted(entry.path for entry in entries_below(tree) if entry.name == _CACHE)
    for text in map(_read, caches):
        for name, path in _ENTRY.findall(text):
            if not any(path == root or path.startswith(f"{root}/") for root in roots):
                raise ToolkitError(
                    f"The build mixed two CUDA toolkits: CMake's {name} is {path}.",
                    "Patch the project (in the recipe) so that it does not look there itself.",
                )


def _read(path: str) -> str:
    try:
        return read_plain(Path(path), _LARGEST).decode("utf-8", "replace")
    except OSError:  # a link, a pipe, a directory: no cache that CMake wrote
        return ""
