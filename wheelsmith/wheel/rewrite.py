"""Writing a wheel so that equal content gives equal bytes.

In: an `Archive`, names to change and contents to replace. Out: a new wheel at a path, complete or not there
at all. Members are sorted, `.dist-info` after the rest and RECORD last (PEP 427, "Recommended archiver
features"); times, permissions and compression are fixed; RECORD is computed. Equal bytes need an equal zlib
as well. Fails with what reading the `Archive` fails with, or `OSError`.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import stat
import time
import zipfile
from calendar import timegm
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from wheelsmith.fsutil import sync_directory
from wheelsmith.wheel.archive import Archive, invalid, open_archive
from wheelsmith.wheel.deflate import Deflate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_FIRST_EPOCH = 315_532_800  # 1980-01-01, the first time that a zip archive can hold
_LAST_EPOCH = 4_354_819_198  # 2107-12-31 23:59:58, the last
_CHUNK = 1 << 20
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be different in a wheel.

    Attributes:
        rename: gives the new name of a member.
        replace: new contents by old name; a path stands for the content of that file.
        add: contents by new name, of members to add or to overwrite.
    """

    rename: Callable[[str], str] = lambda name: name
    replace: Mapping[str, bytes | Path] = field(default_factory=dict)
    add: Mapping[str, bytes] = field(default_factory=dict)


def write_wheel(
    archive: Archive, target: Path, changes: Changes, *, epoch: int, level: int = 6, blocks: bool = True
) -> Path:
    """Write the members of `archive` to `target`, atomically.

    Args:
        archive: the wheel to read. RECORD is not read, and a signature of it is left out: it would be void.
        target: the file to make or replace.
        changes: what is to be different in it.
        epoch: time of every member, in seconds since 1970, moved into 1980 to 2107 (what a zip can hold).
        level: zlib's, 1 (fast) to 9 (small).
        blocks: whether members are deflated in blocks, by all processors; else each as one stream of zlib's own, as
            wheels were before there were blocks.

    Returns:
        `target`.
    """
    rename, contents, added = changes.rename, changes.replace, changes.add
    dist_info = rename(f"{archive.dist_info}/")
    record_name = f"{dist_info}RECORD"
    left_out = {record_name, *(f"{dist_info}{file}" for file in _SIGNATURES)}
    members = {rename(member.filename): member for member in archive.members}
    if len(members) != len(archive.members):
        raise invalid(archive.path.name, "two of its members would get the same name")
    names = sorted((members.keys() | added.keys()) - left_out, key=lambda name: (name.startswith(dist_info), name))
    when = time.gmtime(min(max(epoch, _FIRST_EPOCH), _LAST_EPOCH))[:6]
    record = io.StringIO(newline="")
    rows = csv.writer(record, lineterminator="\n")

    def info(name: str, size: int, *, executable: bool) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(name, when)
        entry.create_system = 3  # Unix, whatever the machine
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
        entry.file_size = size
        return entry

    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as output:
                for name in names:
                    content: bytes | Path | zipfile.ZipInfo
                    if name in added:
                        content, mode = added[name], 0
                    else:
                        member = members[name]
                        content, mode = contents.get(member.filename, member), member.external_attr >> 16
                    size = _size(content)
                    digest = hashlib.sha256()
                    with output.open(info(name, size, executable=bool(mode & 0o111)), "w") as stream:
                        if blocks:
                            _deflate_on_all_processors(stream, level)
                        for chunk in (
                            archive.chunks(content) if isinstance(content, zipfile.ZipInfo) else _chunks(content)
                        ):
                            digest.update(chunk)
                            stream.write(chunk)
                    encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
                    rows.writerow((name, f"sha256={encoded}", size))
                rows.writerow((record_name, "", ""))
                text = record.getvalue().encode()
                output.writestr(info(record_name, len(text), executable=False), text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    sync_directory(target.parent)
    return target


def _deflate_on_all_processors(stream: IO[bytes], level: int) -> None:
    """What a wheel takes longest to write is one member; zipfile has no way to say who compresses it.

    Where a Python keeps its compressor elsewhere, it compresses alone, as before.
    """
    if hasattr(stream, "_compressor"):
        stream._compressor = Deflate(level)


def _size(content: bytes | Path | zipfile.ZipInfo) -> int:
    if isinstance(content, zipfile.ZipInfo):
        return content.file_size
    return content.stat().st_size if isinstance(content, Path) else len(content)


def _chunks(source: bytes | Path) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def repack_as_before(wheel: Path, target: Path) -> Path:
    """Write a wheel of ours as versions without blocks did: the same members and times, each as one stream."""
    with open_archive(wheel) as archive:
        epoch = timegm(archive.members[0].date_time)
        return write_wheel(archive, target, Changes(), epoch=epoch, blocks=False)
