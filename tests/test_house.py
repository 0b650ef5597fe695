"""The rules of the house, held against the source: who imports whom, how many parameters, how much is untyped."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import wheelsmith

ROOT = Path(wheelsmith.__file__).parent
#: Modules at the top that any room may import; they import each other only.
LEAVES = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__", "contract"} | {"documents"}
#: What a room may import besides; the direction of docs/architecture.md.
ROOMS: dict[str, set[str]] = {
    "gpu": set(),
    "contract": {"gpu"},
    "binary": {"gpu"},
    "cmake": {"gpu"},
    "recipe": {"contract", "gpu"},
    "planning": {"contract", "recipe", "gpu"},
    "diagnostics": set(),
    "sources": {"planning", "cmake", "gpu"},
    "toolchain": {"planning", "gpu"},
    "compile": {"planning", "toolchain", "diagnostics", "report", "gpu"},
    "wheel": {"contract", "binary", "gpu"},
    "compat": {"contract", "wheel", "binary", "gpu"},
    "attest": {"wheel"},
    "index": {"contract", "wheel", "compat", "attest", "binary", "report", "gpu"},
    "server": {"index", "attest", "wheel"},
    "container": {"contract", "planning", "recipe", "compat", "attest", "wheel", "gpu"},
    "maintenance": {"compat", "gpu", "recipe", "planning", "sources", "cmake", "toolchain"},
    "report": {"diagnostics", "wheel", "gpu"},
    "builder": {
        "contract",
        "planning",
        "recipe",
        "sources",
        "toolchain",
        "compile",
        "diagnostics",
        "wheel",
        "compat",
        "attest",
        "report",
    }
    | {"index"},
    "farm": {"builder", "planning", "compile", "toolchain", "index"},
}
#: Functions whose signatures say `Any`; it may fall, never rise.
MOST_ANY = 56


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """Every module by its dotted name."""
    return tuple((dotted(path), ast.parse(path.read_text("utf-8"))) for path in sorted(ROOT.rglob("*.py")))


def dotted(path: Path) -> str:
    """A module's name, from its file."""
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {dotted(path) for path in ROOT.rglob("*.py")}


def statements(tree: ast.AST, *, typing: bool = True) -> Iterator[ast.AST]:
    """All below a node; without `typing`, not what only the type checker sees."""
    left = [tree]
    while left:
        for child in ast.iter_child_nodes(left.pop()):
            if typing or not isinstance(child, ast.If) or getattr(child.test, "id", "") != "TYPE_CHECKING":
                yield child
                left.append(child)


@cache
def imports(tree: ast.Module, *, typing: bool = True) -> tuple[str, ...]:
    """The modules of ours that a module imports."""
    found = []
    for node in statements(tree, typing=typing):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in NAMES]
        elif isinstance(node, ast.ImportFrom) and node.module in NAMES:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [full if full in NAMES else node.module for full in whole]
    return tuple(found)


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_the_command_line_reaches_the_api_errors_and_events_only():
    allowed = {"", "cli", "errors", "events", "documents"}
    found = {
        (name, target)
        for name, tree in modules()
        if room(name) == "cli"
        for target in imports(tree)
        if room(target) not in allowed or (room(target) == "documents" and target in imports(tree, typing=False))
    }
    assert found == set()


def test_rooms_import_in_one_direction():
    wrong = {
        (name, target)
        for name, tree in modules()
        if room(name) in ROOMS
        for target in imports(tree)
        if room(target) not in {room(name), *LEAVES, *ROOMS[room(name)]}
    }
    assert wrong == set()


def test_every_room_is_in_the_table_and_the_table_has_no_circle():
    listed = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()} | {"contract"}
    assert listed - {"api", "cli", "documents"} == set(ROOMS)
    left = dict(ROOMS)
    while left:
        free = {name for name, needs in left.items() if not needs & left.keys()}
        assert free, f"these import each other: {sorted(left)}"
        left = {name: needs for name, needs in left.items() if name not in free}


def test_leaves_import_leaves_only():
    wrong = {
        (name, target)
        for name, tree in modules()
        if room(name) in LEAVES
        for target in imports(tree)
        if room(target) not in LEAVES
    }
    assert wrong == set()


def test_no_module_imports_itself_by_way_of_others():
    """Inside functions and for the type checker alone included."""
    left = {name: set(imports(tree)) - {name, "wheelsmith"} for name, tree in modules()}
    while left:
        free = {name for name, needs in left.items() if not needs & left.keys()}
        assert free, f"among these are circles: {sorted(left)}"
        left = {name: needs for name, needs in left.items() if name not in free}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, node


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    a = node.args
    found = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
    return [item for item in found if item.arg not in {"self", "cls"}]


def test_a_function_takes_six_parameters_at_most():
    many = {
        f"{name}.{node.name}": len(parameters(node))
        for name, node in functions()
        if room(name) != "api" and len(parameters(node)) > 6
    }
    assert many == {}


def test_any_in_signatures_only_falls():
    def says_any(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        hints = [item.annotation for item in parameters(node)] + [node.returns]
        return any(isinstance(part, ast.Name) and part.id == "Any" for hint in hints if hint for part in ast.walk(hint))

    found = sorted(f"{name}.{node.name}" for name, node in functions() if says_any(node))
    assert len(found) <= MOST_ANY, found


def test_no_module_outgrows_a_reader():
    long = {name: size for name in NAMES if (size := len(_path(name).read_text("utf-8").splitlines())) > 430}
    assert long == {}


def _path(name: str) -> Path:
    path = ROOT.parent.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_every_exported_name_is_there_and_hides_no_package():
    packages = {path.name for path in ROOT.iterdir() if path.is_dir()} | {path.stem for path in ROOT.glob("*.py")}
    assert not packages & set(wheelsmith.__all__)
    for name in wheelsmith.__all__:
        if name != "Token":  # its module needs nothing more than the rest, but says so here if that changes
            assert getattr(wheelsmith, name) is not None
    assert re.fullmatch(r"\d+\.\d+.*", wheelsmith.__version__)
    with pytest.raises(AttributeError, match="Wheelreport"):
        _ = wheelsmith.Wheelreport  # type: ignore[attr-defined]


def test_the_type_checker_sees_what_is_exported():
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    seen = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("wheelsmith.")
        for alias in node.names
        if alias.asname
    }
    assert seen | {"__version__"} == set(wheelsmith.__all__)
