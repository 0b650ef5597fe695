"""An index in a directory: safe for many writers on one machine or one file system with locks.

In: keys and bytes. Out: files. One lock file serializes writers during the short last part of a publish; readers need
none, because files appear by `link` and are replaced by `rename`. Fails with `DiskFullError` or `StoreError`.

A writer's wheels wait in a folder of its own, `.wheelsmith/staging/<token>/`, together with a lock file that it holds
while it lives. The folder is also the journal: if the writer dies, the next one sees which names it had linked, takes
those back that no record names, and learns which pages may be old.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from wheelsmith.errors import InvalidWheelError
from wheelsmith.events import Progress
from wheelsmith.fsutil import sha256_of, sync_directory
from wheelsmith.index import files, keys
from wheelsmith.index.layout import Layout
from wheelsmith.index.storage import Arrival, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from wheelsmith.events import Listener

_MANY = 20  # starting threads takes as long as writing a few files
_AT_ONCE = 8
_IN_PLACE = "in-place"  # a staged wheel that lay in the index before: it is never taken back


@dataclass(frozen=True, slots=True)
class DirectoryStorage:
    """The index in the directory `root`, an absolute path. Implements `Storage`."""

    root: Path

    @property
    def url(self) -> str:
        """The directory."""
        return str(self.root)

    @property
    def layout(self) -> Layout:
        """Where things are."""
        return Layout(self.root)

    def read(self, key: str) -> Stored | None:
        """See `Storage`. The content is its own version."""
        with files.storage_errors(self.root), suppress(FileNotFoundError, NotADirectoryError):
            return Stored((self.root / key).read_bytes(), "")
        return None

    def swap(self, key: str, data: bytes, expected: Stored | None) -> bool:
        """See `Storage`. The lock makes comparing and writing one step."""
        if self.read(key) != expected:
            return False
        self.write(key, data)
        return True

    def write(self, key: str, data: bytes) -> None:
        """See `Storage`."""
        files.write_atomic(self.root / key, data, self.layout.staging)

    def delete(self, *names: str) -> None:
        """See `Storage`. Folders that become empty go too."""
        for name in names:
            path = self.root / name
            path.unlink(missing_ok=True)
            for folder in path.relative_to(self.root).parents:
                if not _remove_if_empty(self.root / folder):
                    break

    def names(self, prefix: str = "") -> Iterator[str]:
        """See `Storage`. The writers' own files are not told."""
        top = self.root / prefix
        found: list[str] = []
        for folder, folders, names in os.walk(top):
            inside = Path(folder).relative_to(self.root)
            if inside == Path():
                folders[:] = [name for name in folders if name != ".wheelsmith"]
            found += ((inside / name).as_posix() for name in names)
        yield from sorted(found)

    def wheels(self) -> Iterator[tuple[str, datetime]]:
        """See `Storage`."""
        for path in sorted(self.root.glob("*.whl")):
            yield path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def stored_at(self, filename: str, sha256: str) -> str | None:
        """Wheels lie in the root under their own names."""
        return None

    def size(self, key: str) -> int | None:
        """See `Storage`."""
        path = self.root / key
        return path.stat().st_size if path.is_file() else None

    @contextmanager
    def local(self, key: str) -> Iterator[Path | None]:
        """See `Storage`."""
        path = self.root / key
        yield path if path.is_file() else None

    def set_aside(self, key: str) -> None:
        """See `Storage`."""
        target = self.root / ".wheelsmith" / "damaged" / f"{secrets.token_hex(4)}-{Path(key).name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.root / key).rename(target)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """See `Storage`."""
        with files.storage_errors(self.root):
            self.layout.staging.mkdir(parents=True, exist_ok=True)
            with files.locked(self.layout.lock):
                yield

    @contextmanager
    def inbox(self, listener: Listener) -> Iterator[DirectoryInbox]:
        """See `Storage`."""
        with files.storage_errors(self.root), ExitStack() as held:
            folder = self.layout.staging / secrets.token_hex(8)
            with self.exclusive():  # so that nobody takes the new folder for a dead writer's
                folder.mkdir()
                held.enter_context(files.locked(folder / "lock"))
            inbox = DirectoryInbox(self, folder, listener)
            try:
                yield inbox
            finally:
                if not inbox.kept and folder.exists():
                    with self.exclusive():
                        shutil.rmtree(folder)

    def leftovers(self) -> tuple[str, ...]:
        """See `Storage`."""
        return tuple(wheel.name for folder in self._abandoned() for wheel in folder.glob("*/*.whl"))

    def settle(self, is_published: Callable[[str], bool]) -> tuple[str, ...]:
        """See `Storage`."""
        names: list[str] = []
        for folder in self._abandoned():
            for staged in sorted(folder.glob("*/*.whl")):
                names.append(staged.name)
                final = self.root / staged.name
                linked = final.is_file() and final.samefile(staged) and staged.parent.name != _IN_PLACE
                if linked and not is_published(staged.name):
                    for name in (*keys.beside(final.name), final.name):
                        (self.root / name).unlink(missing_ok=True)
            shutil.rmtree(folder)
        for temporary in self.layout.staging.glob("*.tmp"):  # written under the lock, which we hold
            temporary.unlink()
        return tuple(names)

    def each(self, work: Callable[[str], object], names: Iterable[str]) -> None:
        """See `Storage`. A few at a time if there are many: their fsyncs then share the disk's time."""
        several = list(names)
        if len(several) < _MANY:
            for name in several:
                work(name)
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(work, several):
                pass

    def _abandoned(self) -> Iterator[Path]:
        if not self.layout.staging.is_dir():
            return
        for folder in sorted(path for path in self.layout.staging.iterdir() if path.is_dir()):
            if _is_abandoned(folder / "lock"):
                yield folder


