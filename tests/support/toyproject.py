"""A small CUDA project with CMake, packed as an archive, with its recipe: what the end-to-end tests build."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

PYPROJECT = """
[build-system]
requires = ["scikit-build-core>=0.10"]
build-backend = "scikit_build_core.build"
[project]
name = "toycuda"
version = "1.0"
"""

CMAKE = """
cmake_minimum_required(VERSION 3.24)
project(toycuda LANGUAGES CXX CUDA)
add_library(toycuda MODULE one.cu two.cu three.cu)
set_target_properties(toycuda PROPERTIES PREFIX "")
install(TARGETS toycuda DESTINATION toycuda)
"""

KERNEL = """
__global__ void NAME(float *x, float a) { x[threadIdx.x] *= a; }
extern "C" int launch_NAME(float *x, float a) { NAME<<<1, 32>>>(x, a); return cudaGetLastError(); }
"""

RECIPE = """
schema_version = 1
name = "toycuda"
summary = "three kernels"
versions = "==1.0"

[defaults]
archs = "8.6;12.0"
cuda = "13.0"

[build]
requires = ["scikit-build-core>=0.10", "cmake>=4", "ninja"]
[build.config_settings]
build-dir = "build"
"cmake.define.CMAKE_CUDA_ARCHITECTURES" = "{archs_cmake}"

[expect]
memory_gb = 0.5
disk_gb = 0.5
cpu_minutes = 1

[wheel]
imports = ["toycuda"]

[[library]]
path = "toycuda/toycuda.so"

[releases."1.0".source.archive]
url = "URL"
sha256 = "SHA256"
"""


def files() -> dict[str, str]:
    """The project's files."""
    kernels = {f"{name}.cu": KERNEL.replace("NAME", name) for name in ("one", "two", "three")}
    return {"pyproject.toml": PYPROJECT, "CMakeLists.txt": CMAKE, "toycuda/__init__.py": "", **kernels}


def make(directory: Path, content: dict[str, str] | None = None, recipe: str = RECIPE) -> Path:
    """Write the archive and a directory with its recipe; returns the recipe directory."""
    archive = directory / "toycuda-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in (content or files()).items():
            member = tarfile.TarInfo(f"toycuda-1.0/{name}")
            data = text.encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    recipes = directory / "recipes"
    recipes.mkdir(exist_ok=True)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    text = recipe.replace("URL", archive.as_uri()).replace("SHA256", digest)
    (recipes / "toycuda.toml").write_text(text, "utf-8")
    return recipes
