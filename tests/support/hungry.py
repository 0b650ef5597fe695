"""The toy project with C++ units that need a known amount of memory."""

from __future__ import annotations

from pathlib import Path

from benchmarks.limits import table
from tests.support import toyproject

CMAKE = """
cmake_minimum_required(VERSION 3.24)
project(toycuda LANGUAGES CXX)
file(GLOB units *.cpp)
add_library(toycuda MODULE ${units})
set_target_properties(toycuda PROPERTIES PREFIX "")
install(TARGETS toycuda DESTINATION toycuda)
"""


def make(directory: Path, units: dict[str, int], memory_gb: float) -> Path:
    """A recipe directory with the project; `units`: name and MB; `memory_gb`: what the recipe says of each."""
    content = {name: text for name, text in toyproject.files().items() if not name.endswith(".cu")}
    content |= {f"{name}.cpp": table(name, size) for name, size in units.items()} | {"CMakeLists.txt": CMAKE}
    recipe = toyproject.RECIPE.replace("memory_gb = 0.5", f"memory_gb = {memory_gb}")
    return toyproject.make(directory, content, recipe.replace("[[library]]", '[[library]]\ncode = "none"'))