@dataclass(slots=True)
class DirectoryInbox:
    """The staging folder of one call. Implements `Inbox`."""

    storage: DirectoryStorage
    folder: Path
    listener: Listener
    kept: bool = False
    _received: int = field(default=0)

    def receive(self, source: Path) -> Arrival:
        """See `Inbox`. A wheel that lies in the index already stays where it is."""
        self._received += 1
        final = self.storage.root / source.name
        in_place = final.is_file() and not final.is_symlink() and source.exists() and final.samefile(source)
        path = self.folder / (_IN_PLACE if in_place else str(self._received)) / source.name
        path.parent.mkdir(exist_ok=True)
        with open_wheel(source) as stream:
            size = os.fstat(stream.fileno()).st_size
            if in_place:
                os.fsync(stream.fileno())
                path.unlink(missing_ok=True)
                os.link(final, path)
                sha256 = sha256_of(path)
            else:

                def progress(done: int) -> None:
                    self.listener(Progress("index", source.name, done, size))

                with os.fdopen(files.create_exclusive(path), "wb") as target:
                    sha256 = files.copy_hashed(stream, target, progress)
        return Arrival(path, source.name, sha256, path.stat().st_size)

    def occupied(self, arrival: Arrival) -> str | None:
        """See `Inbox`."""
        final = self.storage.root / arrival.filename
        if not final.is_file():
            return None
        return arrival.sha256 if final.samefile(arrival.path) else sha256_of(final)

    def keep(self, arrival: Arrival, beside: Mapping[str, bytes]) -> None:
        """See `Inbox`. `link` cannot overwrite."""
        self.kept = True
        final = self.storage.root / arrival.filename
        if not final.exists():
            os.link(arrival.path, final)
        for key, data in beside.items():
            files.write_atomic(self.storage.root / key, data, self.storage.layout.staging, sync=False)

    def secure(self) -> None:
        """See `Inbox`. All of them have their names in one folder."""
        if self.kept:
            sync_directory(self.storage.root)

    def done(self) -> None:
        """See `Inbox`."""
        self.kept = False
        shutil.rmtree(self.folder)


@contextmanager
def open_wheel(path: Path) -> Iterator[BinaryIO]:
    """Open a wheel that was given to `publish`.

    Raises:
        InvalidWheelError: it cannot be read.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InvalidWheelError(
            f"{path} cannot be read: {error.strerror}.", "Give the path of a finished .whl file."
        ) from error
    with stream:
        yield stream


def _is_abandoned(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:  # its writer died while it made or removed the folder, under the index's lock
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
