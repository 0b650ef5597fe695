"""Unpacking one compressed piece of GPU code within a bounded amount of memory.

In: the packed bytes and the size that the fatbin declares. Out: the bytes for the time of a `with` block, or None
when they are damaged, of another size, or larger than `MAX_UNPACKED`. Never fails. Pieces of more than 2 MiB are
unpacked one at a time in the whole process, so that threads do not add up their memory. Formats: LZ4 block, Zstandard
frame (RFC 8878).
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.binary.window import Window

MAX_UNPACKED = 24 << 20  # with the copy that LZ4 makes, twice that in memory
_LARGE = 2 << 20
_LZ4_RATIO = 256  # LZ4 expands at most 255 times
_one_large = threading.Lock()


@contextmanager
def unpack(method: Literal["lz4", "zstd"], packed: Window, size: int) -> Iterator[bytes | None]:
    """Give the `size` unpacked bytes."""
    if not 0 < size <= MAX_UNPACKED or (method == "lz4" and size > packed.size * _LZ4_RATIO):
        yield None
        return
    with _one_large if size + packed.size > _LARGE else nullcontext():
        data = (_lz4 if method == "lz4" else _zstd)(packed.read(0, packed.size), size)
        yield data if data is not None and len(data) == size else None


def _lz4(packed: bytes, size: int) -> bytes | None:
    import lz4.block

    try:
        return bytes(lz4.block.decompress(packed, uncompressed_size=size))
    except (lz4.block.LZ4BlockError, ValueError):
        return None


def _zstd(packed: bytes, size: int) -> bytes | None:
    import zstandard

    try:
        if zstandard.frame_content_size(packed) > size:  # what the frame declares is what is reserved
            return None
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(packed, max_output_size=size)
    except zstandard.ZstdError:
        return None
