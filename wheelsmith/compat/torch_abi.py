"""What a torch release exports, and whether a library finds there all that it needs.

In: a torch wheel, an installed torch, or one of the tables beside this file. Out: `TorchExports`, a set of hashed
symbol names with a compact file form. Fails with `InvalidWheelError` on a damaged wheel or table, and `UsageError`
where there is no torch. The tables are made by `benchmarks/torch_exports.py`. A hash has 32 bits: of 100,000 missing
symbols one or two would be taken for present.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from array import array
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from packaging.version import Version

from wheelsmith.binary.abi import torch_symbols
from wheelsmith.binary.elf import exported_symbols
from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError, UsageError
from wheelsmith.wheel.archive import open_archive

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAGIC = b"wheelsmith torch exports 1\n"
_LIBRARY = re.compile(r"(?:.*/)?lib(?:torch(?:_cpu|_cuda|_python|_cuda_linalg)?|c10(?:_cuda)?|shm)\.so")
_BUCKETS = 1 << 16
_MAX_TABLE = 64 << 20


@dataclass(frozen=True, slots=True)
class TorchExports:
    """Hashes of the symbols in torch's namespaces that a torch release defines; `source` says where they are from."""

    version: str
    source: str
    hashes: frozenset[int]

    def missing(self, symbols: Iterable[str]) -> tuple[str, ...]:
        """Those of `symbols` that this torch does not define, in the same order."""
        return tuple(name for name in symbols if _hash(name) not in self.hashes)

    def to_bytes(self) -> bytes:
        """The compact form: a line of JSON, then how many hashes start with each 16 bits, and the other 16 bits."""
        ordered = sorted(self.hashes)
        counts, low = bytearray(_BUCKETS), array("H")
        for value in ordered:
            counts[value >> 16] += 1
            low.append(value & 0xFFFF)
        body = bytes(counts) + struct.pack(f"<{len(low)}H", *low)
        head = json.dumps({"torch": self.version, "source": self.source, "symbols": len(ordered)})
        return MAGIC + head.encode() + b"\n" + zlib.compress(body, 9)

    @classmethod
    def from_bytes(cls, data: bytes) -> TorchExports:
        """Read what `to_bytes` wrote.

        Raises:
            InvalidWheelError: it is something else.
        """
        try:
            magic, head, packed = data[: len(MAGIC)], *data[len(MAGIC) :].split(b"\n", 1)
            told = json.loads(head)
            body = zlib.decompressobj().decompress(packed, _MAX_TABLE)
            if magic != MAGIC or len(body) != _BUCKETS + 2 * sum(body[:_BUCKETS]):
                raise ValueError("its sizes disagree")
            low = iter(struct.unpack_from(f"<{(len(body) - _BUCKETS) // 2}H", body, _BUCKETS))
            hashes = frozenset(high << 16 | next(low) for high in range(_BUCKETS) for _ in range(body[high]))
            return cls(str(told["torch"]), str(told["source"]), hashes)
        except (ValueError, KeyError, TypeError, zlib.error, struct.error) as error:
            raise InvalidWheelError(f"A table of torch's symbols is damaged: {error}.", "Remove it.") from error


def shipped_exports(version: str) -> TorchExports | None:
    """The table that comes with wheelsmith for torch `version`, whatever its local part; None: there is none."""
    public = version.partition("+")[0]
    if not re.fullmatch(r"[0-9][0-9a-z.]*", public):
        return None
    table = files(__package__).joinpath("torch", f"{public}.exports")
    return TorchExports.from_bytes(table.read_bytes()) if table.is_file() else None


def shipped_versions() -> tuple[str, ...]:
    """The torch versions that have a table here, the oldest first."""
    tables = files(__package__).joinpath("torch").iterdir()
    names = (table.name.removesuffix(".exports") for table in tables if table.name.endswith(".exports"))
    return tuple(sorted(names, key=Version))


def exports_of_wheel(wheel: Path) -> TorchExports:
    """Read the exports from a torch wheel; nothing is unpacked to stay.

    Raises:
        InvalidWheelError: it is no sound wheel.
        UsageError: it holds no torch libraries.
    """
    with open_archive(wheel) as archive:
        names: set[str] = set()
        for member in archive.members:
            if _LIBRARY.fullmatch(member.filename):
                with archive.opened(member) as (window, _):
                    names.update(torch_symbols(exported_symbols(window)))
        return _exports(str(archive.version), wheel.name, names)


def exports_of_directory(torch: Path, version: str) -> TorchExports:
    """Read the exports from an installed torch: `torch` is its package directory.

    Raises:
        InvalidWheelError: a library is damaged.
        UsageError: it holds no torch libraries.
    """
    names: set[str] = set()
    for path in sorted((torch / "lib").glob("*.so")):
        if _LIBRARY.fullmatch(path.name):
            with path.open("rb") as file:
                names.update(torch_symbols(exported_symbols(Window.of_file(file.fileno()))))
    return _exports(version, "installed", names)


def _exports(version: str, source: str, names: set[str]) -> TorchExports:
    if not names:
        raise UsageError(f"{source} holds no torch libraries.", "Give a Linux wheel of torch, or its version.")
    return TorchExports(version, source, frozenset(map(_hash, names)))


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2s(name.encode(), digest_size=4).digest(), "big")
