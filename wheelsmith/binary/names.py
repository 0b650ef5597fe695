"""Kernels by name, small enough to keep for every piece of code of a large library.

In: mangled names. Out: `Names`: 64-bit hashes, which say whether two pieces of code hold the same kernels, and a few
readable names for sentences. Pure; nothing fails. The hash is BLAKE2b, so it is the same in every run and on every
machine; two of a million names collide with a probability of 3e-8.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN = 32  # readable names kept of one piece
_LOOKED_AT = 4096
_NESTED = re.compile(r"_ZN?K?(?:St)?(?=\d)")


@dataclass(frozen=True, slots=True)
class Names:
    """The kernels of one piece of code.

    Attributes:
        real: hashes (`name_hash`) of the kernels with a body.
        stubs: of those whose body is empty or only traps.
        shown: readable names, without template arguments, of kernels of `real`, each once; at most 32.
    """

    real: frozenset[int]
    stubs: frozenset[int]
    shown: tuple[str, ...]

    @classmethod
    def of(cls, real: Iterable[bytes], stubs: Iterable[bytes], shown: tuple[str, ...]) -> Names:
        """Hash the names."""
        return cls(frozenset(map(name_hash, real)), frozenset(map(name_hash, stubs)), shown)


def shown_names(mangled: Iterable[bytes]) -> tuple[str, ...]:
    """What `Names.shown` holds of the mangled names of kernels."""
    found: dict[str, None] = {}
    for name in itertools.islice(mangled, _LOOKED_AT):
        found[readable(name.decode("latin-1"))] = None
        if len(found) == SHOWN:
            break
    return tuple(found)


def name_hash(mangled: bytes) -> int:
    """The hash of a kernel's mangled name."""
    return int.from_bytes(blake2b(mangled, digest_size=8).digest(), "little")


def readable(mangled: str) -> str:
    """`marlin::Marlin` of `_ZN6marlin6MarlinI…`; what is mangled otherwise stays as it is (Itanium C++ ABI, 5.1)."""
    head = _NESTED.match(mangled)
    if head is None:
        return mangled[:120]
    parts: list[str] = []
    rest = mangled[head.end() :]
    while digits := re.match(r"\d{1,4}", rest):
        length = int(digits[0])
        name, rest = rest[digits.end() :][:length], rest[digits.end() + length :]
        parts.append(name)
        if not head[0].startswith("_ZN"):
            break
    kept = [part for part in parts if not part.startswith(("_GLOBAL__N_", "_INTERNAL_"))]
    return "::".join(kept)[:120] or mangled[:120]
