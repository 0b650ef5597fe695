"""What the files of a Python project say of its build, read without running any of them.

In: the directory of its source. Out: a `Project`: requirements, torch, CUDA, extensions (optional ones among them),
crates, hard-coded archs. Fails with `SourceError` where pyproject.toml cannot be read; what else cannot be read is left
out. Sources: PEP 518, PEP 621, core metadata in PKG-INFO; setuptools' and setuptools-rust's `Extension` and
`RustExtension`; Cargo.lock's format.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import SourceError

_SCRIPTS = ("tools", "build_tools", "scripts", "build")
_GENCODE = re.compile(r"arch=compute_(\d+)[af]?,code=|[\"']-gencode[\"']|-gencode[ =]arch=compute_\d")
_TOO_OLD = re.compile(
    r"CMAKE_CXX_COMPILER_VERSION\s+VERSION_LESS\s+\"?(\d+(?:\.\d+)*)\"?\s*\)\s*message\s*\(\s*FATAL_ERROR"
)
_CUDA_PACKAGE = re.compile(r"\bcu(?:da)?-?1[1-9]\d?\b|\[cu1[1-9]\d?\]", re.IGNORECASE)
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension that setup.py declares.

    Attributes:
        name: as setup.py has it, with dots.
        optional: whether a build without it goes on: True and False as written, None where an expression decides.
        rust: whether cargo makes it.
        program: whether it is a program, not a module for Python.
        conditions: the conditions around it, as Python text.
        where: file and line.
    """

    name: str
    optional: bool | None
    rust: bool
    program: bool
    conditions: tuple[ast.expr, ...]
    where: str

    def built(self, cuda: str) -> bool | None:
        """Whether a build for NVIDIA GPUs with this toolkit makes it; None: not known."""
        results = [_holds(condition, cuda) for condition in self.conditions]
        return False if False in results else None if None in results else True


@dataclass(frozen=True, slots=True)
class Crates:
    """A Cargo.lock: where it is, how many packages it has, how many of them come from git, and the toolchain wanted."""

    lock: str
    packages: int
    git: int
    toolchain: str | None


@dataclass(frozen=True, slots=True)
class Project:
    """See the module.

    Attributes:
        requires: `build-system.requires` (PEP 518).
        python: `project.requires-python`; None: not said.
        requires_dist: what the metadata of the sdist require; empty: it has none.
        cuda: the toolkit of its own container build, `13.0.3`; None: not found.
        extensions: in the order of the files.
        crates: its Cargo.lock; None: it has none.
        gcc: the oldest GCC with which its CMake goes on; None: not said.
        hard_coded: places with archs of their own, where TORCH_CUDA_ARCH_LIST and CMake are not asked.
    """

    requires: tuple[Requirement, ...]
    python: SpecifierSet | None
    requires_dist: tuple[str, ...]
    cuda: str | None
    extensions: tuple[Extension, ...]
    crates: Crates | None
    gcc: str | None
    hard_coded: tuple[str, ...]

    @property
    def torch(self) -> str | None:
        """The one torch that it is to be built against; None: it leaves it open, or needs none."""
        for item in self.requires:
            if canonicalize_name(item.name) == "torch":
                pins = [one.version for one in item.specifier if one.operator == "=="]
                return pins[0] if len(pins) == 1 else None
        return None

    @property
    def cuda_packages(self) -> tuple[str, ...]:
        """Requirements of the wheel that name a CUDA release."""
        return tuple(text for text in self.requires_dist if _CUDA_PACKAGE.search(text.partition(";")[0]))


def read_project(directory: Path) -> Project:
    """Read a project.

    Raises:
        SourceError: pyproject.toml is not TOML, or names something that is no requirement.
    """
    requires, python = _pyproject(directory / "pyproject.toml")
    return Project(
        requires,
        python,
        _metadata(directory / "PKG-INFO"),
        _dockerfile(directory),
        tuple(_extensions(directory)),
        _crates(directory),
        _gcc(directory),
        hard_coded(directory),
    )


def hard_coded(directory: Path) -> tuple[str, ...]:
    """Places of setup.py and its like that give nvcc archs of their own."""
    found = []
    for path in (directory / name for name in ("setup.py", "build.py", "Makefile")):
        lines = _text(path).splitlines()
        numbers = [number for number, line in enumerate(lines, 1) if _GENCODE.search(line.partition("#")[0])]
        if numbers:
            shown = ", ".join(map(str, numbers[:_SHOWN])) + (" …" if len(numbers) > _SHOWN else "")
            found.append(f"{path.name}:{shown}")
    return tuple(found)


def _pyproject(path: Path) -> tuple[tuple[Requirement, ...], SpecifierSet | None]:
    if not path.is_file():
        return (), None
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        requires = tuple(Requirement(text) for text in data.get("build-system", {}).get("requires", []))
        text = data.get("project", {}).get("requires-python")
        return requires, None if text is None else SpecifierSet(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, InvalidRequirement, InvalidSpecifier) as error:
        raise SourceError(f"pyproject.toml cannot be read: {error}.", "Check that the source is whole.") from error


