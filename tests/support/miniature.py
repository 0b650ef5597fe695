"""A miniature of vLLM's build: setuptools and CMake that fetch other trees from git, made in a temporary directory.

Four repositories on this machine (the package, a header library at a tag, kernels with a submodule, and a large one of
which one directory is used) under URLs that no network has, generated kernels, an arch list for each file and one with
`+PTX`, setuptools-scm; and the recipe that hands every tree over.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tests.support.source_servers import Upstream

HOST = "https://git.example.invalid/"

PYPROJECT = """
[build-system]
requires = ["setuptools>=77.0.3", "setuptools-scm>=8", "cmake>=3.26.1,<5", "ninja"]
build-backend = "setuptools.build_meta"
[project]
name = "minillm"
dynamic = ["version"]
requires-python = ">=3.10"
[tool.setuptools]
packages = ["minillm"]
[tool.setuptools_scm]
"""

SETUP = """
import os, subprocess
from pathlib import Path
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

class CMake(build_ext):
    def run(self):
        source, build = Path(__file__).parent, Path(self.build_temp).absolute()
        build.mkdir(parents=True, exist_ok=True)
        base = os.environ.get("FETCHCONTENT_BASE_DIR", str(source / ".deps"))
        arguments = ["-G", "Ninja", f"-DFETCHCONTENT_BASE_DIR={base}", *os.environ.get("CMAKE_ARGS", "").split()]
        subprocess.run(["cmake", *arguments, str(source)], cwd=build, check=True)
        subprocess.run(["cmake", "--build", "."], cwd=build, check=True)
        prefix = Path(self.build_lib).absolute()
        subprocess.run(["cmake", "--install", ".", "--prefix", str(prefix)], cwd=build, check=True)

setup(ext_modules=[Extension("minillm._C", [])], cmdclass={"build_ext": CMake})
"""

CMAKE = """
cmake_minimum_required(VERSION 3.26)
set(CMAKE_CUDA_ARCHITECTURES OFF)
project(minillm LANGUAGES CXX CUDA)
set(MINI_TARGET_DEVICE "cuda" CACHE STRING "Target device")
include(${CMAKE_CURRENT_LIST_DIR}/cmake/utils.cmake)
string(REPLACE "," ";" CUDA_ARCHS "$ENV{TORCH_CUDA_ARCH_LIST}")
if(NOT MINI_TARGET_DEVICE STREQUAL "cuda")
  include(cmake/cpu.cmake)
  return()
endif()

include(FetchContent)
set(HEADERS_REVISION "v1.0")
if (DEFINED ENV{MINI_HEADERS_SRC_DIR})
  set(MINI_HEADERS_SRC_DIR $ENV{MINI_HEADERS_SRC_DIR})
endif()
if(MINI_HEADERS_SRC_DIR)
  FetchContent_Declare(headers SOURCE_DIR ${MINI_HEADERS_SRC_DIR})
else()
  FetchContent_Declare(
    headers
    GIT_REPOSITORY https://git.example.invalid/mini/headers.git
    GIT_TAG ${HEADERS_REVISION}
    GIT_SHALLOW TRUE
  )
endif()
FetchContent_MakeAvailable(headers)

execute_process(COMMAND ${CMAKE_COMMAND} -E env python3 ${CMAKE_CURRENT_SOURCE_DIR}/csrc/generate.py
  ${CMAKE_CURRENT_BINARY_DIR} COMMAND_ERROR_IS_FATAL ANY)
set(GENERATED ${CMAKE_CURRENT_BINARY_DIR}/gemm_1.cu ${CMAKE_CURRENT_BINARY_DIR}/gemm_2.cu)
mini_archs(ALL_ARCHS "8.6;9.0;12.0" "${CUDA_ARCHS}")
mini_gencode("csrc/norm.cu;${GENERATED}" "${ALL_ARCHS}")
add_library(_C MODULE csrc/norm.cu ${GENERATED})
set_target_properties(_C PROPERTIES PREFIX "")
target_include_directories(_C PRIVATE ${headers_SOURCE_DIR}/include)
install(TARGETS _C DESTINATION minillm)
include(cmake/external/kernels.cmake)
include(cmake/external/attention.cmake)
"""

UTILS = r"""
# For each requested arch the highest entry of the same major that is not above it; what is newer gets the +PTX entry.
function(mini_archs OUT LISTED REQUESTED)
  set(result)
  foreach(arch ${REQUESTED})
    string(REGEX REPLACE "\\..*" "" major ${arch})
    set(best)
    foreach(entry ${LISTED})
      string(REPLACE "+PTX" "" plain ${entry})
      string(REGEX REPLACE "\\..*" "" entry_major ${plain})
      if(entry_major EQUAL major AND NOT plain VERSION_GREATER arch)
        set(best ${plain})
      elseif(entry MATCHES "PTX" AND plain VERSION_LESS arch AND NOT best)
        set(best ${entry})
      endif()
    endforeach()
    list(APPEND result ${best})
  endforeach()
  list(REMOVE_DUPLICATES result)
  set(${OUT} ${result} PARENT_SCOPE)
