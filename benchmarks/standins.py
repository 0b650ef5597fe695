"""vLLM's recipe for a place that reaches a package index but no git host: stand-ins for the trees that only git has.

In: a directory. Out: in it, a recipe `vllm.toml` with the releases, patches and promises of ours, whose trees are local
git repositories. CUTLASS is the real 4.2.0 (the package nvidia-cutlass); FlashAttention, FlashMLA, QuTLASS and
triton_kernels are trivial kernels under upstream's file names, so that CMake plans, and the compiler meets, as many
units as with the real ones. Everything of vLLM itself is real.

With `[mirrors]` in the configuration file, a tree whose commit a mirror on this machine has stays as it is, and of one
whose repository alone is there the mirror's newest commit is taken; each is named as what it is.

    python -m benchmarks.standins DIR UNPACKED_VLLM
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.specifiers import SpecifierSet
from uv import find_uv_bin

from wheelsmith.config import Mirrors

CUTLASS = "nvidia-cutlass==4.2.0.0"
RECIPES = Path(__file__).parents[1] / "recipes"

_KERNEL = "__global__ void {name}(float *x) {{ *x = 1; }}\nvoid launch_{name}(float *x) {{ {name}<<<1, 1>>>(x); }}\n"
_MODULE = """\
#include <Python.h>
static struct PyModuleDef module = {{PyModuleDef_HEAD_INIT, "{name}", nullptr, -1, nullptr}};
PyMODINIT_FUNC PyInit_{name}(void) {{ return PyModule_Create(&module); }}
"""
# The two lines that our patches and the figures are about are upstream's; the rest is only what they need around them.
_FLASH_ATTENTION = """\
cmake_minimum_required(VERSION 3.26)
project(vllm_flash_attn LANGUAGES CXX CUDA)
file(GLOB FA2_GEN_SRCS "csrc/flash_attn/src/flash_fwd_*.cu")
cuda_archs_loose_intersection(FA2_ARCHS "8.0+PTX" "${CUDA_ARCHS}")
set_gencode_flags_for_srcs(SRCS "${FA2_GEN_SRCS}" CUDA_ARCHS "${FA2_ARCHS}")
define_extension_target(_vllm_fa2_C DESTINATION vllm_flash_attn LANGUAGE ${VLLM_GPU_LANG}
  SOURCES csrc/flash_attn/flash_api.cpp ${FA2_GEN_SRCS} USE_SABI 3 WITH_SOABI)
file(GLOB FA3_GEN_SRCS "hopper/*.cu")
cuda_archs_loose_intersection(FA3_ARCHS "9.0a;" "${CUDA_ARCHS}")
set_gencode_flags_for_srcs(SRCS "${FA3_GEN_SRCS}" CUDA_ARCHS "${FA3_ARCHS}")
define_extension_target(_vllm_fa3_C DESTINATION vllm_flash_attn LANGUAGE ${VLLM_GPU_LANG}
  SOURCES hopper/flash_api.cpp ${FA3_GEN_SRCS} USE_SABI 3 WITH_SOABI)
"""
_INTERFACE = """\
try:
    from . import _vllm_fa3_C  # noqa: F401

    FA3_UNAVAILABLE_REASON = None
except ImportError as error:
    FA3_UNAVAILABLE_REASON = str(error)
"""
_CUTLASS = """\
set(CUTLASS_DIR ${CMAKE_CURRENT_SOURCE_DIR} CACHE PATH "")
set(CUTLASS_INCLUDE_DIR ${CMAKE_CURRENT_SOURCE_DIR}/include CACHE PATH "")
set(CUTLASS_TOOLS_UTIL_INCLUDE_DIR ${CMAKE_CURRENT_SOURCE_DIR}/tools/util/include CACHE PATH "")
"""
#: As many as upstream has at the pinned commit (the official wheel holds one cubin for each).
FA2_UNITS, FA3_UNITS = 60, 222


def make_standins(directory: Path, source: Path) -> Path:
    """Write the recipe and its repositories, all trees of the oldest releases.

    Args:
        directory: where to; it is made.
        source: an unpacked vLLM source tree, which tells what files its CMake expects of the trees.

    Returns:
        The directory, for `--recipes`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    places = {name: _repository(directory / "trees" / name, make) for name, make in _makers(source).items()}
    text = _unlocked()
    head, *blocks = text.split("[[tree]]\n")
    (directory / "vllm.toml").write_text("[[tree]]\n".join((head, *(_at(block, places) for block in blocks))), "utf-8")
    return directory


