"""A PE file made by hand, so that the tests know every byte of it."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

_BASE = 0x1000
_START = 0x400


def pe_file(
    sections: Mapping[str, bytes] | None = None,
    *,
    imports: Sequence[str] = (),
    delayed: Sequence[str] = (),
    machine: int = 0x8664,
    dll: bool = True,
) -> bytes:
    """A 64-bit PE file with these sections, and import tables in a section of their own."""
    names, offsets = bytearray(), []
    tables = (len(imports) + 1) * 20 + (len(delayed) + 1) * 32
    for name in (*imports, *delayed):
        offsets.append(_BASE + tables + len(names))
        names += name.encode() + b"\0"
    data = b"".join(struct.pack("<12xII", offset, 1) for offset in offsets[: len(imports)]) + bytes(20)
    data += b"".join(struct.pack("<II24x", 1, offset) for offset in offsets[len(imports) :]) + bytes(32) + names
    every = {".idata": bytes(data), **(sections or {})}
    head = bytearray(64 + 24 + 240)
    head[:2], head[60:64] = b"MZ", struct.pack("<I", 64)
    struct.pack_into("<4sHHIIIHH", head, 64, b"PE\0\0", machine, len(every), 0, 0, 0, 240, 0x2022 if dll else 0x22)
    struct.pack_into("<H106xI", head, 88, 0x20B, 16)
    struct.pack_into("<II", head, 88 + 112 + 8, _BASE, 20)
    struct.pack_into("<II", head, 88 + 112 + 8 * 13, _BASE + (len(imports) + 1) * 20, 32)
    table, body, address = b"", b"", _BASE
    for name, content in every.items():
        stored = content + bytes(-len(content) % 512)
        row = (name.encode(), len(content), address, len(stored), _START + len(body), 0x40000040)
        table += struct.pack("<8sIIII12xI", *row)
        address += (len(content) + 4096) // 4096 * 4096
        body += stored
    return (bytes(head) + table).ljust(_START, b"\0") + body
