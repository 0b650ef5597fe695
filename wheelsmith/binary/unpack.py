"""Unpacking one compressed piece of GPU code within a bounded amount of memory.

In: the packed bytes and the size that the fatbin declares. Out: a window on the bytes for the time of a `with` block,
or None when they are damaged, of another size, or larger than `MAX_UNPACKED` (LZ4, which is not unpacked in parts: than
`MAX_LZ4`). Never fails. Pieces of more than 2 MiB are unpacked one at a time in the whole process, so that threads do
not add up their memory; what a Zstandard frame of more than 24 MiB holds passes through an unnamed temporary file.
Formats: LZ4 block, Zstandard frame (RFC 8878).
"""

from __future__ import annotations

import tempfile
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

from wheelsmith.binary.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_UNPACKED = 1 << 30  # cuSPARSELt holds PTX of 71 MB, ONNX Runtime a cubin of 39
MAX_LZ4 = 64 << 20  # with the copy that LZ4 makes, twice that in memory
_IN_MEMORY = 24 << 20
_LARGE = 2 << 20
_CHUNK = 1 << 20
_LZ4_RATIO = 256  # LZ4 expands at most 255 times
_WINDOW = 1 << 27
_OVERHEAD = 1 << 16  # bytes, and a hundredth: more than either format adds to what cannot be compressed
_one_large = threading.Lock()


@contextmanager
def unpack(
    method: Literal["lz4", "zstd"], packed: Window, size: int, *, first: int | None = None
) -> Iterator[Window | None]:
    """Give the `size` unpacked bytes; with `first`, no more than that many of them where the format allows to stop."""
    if not 0 < size <= (min(MAX_LZ4, packed.size * _LZ4_RATIO) if method == "lz4" else MAX_UNPACKED):
        yield None
        return
    if packed.size > size + size // 100 + _OVERHEAD:  # it would be read whole for a few bytes
        yield None
        return
    wanted = size if first is None or method == "lz4" else min(first, size)
    with _one_large if wanted + packed.size > _LARGE else nullcontext():
        if method == "zstd" and wanted > _IN_MEMORY:
            with tempfile.TemporaryFile() as copy:
                whole = _pieces(packed.read(0, packed.size), size, copy.write)
                yield Window.of_file(copy.fileno()) if whole else None
            return
        if method == "lz4":
            data = _lz4(packed.read(0, packed.size), size)
        else:
            data = _zstd(packed.read(0, packed.size), size, wanted)
        yield Window.of_bytes(data) if data is not None and len(data) == wanted else None


def _lz4(packed: bytes, size: int) -> bytes | None:
    import lz4.block

    try:
        return bytes(lz4.block.decompress(packed, uncompressed_size=size))
    except (lz4.block.LZ4BlockError, ValueError):
        return None


def _zstd(packed: bytes, size: int, wanted: int) -> bytes | None:
    import zstandard

    try:
        if zstandard.frame_content_size(packed) > size:  # what the frame declares is what is reserved
            return None
        engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        if wanted < size:
            return bytes(engine.stream_reader(packed).read(wanted))
        return engine.decompress(packed, max_output_size=size)
    except zstandard.ZstdError:
        return None


def _pieces(packed: bytes, size: int, write: Callable[[bytes], object]) -> bool:
    """Write all of a frame, a piece after the other; whether it has that size."""
    import zstandard

    written = 0
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(packed)
        while written <= size and (data := reader.read(_CHUNK)):
            write(data)
            written += len(data)
    except zstandard.ZstdError:
        return False
    return written == size
