"""Remembers device code arch by arch. A program, run by nvcc in place of `cicc`, of `ptxas` and of `cudafe++`.

In: the tool's path, a digest of what it is, and its command line; `WHEELSMITH_DEVICE_CACHE`, the socket of `server.py`,
and `WHEELSMITH_DEVICE_LOG`, a file that gets one line a call (`device_hit`, `host_miss`). Out: the files that the tool
would write, with its messages and its exit status. Fails only as the tool itself fails: a cache that does not answer,
an entry that is none or a full disk leads to a plain run of the tool.

`cicc` turns the preprocessed text of one arch into PTX, `ptxas` turns that into machine code: neither sees the other
archs. So when an arch is added, the archs that were there are answered from here. `cudafe++` turns the host's text into
C++; that text is the same for every list of archs, unless the source asks for the list (CUB does). The host compiler is
not asked for here: the device code of all archs is a part of what it compiles. The name of an entry is the digest of
all that goes in: the tool, its arguments, the working directory, and the content of every file among the arguments.
nvcc names the files of a pass after its arch (`x.compute_86.ptx`), but not where there is only one: that part of a name
does not count, and in text that the tool writes the names are put in anew. Standard library only: it starts twice for
each unit and arch.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

# What follows these options is written, not read (see `nvcc -dryrun`).
_OUTPUTS = {
    "cicc": ("-o", "--gen_c_file_name", "--stub_file_name", "--gen_device_file_name"),
    "ptxas": ("-o",),
    "cudafe++": ("--gen_c_file_name", "--module_id_file_name"),  # the stub is named to it, and written by cicc
}
_OF_ARCH = re.compile(r"\.compute_\d+[a-z]?(?=\.)")
_SIGN = b"\0name %d\0"  # stands for one in what is kept
_ELF = b"\x7fELF"
_GREETING = b"\x01\x01\x00"
_PATIENCE = 60  # seconds; the server itself waits for a network less long


def main() -> int:
    """Answer from the directory, or run the tool and keep what it made."""
    real, identity, *arguments = sys.argv[1:]
    tool = Path(real).name
    kind = "host" if tool == "cudafe++" else "device"
    outputs = [Path(value) for option, value in pairwise(arguments) if option in _OUTPUTS[tool]]
    # Arguments in a file are not seen here; with `-src-in-ptx` the source is read, too.
    unknown = any(text.startswith("@") or "options-file" in text or "-in-ptx" in text for text in arguments)
    cache = os.environ.get("WHEELSMITH_DEVICE_CACHE")
    if unknown or not outputs or not cache:
        os.execv(real, [real, *arguments])  # noqa: S606 - no shell is what is meant
    entry = b""
    with contextlib.suppress(OSError, ValueError, zlib.error):
        entry = _name(tool, identity, arguments, outputs)
        if _restore(cache, entry, _names(arguments, outputs), outputs):
            _log(f"{kind}_hit")
            return 0
    done = subprocess.run([real, *arguments], capture_output=True, check=False)
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    if done.returncode == 0 and entry:
        with contextlib.suppress(OSError):
            _keep(cache, entry, _names(arguments, outputs), outputs, (done.stdout, done.stderr))
        _log(f"{kind}_miss")
    if done.returncode < 0:  # nvcc then says "died due to signal", as without us
        sys.stdout.flush()
        sys.stderr.flush()
        os.kill(os.getpid(), -done.returncode)
    return done.returncode


def _name(tool: str, identity: str, arguments: list[str], outputs: list[Path]) -> bytes:
    digest, inside = hashlib.sha256(), False
    for path in map(Path, arguments):
        if path not in outputs and path.is_file():
            data = path.read_bytes()
            digest.update(hashlib.sha256(data).digest())
            inside = inside or any(name in data for name in _names(arguments, outputs))
    # Where the source itself says such a name, nobody could tell it from nvcc's.
    named = arguments if inside else [_OF_ARCH.sub("", text) for text in arguments]
    for text in (tool, identity, str(Path.cwd()), *named):
        digest.update(os.fsencode(text) + b"\0")
    return digest.digest()


def _names(arguments: list[str], outputs: list[Path]) -> list[bytes]:
    """Of the files of a pass, in the order of the command line."""
    made = [Path(text) for text in arguments if Path(text) in outputs or text.endswith((".ii", ".ptx", ".stub.c"))]
    return [os.fsencode(path.name) for path in dict.fromkeys(made)]


def _restore(cache: str, entry: bytes, names: list[bytes], outputs: list[Path]) -> bool:
    with _connected(cache) as (connection, answers):
        connection.sendall(b"\x00" + bytes([len(entry)]) + entry)
        if answers.read(1) != b"\x00":
            return False
        (size,) = struct.unpack("=Q", answers.read(8))
        pieces = list(_unpack(zlib.decompress(answers.read(size))))
    for number, name in enumerate(names):
        pieces = [piece.replace(_SIGN % number, name) for piece in pieces]
    said, warned, *contents = pieces
    for path, data in zip(outputs, contents, strict=True):
        path.write_bytes(data)
    sys.stdout.buffer.write(said)
    sys.stderr.buffer.write(warned)
    return True


def _keep(cache: str, entry: bytes, names: list[bytes], outputs: list[Path], said: tuple[bytes, bytes]) -> None:
    pieces = [*said, *(path.read_bytes() for path in outputs)]
    if any(name in piece for piece in pieces if piece.startswith(_ELF) for name in names):
        return  # there it has a place of its length
    for number, name in sorted(enumerate(names), key=lambda item: -len(item[1])):  # one may be the beginning of another
        pieces = [piece.replace(name, _SIGN % number) for piece in pieces]
    body = zlib.compress(b"".join(len(piece).to_bytes(8, "little") + piece for piece in pieces), 1)
    with _connected(cache) as (connection, answers):
        connection.sendall(b"\x01" + bytes([len(entry)]) + entry + b"\x01" + struct.pack("=Q", len(body)) + body)
        answers.read(1)


@contextlib.contextmanager
def _connected(cache: str) -> Iterator[tuple[socket.socket, io.BufferedReader]]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(cache)
        with connection.makefile("rb") as answers:
            if answers.read(len(_GREETING)) != _GREETING:
                raise OSError("this is another protocol")
            yield connection, answers


def _unpack(data: bytes) -> Iterator[bytes]:
    while data:
        size = int.from_bytes(data[:8], "little")
        yield data[8 : 8 + size]
        data = data[8 + size :]


def _log(text: str) -> None:
    with contextlib.suppress(OSError, KeyError), Path(os.environ["WHEELSMITH_DEVICE_LOG"]).open("a") as file:
        file.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