def make_partly(directory: Path, source: Path, version: str, mirrors: Mirrors) -> dict[str, str]:
    """As `make_standins` for one release: what mirrors on this machine have is taken from there.

    Returns:
        What each tree of the release is: `real`, `the newest commit of the mirror` with its id, or `stand-in`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    makers = _makers(source)
    text = _unlocked()
    head, *blocks = text.split("[[tree]]\n")
    said: dict[str, str] = {}
    for number, block in enumerate(blocks):
        said_here = dict(
            re.findall(r'^(name|versions|url|commit) = "([^"]*)"', block.partition("\n\n")[0], re.MULTILINE)
        )
        if not SpecifierSet(said_here.get("versions", "")).contains(version):
            continue
        name, url, commit = said_here["name"], said_here["url"], said_here.get("commit")
        mirror = next((place for place in map(_local, mirrors.of(url)) if place is not None), None)
        if mirror is not None and commit is not None and _has(mirror, commit):
            blocks[number], lacks = _held(block, mirror, url, commit)
            said[name] = f"real{lacks}"
        elif mirror is not None and name not in {"flashmla", "qutlass"}:
            newest = _ask(mirror, "rev-parse", "HEAD")
            blocks[number], lacks = _held(block, mirror, url, newest)
            said[name] = f"the newest commit of the mirror, {newest[:8]}{lacks}"
        else:
            place = _repository(directory / "trees" / f"{name}-{version}", makers.get(name, makers["submodule"]))
            blocks[number] = re.sub(r"^sparse = .*\n", "", _pinned(block, str(place[0]), place[1]), flags=re.MULTILINE)
            said[name] = "stand-in"
    (directory / "vllm.toml").write_text("[[tree]]\n".join((head, *blocks)), "utf-8")
    return said


def _unlocked() -> str:
    """Our recipe without its locks: they lie beside it, and are for other trees than these."""
    return re.sub(r'^lock = "locks/.*\n', "", (RECIPES / "vllm.toml").read_text("utf-8"), flags=re.MULTILINE)


def _held(block: str, mirror: Path, url: str, commit: str) -> tuple[str, str]:
    """A tree's block at a commit of a mirror, and what the mirror lacks of it: then the rest is asked for by name."""
    block = _pinned(block, url, commit)
    if "\nsparse = " in block:
        return block, ""
    listed = _ask(mirror, "rev-list", "--objects", "--missing=print", f"{commit}^{{tree}}").splitlines()
    absent = {line[1:] for line in listed if line.startswith("?")}
    if not absent:
        return block, ""
    entries = (line.partition("\t") for line in _ask(mirror, "ls-tree", "-r", commit).splitlines())
    lost = {path.partition("/")[0] for info, _, path in entries if info.split()[2] in absent}
    kept = [name for name in _ask(mirror, "ls-tree", "--name-only", commit).splitlines() if name not in lost]
    sparse = ", ".join(f'"{name}"' for name in kept)
    return block.replace(f'commit = "{commit}"', f'commit = "{commit}"\nsparse = [{sparse}]', 1), (
        f", without {', '.join(sorted(lost))}"
    )


def _pinned(block: str, url: str, commit: str) -> str:
    """A tree's block with another place and commit, and no tag."""
    block = re.sub(r"^(?:commit|tag) = .*\n", "", block, flags=re.MULTILINE)
    return re.sub(r"^url = .*$", f'url = "{url}"\ncommit = "{commit}"', block, count=1, flags=re.MULTILINE)


def _local(place: str) -> Path | None:
    parts = urlsplit(place)
    path = Path(url2pathname(parts.path) if parts.scheme == "file" else place)
    return path if parts.scheme in {"", "file"} and path.is_dir() else None


