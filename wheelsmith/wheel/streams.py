"""Compressed files as objects that can be read a piece at a time, within a bounded amount of memory.

In: a window, and how it is compressed (`stream_of` tells by the first bytes). Out: something with `read`,
which fails as the libraries do on what is damaged (OSError, EOFError, ValueError, MemoryError, their own errors).
Formats: RFC 1950 (zlib), RFC 1952 (gzip), RFC 8878 (zstd), and those of bzip2, xz and lzma.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from wheelsmith.binary.window import Window

_CHUNK = 1 << 20
_MAX_DICTIONARY = 160 << 20  # of memory for one xz stream: `xz -9` takes 65 MiB
_STREAMS = {
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x5d\0\0": "lzma",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x78\x01": "zlib",
    b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib",
}


def stream_of(head: bytes) -> str | None:
    """How a file is compressed, as a whole; None: it is not, as far as its first bytes tell."""
    import zlib

    name = next((name for magic, name in _STREAMS.items() if head.startswith(magic)), None)
    if name == "zlib":  # two bytes are no magic number
        try:
            zlib.decompressobj().decompress(head, 64)
        except zlib.error:
            return None
    return None if name == "lzma" and head[13:14] != b"\0" else name


class _Seekable:
    """A window as an object that can be read and sought, for libraries that want a file."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        left = max(self._window.size - self._position, 0)
        data = self._window.read(self._position, left if size is None or size < 0 else min(size, left))
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        position = offset + (0, self._position, self._window.size)[whence]
        if position < 0:
            raise OSError("the start of the file is passed")
        self._position = position
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True


class Readable(Protocol):
    """What can be read a piece at a time."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


class _Zlib:
    """A zlib stream as an object that can be read."""

    def __init__(self, source: Readable) -> None:
        import zlib

        self._source = source
        self._engine = zlib.decompressobj()

    def read(self, size: int, /) -> bytes:
        while not self._engine.eof:
            waiting = self._engine.unconsumed_tail or self._source.read(_CHUNK)
            if not waiting:
                raise EOFError("it ends too early")
            if data := self._engine.decompress(waiting, size):
                return data
        return b""


class _Lzma:
    """An xz or lzma file, of one stream or several, as an object that can be read; it takes a bounded memory."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._start()

    def _start(self) -> None:
        import lzma

        self._engine = lzma.LZMADecompressor(memlimit=_MAX_DICTIONARY)

    def read(self, size: int, /) -> bytes:
        while True:
            if self._engine.eof:
                waiting = self._next_stream()
                if not waiting:
                    return b""
                self._start()
            else:
                waiting = self._source.read(_CHUNK) if self._engine.needs_input else b""
                if not waiting and self._engine.needs_input:
                    raise EOFError("it ends too early")
            if data := self._engine.decompress(waiting, size):
                return data

    def _next_stream(self) -> bytes:
        """The beginning of what follows a stream and its padding, which may be long; empty: nothing does."""
        waiting = self._engine.unused_data or self._source.read(_CHUNK)
        while waiting and not (rest := waiting.lstrip(b"\0")):
            waiting = self._source.read(_CHUNK)
        return rest if waiting else b""


def seekable(file: Window) -> Any:
    """The window as a binary file, for libraries that want one."""
    return _Seekable(file)


def opened(file: Window, stream: str) -> Readable:
    """What a compressed file holds; `stream` is what `stream_of` told."""
    import bz2
    import gzip

    import zstandard

    source = seekable(file)
    if stream == "gzip":
        return gzip.GzipFile(fileobj=source)
    if stream == "bzip2":
        return bz2.BZ2File(source)
    if stream == "zlib":
        return _Zlib(source)
    if stream in {"xz", "lzma"}:
        return _Lzma(source)
    return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(source, read_across_frames=True)