endfunction()

function(mini_gencode SOURCES ARCHS)
  foreach(arch ${ARCHS})
    string(REGEX REPLACE "\\.|\\+PTX" "" number ${arch})
    if(arch MATCHES "PTX")
      list(APPEND flags "-gencode=arch=compute_${number},code=compute_${number}")
    else()
      list(APPEND flags "-gencode=arch=compute_${number},code=sm_${number}")
    endif()
  endforeach()
  set_source_files_properties(${SOURCES} PROPERTIES COMPILE_OPTIONS "${flags}")
endfunction()
"""

KERNELS = """
include(FetchContent)
set(DEFAULT_KERNELS_TAG "v3")
if (DEFINED ENV{MINI_KERNELS_SRC_DIR})
  FetchContent_Declare(mini_kernels SOURCE_DIR $ENV{MINI_KERNELS_SRC_DIR})
else()
  FetchContent_Declare(
    mini_kernels
    GIT_REPOSITORY https://git.example.invalid/mini/triton.git
    GIT_TAG ${DEFAULT_KERNELS_TAG}
    SOURCE_SUBDIR python/kernels
  )
endif()
FetchContent_MakeAvailable(mini_kernels)
if (DEFINED ENV{MINI_KERNELS_SRC_DIR})
  set(dir ${mini_kernels_SOURCE_DIR})
else()
  set(dir ${mini_kernels_SOURCE_DIR}/python/kernels)
endif()
install(DIRECTORY ${dir}/ DESTINATION minillm/third_party/kernels FILES_MATCHING PATTERN "*.py")
"""

ATTENTION = """
include(FetchContent)
if (DEFINED ENV{MINI_ATTENTION_SRC_DIR})
  set(MINI_ATTENTION_SRC_DIR $ENV{MINI_ATTENTION_SRC_DIR})
endif()
if(MINI_ATTENTION_SRC_DIR)
  FetchContent_Declare(mini-attention SOURCE_DIR ${MINI_ATTENTION_SRC_DIR})
else()
  FetchContent_Declare(
    mini-attention
    GIT_REPOSITORY https://git.example.invalid/mini/attention.git
    GIT_TAG COMMIT
  )
