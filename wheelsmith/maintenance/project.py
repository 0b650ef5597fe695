"""What a project says of its own build, read and never run: metadata, `pyproject.toml`, `setup.py`, CMake files.

In: the directory of an unpacked sdist or a checkout. Out: a `Project`. Fails with `SourceError` where there is nothing
that a build could start from; what cannot be read is left open (None, empty), never guessed.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from wheelsmith.errors import SourceError
from wheelsmith.sources.switches import Switch, build_scripts, find_switches, read_script

#: `torch`: compiled by torch.utils.cpp_extension; `cmake`: by CMake; `other`: by something else; `none`: not at all.
Kind = Literal["torch", "cmake", "other", "none"]

_GENCODE = re.compile(r"(?:compute_|sm_)(\d{2,3}[af]?)")
_CMAKE_CUDA = re.compile(
    r"LANGUAGES[^)]*\bCUDA\b|enable_language\s*\(\s*CUDA|find_package\s*\(\s*CUDA|project\s*\([^)]*\bCUDA\b",
    re.IGNORECASE,
)
_CLONES = re.compile(
    r"git\s+clone|submodule\s+update|['\"]submodule['\"]|FetchContent_|CPMAddPackage|ExternalProject_", re.IGNORECASE
)
_DOWNLOADS = re.compile(r"urlretrieve|urlopen\(|requests\.get\(")
_THIRD_PARTY = {"numpy", "packaging", "psutil", "pybind11", "cython", "ninja", "mako", "jinja2", "einops", "pccm"}
_DISTRIBUTIONS = {"cv2": "opencv-python-headless", "yaml": "pyyaml", "skbuild": "scikit-build", "Cython": "cython"}
_GPU_SUFFIXES = (".cu", ".cuh")
_CPP_SUFFIXES = (".cpp", ".cc", ".cxx", ".c", ".h", ".hpp", ".pyx")
_CUDA_INCLUDE = re.compile(r"#\s*include\s*[<\"](?:cublas|cufft|curand|cusolver|cusparse)\w*\.h")
_CUDA_TARGETS = re.compile(r"CUDA::(?:cublas|cufft|curand|cusolver|cusparse)", re.IGNORECASE)
_MOST_FILES, _MOST_SOURCES = 60_000, 2_000


@dataclass(frozen=True, slots=True)
class Gencode:
    """Archs that a build script names itself: the file, the line, and the numbers (`80`, `90a`)."""

    where: str
    line: str
    archs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Project:
    """A project as its files describe it.

    Attributes:
        directory: where it lies.
        name: normalized; empty: not said where it can be read.
        version: as it says; empty: it is found out when it is built.
        summary: one line, or empty.
        python: `Requires-Python`, or empty.
        depends: what the wheel will require (PEP 508), as far as it is said.
        backend: of `[build-system]`, or setuptools' default.
        requires: what the build needs, with what `setup.py` imports.
        kind: see `Kind`.
        torch: whether it is built against torch.
        torch_pin: what is required of torch (PEP 440), or empty.
        cuda_files: files with CUDA code.
        gencodes: archs that are written into build scripts.
        switches: variables that its build scripts read.
        packages: names that can be imported.
        clones: places where it would fetch further sources.
        downloads: places where it would download something, such as a ready wheel.
        cuda_libraries: whether its sources include cuBLAS, cuRAND or their like.
        missing: source files that setup.py names and that are not there.
        empty: directories that should hold a submodule and hold nothing.
    """

    directory: Path
    name: str
    version: str
    summary: str
    python: str
    depends: tuple[str, ...]
    backend: str
    requires: tuple[str, ...]
    kind: Kind
    torch: bool
    torch_pin: str
    cuda_files: tuple[str, ...]
    gencodes: tuple[Gencode, ...]
    switches: tuple[Switch, ...]
    packages: tuple[str, ...]
    clones: tuple[str, ...]
    downloads: tuple[str, ...]
    cuda_libraries: bool
    missing: tuple[str, ...]
    empty: tuple[str, ...]


def read_project(directory: Path) -> Project:
    """Read what is there.

    Raises:
        SourceError: there is neither a pyproject.toml nor a setup.py.
    """
    if not any((directory / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise SourceError(
            f"{directory} is no Python project: it has neither pyproject.toml nor setup.py.",
            "Name its top directory; for a package in a folder of a repository, that folder.",
        )
    pyproject = _toml(directory / "pyproject.toml")
    setup = _Setup(directory / "setup.py")
    metadata = _metadata(directory, pyproject, setup)
    system = _table(pyproject, "build-system")
    backend = str(system.get("build-backend", "setuptools.build_meta"))
    said = _texts(system.get("requires", ["setuptools", "wheel"]))
    scripts = {path.relative_to(directory).as_posix(): read_script(path) for path in build_scripts(directory)}
    files = _files(directory)
    cuda_files = tuple(name for name in files if name.endswith(_GPU_SUFFIXES))
    cmake = "\n".join(text for name, text in scripts.items() if name.endswith(("CMakeLists.txt", ".cmake")))
    depends = metadata.depends
    needs_torch = "torch" in setup.imports or "find_package(Torch" in cmake or "torch" in map(_name, said)
    return Project(
        directory=directory,
        name=canonicalize_name(metadata.name) if metadata.name else "",
        version=metadata.version,
        summary=" ".join(metadata.summary.split()),
        python=metadata.python,
        depends=depends,
        backend=backend,
        requires=tuple(_requires(said, setup, needs_torch, backend)),
        kind=_kind(backend, setup, cmake, cuda_files),
        torch=needs_torch,
        torch_pin=_pin("torch", [*depends, *said]),
        cuda_files=cuda_files,
        gencodes=tuple(_gencodes(scripts)),
        switches=find_switches(directory),
        packages=tuple(_packages(directory, metadata.name, pyproject, files)),
        clones=tuple(_places(scripts, _CLONES)),
        downloads=tuple(_places(scripts, _DOWNLOADS)),
        cuda_libraries=_uses_cuda_libraries(directory, files, cmake),
        missing=tuple(_missing(directory, setup.text)),
        empty=tuple(_empty_submodules(directory)),
    )


def _uses_cuda_libraries(directory: Path, files: Iterable[str], cmake: str) -> bool:
    if _CUDA_TARGETS.search(cmake):
        return True
    sources = [name for name in files if name.endswith((*_GPU_SUFFIXES, *_CPP_SUFFIXES))][:_MOST_SOURCES]
    return any(_CUDA_INCLUDE.search(read_script(directory / name)) for name in sources)


class _Setup:
    """`setup.py` as syntax: the keywords of `setup(...)` that are literals or simple names, and what it imports."""

    def __init__(self, path: Path) -> None:
        self.text = read_script(path) if path.is_file() else ""
        self.keywords: dict[str, object] = {}
        self.imports: set[str] = set()
        try:
            tree = ast.parse(self.text)
        except (SyntaxError, ValueError, RecursionError):
            return
        names: dict[str, object] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self.imports |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self.imports.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                names.setdefault(node.targets[0].id, _literal(node.value, names))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "setup":
                found = {item.arg: _literal(item.value, names) for item in node.keywords if item.arg}
                self.keywords |= {key: value for key, value in found.items() if value is not None}

    def text_of(self, key: str) -> str:
        """A keyword that is text."""
        value = self.keywords.get(key, "")
        return value if isinstance(value, str) else ""

    def list_of(self, key: str) -> list[str]:
        """A keyword that is a list of texts."""
        value = self.keywords.get(key, [])
        return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def _literal(node: ast.expr, names: Mapping[str, object]) -> object:
    """The value of a literal or of a name that has one; None: it is computed."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(read_script(path)) if path.is_file() else {}
    except (ValueError, RecursionError):
        return {}


