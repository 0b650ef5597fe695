"""Deflate on all processors, with bytes that do not depend on how many there are.

In: data, piece by piece. Out: one raw deflate stream (RFC 1951). Every mebibyte is compressed by itself, with the
32 KiB before it as its dictionary and, but for the last, an empty stored block behind it, as pigz does it: to who
unpacks, it is one stream. Equal content, level and zlib give equal bytes. It cannot fail.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

_BLOCK = 1 << 20
_WINDOW = 1 << 15


class Deflate:
    """As `zlib.compressobj(level, zlib.DEFLATED, -15)`. One block is compressed where it is, more in threads."""

    def __init__(self, level: int, threads: int = 0) -> None:
        self._level, self._threads = level, threads or len(os.sched_getaffinity(0))
        self._pool: ThreadPoolExecutor | None = None
        self._begun: deque[Future[bytes]] = deque()
        self._rest, self._window = bytearray(), b""

    def compress(self, data: bytes) -> bytes:
        """Take more; what is ready of the stream."""
        self._rest += data
        ready = []
        while len(self._rest) > _BLOCK:  # the last one is for `flush`
            block = bytes(self._rest[:_BLOCK])
            del self._rest[:_BLOCK]
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads)
            self._begun.append(self._pool.submit(_compressed, block, self._window, self._level, zlib.Z_SYNC_FLUSH))
            self._window = block[-_WINDOW:]
            if len(self._begun) > 2 * self._threads:
                ready.append(self._begun.popleft().result())
        return b"".join(ready)

    def flush(self) -> bytes:
        """The rest of the stream."""
        ready = [begun.result() for begun in self._begun]
        self._begun.clear()
        if self._pool is not None:
            self._pool.shutdown()
        ready.append(_compressed(bytes(self._rest), self._window, self._level, zlib.Z_FINISH))
        return b"".join(ready)


def _compressed(block: bytes, window: bytes, level: int, end: int) -> bytes:
    if window:
        one = zlib.compressobj(level, zlib.DEFLATED, -15, zdict=window)
    else:
        one = zlib.compressobj(level, zlib.DEFLATED, -15)
    return one.compress(block) + one.flush(end)