def _metadata(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    return tuple(HeaderParser().parsestr(_text(path)).get_all("Requires-Dist") or ())


def _dockerfile(directory: Path) -> str | None:
    for path in (directory / "docker/Dockerfile", directory / "Dockerfile"):
        if match := re.search(r"^ARG CUDA_VERSION=[\"']?(\d+\.\d+(?:\.\d+)?)", _text(path), re.MULTILINE):
            return match[1]
    return None


def _crates(directory: Path) -> Crates | None:
    for path in sorted([*directory.glob("Cargo.lock"), *directory.glob("*/Cargo.lock")]):
        try:
            packages = tomllib.loads(_text(path)).get("package", [])
        except tomllib.TOMLDecodeError:
            continue
        sources = [str(item["source"]) for item in packages if "source" in item]
        channel = re.search(r"channel\s*=\s*\"([^\"]+)\"", _text(directory / "rust-toolchain.toml"))
        git = sum(source.startswith("git+") for source in sources)
        return Crates(str(path.relative_to(directory)), len(sources), git, channel[1] if channel else None)
    return None


def _gcc(directory: Path) -> str | None:
    """The highest release below which CMakeLists.txt ends with an error."""
    found = _TOO_OLD.findall(_text(directory / "CMakeLists.txt"))
    return max(found, key=Version, default=None)


def _extensions(directory: Path) -> Iterator[Extension]:
    paths = [directory / "setup.py", *(path for name in _SCRIPTS for path in sorted((directory / name).glob("*.py")))]
    for path in paths:
        text = _text(path)
        if path.name != "setup.py" and "RustExtension" not in text:
            continue
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            continue
        yield from _declared(tree, str(path.relative_to(directory)), ())


def _declared(node: ast.AST, file: str, around: tuple[ast.expr, ...]) -> Iterator[Extension]:
    if isinstance(node, ast.Call) and (made := _extension(node, file, around)):
        yield made
    if isinstance(node, ast.If):
        for inner in node.body:
            yield from _declared(inner, file, (*around, node.test))
        for inner in node.orelse:
            yield from _declared(inner, file, (*around, ast.UnaryOp(ast.Not(), node.test)))
        return
    for child in ast.iter_child_nodes(node):
        yield from _declared(child, file, around)


def _extension(call: ast.Call, file: str, around: tuple[ast.expr, ...]) -> Extension | None:
    kind = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if not kind.endswith(("Extension", "RustBin")) or (kind == "Extension" and not call.keywords):
        return None
    keywords = {item.arg: item.value for item in call.keywords if item.arg}
    named = keywords.get("name", keywords.get("target", call.args[0] if call.args else None))
    if not isinstance(named, ast.Constant) or not isinstance(named.value, str):
        return None
    said = keywords.get("optional", ast.Constant(False))
    optional = said.value if isinstance(said, ast.Constant) and isinstance(said.value, bool) else None
    rust = kind in {"RustExtension", "RustBin"}
    binding = keywords.get("binding")
    program = kind == "RustBin" or (isinstance(binding, ast.Attribute) and binding.attr == "Exec")
    return Extension(named.value, optional, rust, program, around, f"{file}:{call.lineno}")


def _holds(condition: ast.expr, cuda: str) -> bool | None:
    """Whether a condition of a setup.py holds for CUDA on Linux; None: not known."""
    match condition:
        case ast.BoolOp(op=ast.And()):
            results = [_holds(value, cuda) for value in condition.values]
            return False if False in results else None if None in results else True
        case ast.BoolOp():
            results = [_holds(value, cuda) for value in condition.values]
            return True if True in results else None if None in results else False
        case ast.UnaryOp(op=ast.Not()):
            inner = _holds(condition.operand, cuda)
            return None if inner is None else not inner
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _compared(left, operator, right, cuda)
        case ast.Name(id="CUDA_HOME"):
            return True
    return _vendor(ast.unparse(condition))


def _compared(left: ast.expr, operator: ast.cmpop, right: ast.expr, cuda: str) -> bool | None:
    if re.search(r"cuda\w*version|bare_metal_version|nvcc", ast.unparse(left), re.IGNORECASE):
        text = re.search(r"[\"'](\d+(?:\.\d+)*)[\"']", ast.unparse(right))
        if text is None:
            return None
        try:
            ours, theirs = Version(cuda), Version(text[1])
        except InvalidVersion:
            return None
        return {
            ast.GtE: ours >= theirs,
            ast.Gt: ours > theirs,
            ast.LtE: ours <= theirs,
            ast.Lt: ours < theirs,
            ast.Eq: ours == theirs,
        }.get(type(operator))
    if isinstance(operator, ast.Eq) and isinstance(right, ast.Constant) and isinstance(right.value, str):
        return _vendor(right.value)
    return None


def _vendor(text: str) -> bool | None:
    words = text.lower()
    if re.search(r"precompiled|skip_cuda", words):
        return False
    if "cuda" in words:
        return True
    return False if re.search(r"hip|rocm|cpu|xpu|tpu|no_device|darwin|win32", words) else None


def _text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace") if path.is_file() and not path.is_symlink() else ""
