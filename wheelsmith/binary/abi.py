"""Which of torch's and CPython's interfaces a library is tied to, seen from its undefined symbols.

In: names of undefined dynamic symbols. Out: which of them are torch's, and whether torch and Python are used through
their stable interfaces. Nothing fails. Sources: Itanium C++ ABI 5.1 (names of namespaces inside mangled names);
torch/csrc/stable/README and torch/csrc/inductor/aoti_torch/c/shim.h (the stable C interface); PEP 384 and the package
abi3info, which has CPython's `stable_abi.toml`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

#: `stable`: only names of the stable interface; `unstable`: tied to one version; `none`: not used.
TorchAbi = Literal["none", "stable", "unstable"]
PythonAbi = Literal["none", "stable", "unstable"]

_TORCH_SPACE = re.compile(r"^_Z.*(?<![0-9])(?:3c10|2at|5torch|6caffe2)(?=[0-9A-Z])")
_TORCH_STABLE = re.compile(
    r"^(?:aoti_torch_|torch_(?:call_|library_|get_|set_|delete_|new_|from_|parallel_|string_|exception_|list_|tensor_))"
)
_TORCH_PYTHON = re.compile(r"^(?:THP[A-Z]\w*|_ZN?\d*THP[A-Z].*|_Z\d+THP.*)")
_PYTHON = re.compile(r"^_?Py[A-Z_]")


def torch_symbols(undefined: Sequence[str]) -> tuple[str, ...]:
    """The symbols that only torch's libraries (`libtorch*`, `libc10*`) define, in the same order."""
    return tuple(name for name in undefined if is_torch_symbol(name))


def torch_abi(undefined: Sequence[str]) -> TorchAbi:
    """How the library depends on torch."""
    names = torch_symbols(undefined)
    if not names:
        return "none"
    return "stable" if all(map(_TORCH_STABLE.match, names)) else "unstable"


def python_abi(undefined: Sequence[str]) -> PythonAbi:
    """How the library depends on CPython: `stable` means that any later Python 3 can load it (PEP 384)."""
    names = [name for name in undefined if _PYTHON.match(name)]
    if not names:
        return "none"
    return "stable" if all(name in _stable_python() for name in names) else "unstable"


def is_torch_symbol(name: str) -> bool:
    """Whether the name is in torch's namespaces (or has types of them in its signature) or in its C interface."""
    return bool(_TORCH_STABLE.match(name) or _TORCH_SPACE.match(name) or _TORCH_PYTHON.match(name))


@cache
def _stable_python() -> frozenset[str]:
    from abi3info import DATAS, FUNCTIONS  # type: ignore[import-untyped]

    return frozenset(symbol.name for table in (FUNCTIONS, DATAS) for symbol in table)
