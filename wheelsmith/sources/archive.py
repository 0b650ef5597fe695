"""Tar and zip archives: download by URL, and unpacking that cannot leave its directory.

In: an `ArchiveSource`, or an archive in the store. Out: a blob, or a directory. Fails with `SourceError` for archives
that are unreadable, unsafe or too big, and as `transfer` does. Type and compression are read from the content.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from wheelsmith.config import NO_MIRRORS
from wheelsmith.errors import SourceError, StoreError
from wheelsmith.sources.http import download, has_blob
from wheelsmith.sources.mirrors import ask_places
from wheelsmith.sources.model import Fetched, redact
from wheelsmith.sources.safe_paths import MOST_FILES, UNPACKED_LIMIT, below

if TYPE_CHECKING:
    from wheelsmith.config import Mirrors
    from wheelsmith.events import Listener
    from wheelsmith.planning.model import ArchiveSource, SdistSource
    from wheelsmith.store import Store

#: How files begin, and what opens them.
_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
#: What begins so, for sentences.
_KINDS = {b"\x1f\x8b": "a gzip file", b"BZh": "a bzip2 file", b"\xfd7zXZ\0": "an xz file", b"PK": "a zip archive"}
#: What a file system says to names that no file can have.
_NAMES = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.EINVAL, errno.EILSEQ}
_LARGEST_READ = 16 << 20  # bytes at once: what tarfile reads whole, a name or a header, has a few thousand
#: What the standard library raises for archives that are cut off, damaged, encrypted or of another kind.
_UNREADABLE = (
    gzip.BadGzipFile,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # of zip files: encrypted, or (NotImplementedError) compressed in another way
)


def present(source: ArchiveSource | SdistSource, store: Store) -> bool:
    """Whether the store holds it, undamaged."""
    return has_blob(store, source.sha256)


def fetch(source: ArchiveSource, store: Store, listener: Listener, mirrors: Mirrors = NO_MIRRORS) -> Fetched:
    """Bring the archive into the store, from the first mirror that has it.

    Raises:
        NetworkError, HashMismatchError, SourceError: see `transfer.download`.
    """
    what = redact(str(source))
    if present(source, store):
        return Fetched(what, source.sha256, 0, reused=True)

    def ask(place: str) -> int:
        return download(place, source.sha256, store, listener=listener)

    size, place = ask_places(source.url, mirrors, ask, listener)
    return Fetched(what, source.sha256, size, reused=False, served_by=place)


def lay_out(source: ArchiveSource | SdistSource, store: Store, into: Path) -> None:
    """Unpack the stored archive as the new directory `into`.

    Raises:
        StoreError: the store does not hold it, or holds it damaged (it is then removed).
        SourceError: see `unpack`.
    """
    if not has_blob(store, source.sha256):
        raise StoreError(
            f"The store does not hold {redact(str(source))}, or held it damaged.",
            "Run the same command again without --offline: it is fetched again.",
        )
    unpack(store.blob(source.sha256), into, redact(str(source)), pinned=True)


def unpack(archive: Path, into: Path, what: str, *, limit: int = UNPACKED_LIMIT, pinned: bool = False) -> None:
    """Unpack a tar (gz, bz2, xz) or zip archive as the new directory `into`.

    The single top-level directory of the archive, if there is one, is stripped.

    Args:
        archive: the file, whatever its name.
        into: a path at which nothing is; its parent exists.
        what: what the archive is called in messages.
        limit: how many bytes it may unpack to.
        pinned: whether its SHA-256 is the one that a recipe pins; for the remedy.

    Raises:
        SourceError: it is no archive, or a damaged one; a member leaves the directory, is a device, or the limit is
            passed.
    """
    with archive.open("rb") as file:
        is_zip = file.read(4) in {b"PK\x03\x04", b"PK\x05\x06"}
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".unpack-") as name:
        temporary = Path(name, "content")
        temporary.mkdir()
        try:
            (_unzip if is_zip else _untar)(archive, temporary, limit)
        except (tarfile.FilterError, ValueError) as error:
            raise SourceError(
                f"A member of the {what} is unsafe: {error}.", "Do not use it: report it to its publisher."
            ) from error
        except _UNREADABLE as error:
            raise _unreadable(archive, what, error, pinned=pinned) from error
        except OSError as error:
            if error.errno not in _NAMES:
                raise
            raise SourceError(
                f"A member of the {what} cannot be written: {error.strerror}.",
                "Do not use it: report it to its publisher.",
            ) from error
        entries = list(temporary.iterdir())
        single = len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink()
        (entries[0] if single else temporary).rename(into)


def _unreadable(archive: Path, what: str, error: Exception, *, pinned: bool) -> SourceError:
    """Damaged, if it begins as an archive that can be unpacked; else something else."""
    with archive.open("rb") as file:
        head = file.read(512)
    kind = next((kind for start, kind in _KINDS.items() if head.startswith(start)), "")
    kind = kind or ("a tar archive" if head[257:262] == b"ustar" else "")
    # tarfile calls so what unpacks well and is no tar archive; a damaged one has other words.
    other = isinstance(error, RuntimeError) or str(error) == "invalid header"
    if not kind or other:
        return SourceError(
            f"The {what} cannot be unpacked: {error}.", "Supported are .tar, .tar.gz, .tar.bz2, .tar.xz and .zip."
        )
    again = "Fetch it again, and compare its SHA-256 with what its publisher says."
    if pinned:
        again = "It is what the recipe pins, so fetching it again changes nothing: pin the SHA-256 of a sound copy."
    return SourceError(f"The {what} is damaged: it begins as {kind}, and then: {error}.", again)


class _Careful:
    """A stream for tarfile, which reads names and headers whole, however long they say that they are.

    Attributes:
        last: what was read last. Where tarfile finds no further member, that is the block that it took for the end.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self._file, self.last = file.seek, file.tell, file, b""

    def read(self, size: int) -> bytes:
        """At most so many bytes.

        Raises:
            tarfile.ReadError: these are too many for any honest archive.
        """
        if size > _LARGEST_READ:
            raise tarfile.ReadError(f"a header says that it has {size:,} bytes")
        self.last = self._file.read(size)
        return self.last