@dataclass(frozen=True, slots=True)
class _Metadata:
    """What PKG-INFO says, which an sdist has; else what pyproject.toml and setup.py say in so many words."""

    name: str
    version: str
    summary: str
    python: str
    depends: tuple[str, ...]


def _metadata(directory: Path, pyproject: Mapping[str, object], setup: _Setup) -> _Metadata:
    path = directory / "PKG-INFO"
    raw = parse_email(read_script(path))[0] if path.is_file() else {}
    project = _table(pyproject, "project")
    poetry = _table(_table(pyproject, "tool"), "poetry")

    def first(*values: object) -> str:
        return next((value for value in values if isinstance(value, str) and value), "")

    depends = raw.get("requires_dist") or _texts(project.get("dependencies")) or setup.list_of("install_requires")
    return _Metadata(
        name=first(raw.get("name"), project.get("name"), poetry.get("name"), setup.text_of("name")),
        version=first(raw.get("version"), project.get("version"), setup.text_of("version")),
        summary=first(raw.get("summary"), project.get("description"), setup.text_of("description")),
        python=first(raw.get("requires_python"), project.get("requires-python"), setup.text_of("python_requires")),
        depends=tuple(depends),
    )


def _table(value: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _requires(said: Iterable[str], setup: _Setup, torch: bool, backend: str) -> Iterator[str]:
    """What the build needs beside torch: as it says, and what `setup.py` imports without saying so."""
    seen: set[str] = set()
    for text in said:
        name = _name(text)
        if name and name != "torch" and name not in seen:
            seen.add(name)
            yield text
    imported = [_DISTRIBUTIONS.get(name, name) for name in sorted(setup.imports)]
    extra = [name for name in imported if canonicalize_name(name) in _THIRD_PARTY or name in _DISTRIBUTIONS.values()]
    if "pkg_resources" in setup.imports and "setuptools" in seen:
        extra.append("setuptools<81")
    usual: tuple[str, ...] = ("ninja", "numpy", "setuptools", "wheel") if torch else ()
    usual += ("cmake>=4", "ninja") if backend.startswith("scikit_build") or "skbuild" in setup.imports else ()
    for name in [*extra, *setup.list_of("setup_requires"), *usual]:
        if (plain := _name(name)) and plain not in seen and plain != "torch":
            seen.add(plain)
            yield name


def _kind(backend: str, setup: _Setup, cmake: str, cuda_files: tuple[str, ...]) -> Kind:
    if "cpp_extension" in setup.text:
        return "torch"
    if backend.partition(".")[0] in {"scikit_build_core", "mesonpy", "py_build_cmake"} or _CMAKE_CUDA.search(cmake):
        return "cmake"
    if re.search(r"\bskbuild\b|\bcmake\b", setup.text) and cmake:
        return "cmake"
    return "other" if cuda_files or re.search(r"\bnvcc\b", setup.text) else "none"


def _pin(name: str, requirements: Iterable[str]) -> str:
    for text in requirements:
        try:
            parsed = Requirement(text)
        except InvalidRequirement:
            continue
        if canonicalize_name(parsed.name) == name and parsed.specifier and "extra" not in str(parsed.marker or ""):
            return str(parsed.specifier)
    return ""


def _name(text: str) -> str:
    try:
        return canonicalize_name(Requirement(text).name)
    except InvalidRequirement:
        return ""


def _files(directory: Path) -> tuple[str, ...]:
    found = []
    for path in directory.rglob("*"):
        if path.is_symlink() or ".git" in path.parts or not path.is_file():
            continue
        found.append(path.relative_to(directory).as_posix())
        if len(found) >= _MOST_FILES:
            break
    return tuple(sorted(found))


def _gencodes(scripts: Mapping[str, str]) -> Iterator[Gencode]:
    for name, text in scripts.items():
        for number, line in enumerate(text.splitlines(), start=1):
            code = line.partition("#")[0]
            if archs := tuple(dict.fromkeys(_GENCODE.findall(code))):
                yield Gencode(f"{name}:{number}", line.strip()[:160], archs)


def _places(scripts: Mapping[str, str], pattern: re.Pattern[str]) -> Iterator[str]:
    for name, text in scripts.items():
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.lstrip().startswith("#") and pattern.search(line):
                yield f"{name}:{number}: {line.strip()[:120]}"


def _packages(directory: Path, name: str, pyproject: Mapping[str, object], files: tuple[str, ...]) -> Iterator[str]:
    """Top-level packages: what top_level.txt or the directories say; tests, docs and the like are none."""
    listed = [Path(file) for file in files if file.endswith(".egg-info/top_level.txt")]
    words = [word for path in listed for word in read_script(directory / path).split()]
    there = [word for word in words if (directory / word / "__init__.py").is_file()]
    if not there:
        bases = [directory, directory / "src", directory / "python"]
        there = [path.parent.name for base in bases for path in sorted(base.glob("*/__init__.py"))]
    plain = canonicalize_name(name).replace("-", "_")
    own = [word for word in there if word not in {"tests", "test", "docs", "benchmarks", "examples", "tools", "csrc"}]
    yield from dict.fromkeys(sorted(own, key=lambda word: word.casefold() != plain))


def _missing(directory: Path, setup: str) -> Iterator[str]:
    for name in dict.fromkeys(re.findall(r"['\"]([\w./-]+\.(?:cu|cpp|cc))['\"]", setup)):
        if "/" in name and ".." not in name and not name.startswith("/") and not (directory / name).is_file():
            yield name


def _empty_submodules(directory: Path) -> Iterator[str]:
    modules = read_script(directory / ".gitmodules")
    for path in re.findall(r"^\s*path\s*=\s*(\S+)", modules, re.MULTILINE):
        place = directory / path
        if ".." not in path and (not place.is_dir() or not any(place.iterdir())):
            yield path