def _ask(repository: Path, *words: str) -> str:
    command = ["git", "-c", "safe.directory=*", "--git-dir", str(repository), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _has(repository: Path, commit: str) -> bool:
    command = ["git", "-c", "safe.directory=*", "--git-dir", str(repository), "cat-file", "-e", f"{commit}^{{tree}}"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _makers(source: Path) -> dict[str, Callable[[Path], None]]:
    def expected(name: str) -> Callable[[Path], None]:
        return lambda root: _expected(root, source / f"cmake/external_projects/{name}.cmake", name)

    return {
        "cutlass": _cutlass,
        "triton": lambda root: _write(root / "python/triton_kernels/triton_kernels/__init__.py", "STAND_IN = True\n"),
        "vllm-flash-attn": _flash_attention,
        **{name: expected(name) for name in ("flashmla", "qutlass", "flashkda", "deepselect")},
        "submodule": lambda root: _write(root / "include/README", "unused\n"),
    }


def _at(block: str, places: dict[str, tuple[Path, str]]) -> str:
    """A tree's block with the stand-in's place and commit."""
    name = re.match(r'name = "([^"]+)"', block)
    assert name is not None
    kind = "submodule" if "inside =" in block else name[1].removesuffix("-0.14")
    path, commit = places.get(kind, places["submodule"])  # trees of newer versions have no stand-in yet
    block = _pinned(block, str(path), commit)
    return block.replace(', "tools/util/include"', "")


def _cutlass(root: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", temporary, CUTLASS]
        subprocess.run(command, check=True)
        found = Path(temporary, "cutlass_library", "source")
        for part in ("include", "tools/util", "examples/77_blackwell_fmha", "examples/common"):
            shutil.copytree(found / part, root / part)
        for part in ("cutlass_library", "pycute"):  # Machete's generator imports them
            shutil.copytree(Path(temporary, part), root / "python" / part, ignore=shutil.ignore_patterns("source"))
    _write(root / "CMakeLists.txt", _CUTLASS)


def _flash_attention(root: Path) -> None:
    _write(root / "CMakeLists.txt", _FLASH_ATTENTION)
    _write(root / "csrc/flash_attn/flash_api.cpp", _MODULE.format(name="_vllm_fa2_C"))
    _write(root / "hopper/flash_api.cpp", _MODULE.format(name="_vllm_fa3_C"))
    _write(root / "vllm_flash_attn/__init__.py", "")
    _write(root / "vllm_flash_attn/flash_attn_interface.py", _INTERFACE)
    for number in range(FA2_UNITS):
        _write(root / f"csrc/flash_attn/src/flash_fwd_{number}.cu", _KERNEL.format(name=f"fa2_{number}"))
    for number in range(FA3_UNITS):
        _write(root / f"hopper/flash_fwd_{number}.cu", _KERNEL.format(name=f"fa3_{number}"))


def _expected(root: Path, cmake: Path, project: str) -> None:
    """Every source that a CMake file lists below the project's directory."""
    text = cmake.read_text("utf-8") if cmake.is_file() else ""  # the oldest releases have fewer trees
    listed = re.findall(rf"\$\{{{project}_SOURCE_DIR\}}/([^\s*]+\.(?:cu|cpp))", text)
    for number, name in enumerate(sorted(set(listed))):
        kernel = name.endswith(".cu")
        _write(root / name, _KERNEL.format(name=f"{project}_{number}") if kernel else f"int {project}_{number};\n")
    _write(root / "flash_mla/flash_mla_interface.py", "")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _repository(root: Path, make: Callable[[Path], None]) -> tuple[Path, str]:
    """A git repository with one commit of what `make` writes; made once."""
    git = ["git", "-C", str(root), "-c", "user.name=stand-in", "-c", "user.email=stand-in@example.invalid"]
    if not (root / ".git").is_dir():
        make(root)
        for words in (("init", "--quiet"), ("add", "--all", "--force"), ("commit", "--quiet", "--message", "stand-in")):
            subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    return root.absolute(), head


if __name__ == "__main__":
    print(make_standins(Path(sys.argv[1]), Path(sys.argv[2])))