def _untar(archive: Path, into: Path, limit: int) -> None:
    total = count = 0
    with archive.open("rb") as raw:
        magic = raw.read(6)
    opened = next((how for start, how in _COMPRESSED.items() if magic.startswith(start)), open)
    with (
        opened(archive, "rb") as file,
        tarfile.open(fileobj=cast("IO[bytes]", careful := _Careful(file)), mode="r:") as tar,
    ):
        for member in tar:
            total, count = _within(limit, total + max(member.size, 0)), _few_enough(count + 1)
            vars(tar)["members"].clear()  # or it keeps all of them
            # PEP 706: no absolute names, nothing outside, no links to outside, no devices.
            tar.extract(member, into, filter="data")
        if careful.last.strip(b"\0"):  # tarfile takes a header that it cannot read for the end
            raise tarfile.ReadError(f"the header after {count} members cannot be read")
        _drain(file, limit)


def _drain(file: IO[bytes], limit: int) -> None:
    """Read to the end, where the check sum of a compressed file is. Something else may follow, as gzip has it."""
    read = 0
    try:
        while piece := file.read(1 << 20):
            read = _within(limit, read + len(piece))
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):
            raise


def _unzip(archive: Path, into: Path, limit: int) -> None:
    total = 0
    with zipfile.ZipFile(archive) as bundle:
        _few_enough(len(bundle.infolist()))
        for member in bundle.infolist():
            total = _within(limit, total + member.file_size)
            mode = member.external_attr >> 16
            path = below(into, member.filename.removesuffix("/"))
            if member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
                raise ValueError(f"{member.filename!r} is neither a file nor a directory")
            path.parent.mkdir(parents=True, exist_ok=True)
            with bundle.open(member) as packed, path.open("wb") as file:
                shutil.copyfileobj(packed, file)
            path.chmod(0o755 if mode & 0o100 else 0o644)


def _within(limit: int, total: int) -> int:
    if total > limit:
        raise ValueError(f"it unpacks to more than {limit} bytes")
    return total


def _few_enough(count: int) -> int:
    if count > MOST_FILES:
        raise ValueError(f"it has more than {MOST_FILES:,} files")
    return count
