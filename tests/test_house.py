"""The rules of the house, held against the source: who imports whom, how many parameters, how much is untyped."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

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
MOST_ANY = 43


class Module(NamedTuple):
    """What of a module the rules speak of."""

    name: str
    imports: frozenset[str]
    at_run_time: frozenset[str]
    functions: tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]


@cache
def modules() -> tuple[Module, ...]:
    """Every module, parsed and walked through once."""
    return tuple(read(path) for path in sorted(ROOT.rglob("*.py")))


def read(path: Path) -> Module:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    blocks = [node for node in nodes if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"]
    typing = {id(node) for block in blocks for node in ast.walk(block)}
    found = [(target, id(node) in typing) for node in nodes for target in imported(node)]
    return Module(
        dotted(path),
        frozenset(target for target, _ in found),
        frozenset(target for target, only in found if not only),
        tuple(node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)),
    )


def dotted(path: Path) -> str:
    """A module's name, from its file."""
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {dotted(path) for path in ROOT.rglob("*.py")}


def imported(node: ast.AST) -> list[str]:
    """The modules of ours that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name in NAMES]
    if isinstance(node, ast.ImportFrom) and node.module in NAMES:
        whole = [f"{node.module}.{alias.name}" for alias in node.names]
        return [full if full in NAMES else node.module for full in whole]
    return []


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_the_command_line_reaches_the_api_errors_and_events_only():
    allowed = {"", "cli", "errors", "events", "documents"}
    found = {
        (module.name, target)
        for module in modules()
        if room(module.name) == "cli"
        for target in module.imports
        if room(target) not in allowed or (room(target) == "documents" and target in module.at_run_time)
    }
    assert found == set()


def test_rooms_import_in_one_direction():
    wrong = {
        (module.name, target)
        for module in modules()
        if (own := room(module.name)) in ROOMS
        for target in module.imports
        if room(target) not in {own, *LEAVES, *ROOMS[own]}
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
        (module.name, target)
        for module in modules()
        if room(module.name) in LEAVES
        for target in module.imports
        if room(target) not in LEAVES
    }
    assert wrong == set()


def test_no_module_imports_itself_by_way_of_others():
    """Inside functions and for the type checker alone included."""
    left = {module.name: module.imports - {module.name, "wheelsmith"} for module in modules()}
    while left:
        free = {name for name, needs in left.items() if not needs & left.keys()}
        assert free, f"among these are circles: {sorted(left)}"
        left = {name: needs for name, needs in left.items() if name not in free}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module in modules():
        for node in module.functions:
            yield module.name, node


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