endif()
FetchContent_MakeAvailable(mini-attention)
"""

CPU = """
include(FetchContent)
FetchContent_Declare(onednn GIT_REPOSITORY https://git.example.invalid/mini/onednn.git GIT_TAG v9)
FetchContent_MakeAvailable(onednn)
"""

ATTENTION_CMAKE = """
mini_archs(ATTENTION_ARCHS "8.0+PTX" "${CUDA_ARCHS}")
mini_gencode("csrc/attention.cu" "${ATTENTION_ARCHS}")
add_library(_attention_C MODULE csrc/attention.cu)
set_target_properties(_attention_C PROPERTIES PREFIX "")
target_include_directories(_attention_C PRIVATE csrc/headers/include)
install(TARGETS _attention_C DESTINATION minillm/attention)
"""

GENERATE = """
import pathlib, sys
for name in ("gemm_1", "gemm_2"):
    pathlib.Path(sys.argv[1], f"{name}.cu").write_text('#include <mini.cuh>\\nMINI_KERNEL(' + name + ')\\n')
"""

HEADER = """
#pragma once
#define MINI_KERNEL(name) \\
  __global__ void name(float *x, float a) { x[threadIdx.x] *= a; } \\
  extern "C" int launch_##name(float *x, float a) { name<<<1, 32>>>(x, a); return cudaGetLastError(); }
"""

RECIPE = """
# The miniature's recipe.
schema_version = 1
name = "minillm"
summary = "a miniature of vLLM's build"
versions = ">=1"
python = ">=3.10"

[defaults]
archs = "8.6;12.0"
cuda = "13.0"

[build]
requires = ["setuptools>=77.0.3", "setuptools-scm>=8", "cmake>=3.26.1,<5", "ninja"]

[build.env]
FETCHCONTENT_BASE_DIR = "{source}/.deps"

[[tree]]
name = "headers" # at a tag
env = { MINI_HEADERS_SRC_DIR = "{tree}" }
[tree.git]
url = "https://git.example.invalid/mini/headers.git"
commit = "HEADERS"
tag = "v1.0"

[[tree]]
name = "kernels"
env = { MINI_KERNELS_SRC_DIR = "{tree}/python/kernels" }
[tree.git]
url = "https://git.example.invalid/mini/triton.git"
commit = "TRITON"
tag = "v3"
sparse = ["python/kernels"] # kilobytes

[[tree]]
name = "attention"
env = { MINI_ATTENTION_SRC_DIR = "{tree}" }
[tree.git]
url = "https://git.example.invalid/mini/attention.git"
commit = "ATTENTION"

[[tree]]
name = "attention-headers"
inside = "attention/csrc/headers"
[tree.git]
url = "https://git.example.invalid/mini/headers.git"
commit = "HEADERS"

# ---- machine code for every GPU ----

[[patch]]
why = "machine code for 12.0, where upstream has PTX alone"
tree = "attention"
file = "CMakeLists.txt"
find = '"8.0+PTX"'
replace = '"8.0;12.0"'

[expect]
memory_gb = 0.5
disk_gb = 0.5
cpu_minutes = 1

[wheel]
imports = ["minillm"]

[[library]]
path = "minillm/*"

[releases."1.0".source.git]
url = "https://git.example.invalid/mini/minillm.git"
commit = "MINILLM"
tag = "v1.0"
"""


@dataclass(frozen=True, slots=True)
class Miniature:
    """The repositories, the directory of the recipe, and the configuration whose mirrors stand for `HOST`."""

    upstreams: dict[str, Upstream]
    recipes: Path
    config: Path

    @property
    def recipe(self) -> Path:
        return self.recipes / "minillm.toml"

    def head(self, name: str) -> str:
        return self.upstreams[name].git("rev-parse", "HEAD")


def make(directory: Path, *, ballast: int = 2_000_000, extra: str = "") -> Miniature:
    """Make everything.

    Args:
        directory: an empty directory.
        ballast: bytes that the repository with the sparse tree has beside it.
        extra: text that the package's CMakeLists.txt ends with.
    """
    upstreams = {}
    (directory / "git/mini").mkdir(parents=True)
    for name in ("headers", "triton", "attention", "minillm"):
        upstreams[name] = Upstream(directory / f"git/mini/{name}.git")

    headers = upstreams["headers"].commit({"include/mini.cuh": HEADER.encode(), "CMakeLists.txt": b""})
    upstreams["headers"].git("tag", "-a", "-m", "one", "v1.0")

    upstreams["triton"].commit({"history": os.urandom(ballast)})
    triton = upstreams["triton"].commit(
        {"python/kernels/k.py": b"K = 1\n", "big": os.urandom(ballast), "CMakeLists.txt": b"message(FATAL_ERROR no)\n"}
    )
    upstreams["triton"].git("tag", "v3")

    attention = upstreams["attention"]
    modules = f'[submodule "csrc/headers"]\n\tpath = csrc/headers\n\turl = {"../headers.git"}\n'
    kernel = "#include <mini.cuh>\nMINI_KERNEL(attention)\n"
    attention.commit(
        {
            ".gitmodules": modules.encode(),
            "CMakeLists.txt": ATTENTION_CMAKE.encode(),
            "csrc/attention.cu": kernel.encode(),
        }
    )
    attention.git("update-index", "--add", "--cacheinfo", f"160000,{headers},csrc/headers")
    attention.git("commit", "-q", "-m", "submodule")

    commit = attention.git("rev-parse", "HEAD")
    files = {
        "pyproject.toml": PYPROJECT,
        "setup.py": SETUP,
        "CMakeLists.txt": CMAKE + extra,
        "cmake/utils.cmake": UTILS,
        "cmake/cpu.cmake": CPU,
        "cmake/external/kernels.cmake": KERNELS,
        "cmake/external/attention.cmake": ATTENTION.replace("COMMIT", commit),
        "csrc/generate.py": GENERATE,
        "csrc/norm.cu": "#include <mini.cuh>\nMINI_KERNEL(norm)\n",
        "minillm/__init__.py": "",
        "minillm/templates/chat.jinja": "{{ messages }}",  # that it is package data, git alone says
    }
    minillm = upstreams["minillm"].commit({name: text.encode() for name, text in files.items()})
    upstreams["minillm"].git("tag", "v1.0")

    text = RECIPE
    for name, value in (("HEADERS", headers), ("TRITON", triton), ("ATTENTION", commit), ("MINILLM", minillm)):
        text = text.replace(f'commit = "{name}"', f'commit = "{value}"')
    recipes = directory / "recipes"
    recipes.mkdir()
    (recipes / "minillm.toml").write_text(text, "utf-8")
    config = directory / "config.toml"
    config.write_text(f'[mirrors]\n{json.dumps(HOST)} = ["nowhere/", "git/"]\n', "utf-8")
    return Miniature(upstreams, recipes, config)
