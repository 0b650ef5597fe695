"""Kernels by name, small enough to keep for every piece of code of a large library.

In: mangled names. Out: `Names`: 64-bit hashes, which say whether two pieces of code hold the same kernels, and a few
readable names for sentences. Pure; nothing fails. The hash is BLAKE2b, so it is the same in every run and on every
machine; two of a million names collide with a probability of 3e-8.
"""

from __future__ import annotations

import itertools
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHOWN = 4  # readable names shown of one piece
_NESTED = re.compile(r"_ZN?K?(?:St)?(?=\d)")


@dataclass(frozen=True, slots=True)
class Names:
    """The kernels of one piece of code.

    Attributes:
        real: hashes (`name_hash`) of the kernels with a body.
        stubs: of those whose body is empty or only traps.
        readable: names, without template arguments, of the kernels of `real`, by their hash.
    """

    real: frozenset[int]
    stubs: frozenset[int]
    readable: Mapping[int, str]

    @classmethod
    def of(cls, real: Iterable[bytes], stubs: Iterable[bytes]) -> Names:
        """Hash the names, and make them readable."""
        named = dict(map(_named, real))
        return cls(frozenset(named), frozenset(map(name_hash, stubs)), named)

    @property
    def shown(self) -> tuple[str, ...]:
        """A few of the readable names, each once."""
        return tuple(itertools.islice(dict.fromkeys(self.readable.values()), SHOWN))


@lru_cache(maxsize=1 << 15)  # the archs of a unit, which follow each other, hold the same kernels
def _named(mangled: bytes) -> tuple[int, str]:
    return name_hash(mangled), sys.intern(readable(mangled.decode("latin-1")))


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
