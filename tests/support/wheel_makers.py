"""Small fatbins, libraries and wheels, made by hand so that the tests know every byte of them."""

from __future__ import annotations

import base64
import hashlib
import stat
import struct
import subprocess
import zipfile
from typing import TYPE_CHECKING

from tests.support.cubins import REAL, cubin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PTX, SASS, LTOIR = 1, 2, 8
_COMPILED: dict[tuple[object, ...], bytes] = {}
LZ4, ZSTD, ARCH_SPECIFIC, FAMILY_SPECIFIC = 0x2000, 0x8000, 0x100000, 0x200000


def entry(
    kind: int,
    number: int,
    flags: int = 0x11,
    isa: tuple[int, int] = (9, 0),
    payload: bytes | None = None,
    header: int = 64,
) -> bytes:
    """One entry of a region. `isa` is (major, minor); without `payload` it holds the kernel `k`."""
    if payload is None:
        suffix = "a" if flags & ARCH_SPECIFIC else "f" if flags & FAMILY_SPECIFIC else ""
        payload = _one_kernel(kind, f"{number}{suffix}", isa)
    head = struct.pack("<HHIQQHHIQQ", kind, 0x0101, header, len(payload), 0, isa[1], isa[0], number, 0, flags)
    return head.ljust(header, b"\0") + payload


def _one_kernel(kind: int, arch: str, isa: tuple[int, int]) -> bytes:
    if kind == SASS:
        return cubin({"k": REAL}, arch, toolkit="12.8")
    if kind == PTX:
        return b".version %d.%d\n.target sm_%s\n.entry k() { st.global.f32 [%%rd1], %%f1; ret; }" % (
            *isa,
            arch.encode(),
        )
    return b"payload!"


def region(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def build_library(
    folder: Path,
    fatbin: bytes = b"",
    *,
    name: str = "lib.so",
    source: str = "int f(void){return 1;}",
    section: str = ".nv_fatbin",
    link: Sequence[str] = ("-shared",),
    flags: Sequence[str] = (),
) -> bytes:
    """Compile a shared library that carries `fatbin` in a section; return its bytes. Equal ones are compiled once."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = (fatbin, name, source, section, tuple(link), tuple(map(str, flags)))
    if kind in _COMPILED:
        (folder / name).write_bytes(_COMPILED[kind])
        return _COMPILED[kind]
    (folder / "fatbin.bin").write_bytes(fatbin)
    (folder / "source.c").write_text(source)
    code = f'.section {section},"a"\n.incbin "{folder / "fatbin.bin"}"\n' if fatbin else ""
    (folder / "fatbin.s").write_text(code + '.section .note.GNU-stack,"",@progbits\n')
    inputs = [folder / "source.c", folder / "fatbin.s"]
    subprocess.run(["gcc", *link, "-fPIC", "-o", folder / name, *inputs, *flags], check=True)
    _COMPILED[kind] = (folder / name).read_bytes()
    return _COMPILED[kind]


def build_wheel(
    path: Path,
    files: Mapping[str, bytes] | None = None,
    *,
    metadata: str | None = None,
    reverse: bool = False,
    when: tuple[int, int, int, int, int, int] = (2001, 2, 3, 4, 5, 6),
    executable: Sequence[str] = (),
) -> Path:
    """Write a wheel whose name, version and tags are those of `path`, with a correct RECORD."""
    name, version, *_, python, abi, platform = path.name.removesuffix(".whl").split("-")
    info = f"{name}-{version}.dist-info"
    contents = dict(files or {})
    contents[f"{info}/METADATA"] = (metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n").encode()
    tags = "".join(f"Tag: {python}-{abi}-{one}\n" for one in platform.split("."))
    purelib = "true" if platform == "any" else "false"
    contents[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {purelib}\n{tags}".encode()
    contents[f"{info}/RECORD"] = (
        "".join(
            f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
            for file, data in contents.items()
        ).encode()
        + f"{info}/RECORD,,\n".encode()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(contents, reverse=reverse):
            member = zipfile.ZipInfo(file, when)
            member.external_attr = (stat.S_IFREG | (0o755 if file in executable else 0o640)) << 16
            archive.writestr(member, contents[file])
    return path
