"""Debug information and unneeded symbols out of a wheel's libraries.

In: a wheel as the build backend wrote it. Out: the same with its linked ELF files stripped by binutils. It comes before
the repair, because patchelf's output must not be stripped any more, and before the contract, which so judges what is
shipped: sections with GPU code are loaded at run time, and strip leaves those. Fails with `NoCompilerError` (no
`strip`) and `InvalidWheelError` (a file that strip cannot read). Reference: binutils, strip(1).
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.binary.cubin import is_cubin
from wheelsmith.children import run_child
from wheelsmith.errors import NoCompilerError
from wheelsmith.wheel.archive import invalid, open_archive
from wheelsmith.wheel.rewrite import Changes, write_wheel

if TYPE_CHECKING:
    import zipfile

    from wheelsmith.wheel.archive import Archive

_LINKED = {2, 3}  # e_type: ET_EXEC, ET_DYN. Objects (ET_REL) keep their symbols: somebody links them.
_SEARCH = "/usr/local/bin:/usr/bin:/bin"
_LIGHT = 0  # zlib level: `seal` compresses


@dataclass(frozen=True, slots=True)
class StripTool:
    """binutils' strip; `version` is the first line of `--version`."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class Stripped:
    """A stripped wheel, and the bytes of its linked ELF files before and after, unpacked."""

    wheel: Path
    before: int
    after: int


def find_strip() -> StripTool:
    """The `strip` of the machine.

    Raises:
        NoCompilerError: there is none.
    """
    path = shutil.which("strip", path=_SEARCH)
    if path is None:
        raise NoCompilerError(
            f"There is no strip in {_SEARCH}, and the recipe says strip = true.",
            "Install binutils: `apt-get install binutils` on Debian and Ubuntu.",
        )
    output = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return StripTool(path, output.partition("\n")[0].strip())


def strip_wheel(wheel: Path, out_dir: Path, *, tool: StripTool, epoch: int) -> Stripped:
    """Write the wheel to `out_dir`, an existing folder, under its name, with every linked ELF file stripped.

    Raises:
        InvalidWheelError: the wheel, or a library for strip, is not sound.
    """
    with tempfile.TemporaryDirectory(dir=out_dir, prefix=".strip-") as name, open_archive(wheel) as archive:
        replaced: dict[str, bytes | Path] = {}
        before = after = 0
        for number, member in enumerate(archive.members):
            if not _is_linked(archive, member):
                continue
            copy = Path(name, f"{number}.so")
            with copy.open("wb") as file:
                file.writelines(archive.chunks(member))
            done = run_child([tool.path, "--strip-unneeded", copy])
            if done.returncode != 0:
                words = done.stderr.replace(str(copy), member.filename).strip().rstrip(".")
                raise invalid(wheel.name, f"strip cannot read {member.filename!r} ({words})")
            before, after = before + member.file_size, after + copy.stat().st_size
            replaced[member.filename] = copy
        target = write_wheel(archive, out_dir / wheel.name, Changes(replace=replaced), epoch=epoch, level=_LIGHT)
    return Stripped(target, before, after)


def _is_linked(archive: Archive, member: zipfile.ZipInfo) -> bool:
    head = next(archive.chunks(member), b"")[:20]
    if len(head) < 20 or not head.startswith(b"\x7fELF") or is_cubin(head):
        return False
    (kind,) = struct.unpack("<H" if head[5] == 1 else ">H", head[16:18])
    return kind in _LINKED
