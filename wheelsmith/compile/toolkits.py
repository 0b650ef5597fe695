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
    for cache in sorted(tree.rglob("CMakeCache.txt")):
        for name, path in _ENTRY.findall(cache.read_text("utf-8", errors="replace")):
            if not any(path == root or path.startswith(f"{root}/") for root in roots):
                raise ToolkitError(
                    f"The build mixed two CUDA toolkits: CMake's {name} is {path}.",
                    "Patch the project (in the recipe) so that it does not look there itself.",
                )
