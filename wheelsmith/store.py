"""The store: everything that was fetched or made, under the digest of what it is, so that nothing is done twice.

In: a root directory. Out: files and directories that are either complete or absent: each is made beside its place and
renamed. Fails with `StoreError` (not writable) and `BusyError` (another process makes the same thing).

    blobs/<sha256>             downloaded files            git/<digest of url>     bare repositories, depth-1 commits
                                                           git/<…>.sparse          the same, with some directories only
    envs/<digest>/             build environments          cuda/<digest>/          toolkits assembled from wheels
    locks/<digest>.txt         resolved requirements       work/<plan digest>/     a build in progress, and its log
    wheels/<plan digest>/      finished wheels             flocks/                 lock files
    served/<digest>            which place served a source  rehearsed/<name>.json   what `recipes bump` found last
    templates/                 compiled page templates
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wheelsmith.errors import BusyError, StoreError
from wheelsmith.fsutil import is_debris, remove_tree, sync_directory

_MAKING = ".new"
_YOUNG = 60.0  # seconds: between the birth of a file and the lock on it


def default_root() -> Path:
    """Where the store is if nobody says: WHEELSMITH_STORE, or the user's cache directory."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("WHEELSMITH_STORE") or user_cache_path("wheelsmith"))


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, even after a power cut."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as temporary:
        try:
            fcntl.flock(temporary, fcntl.LOCK_EX | fcntl.LOCK_NB)  # who collects debris leaves it alone
            temporary.write(data)
            temporary.flush()
            os.fsync(temporary.fileno())
            Path(temporary.name).chmod(0o644)
            Path(temporary.name).replace(path)
        except BaseException:
            Path(temporary.name).unlink(missing_ok=True)
            raise
    sync_directory(path.parent)


class Store:
    """A store at `root`; the directory is made on first use.

    Raises:
        StoreError: the directory cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreError(
                f"The store {self.root} is not a directory.",
                "Choose another with --store or WHEELSMITH_STORE.",
            ) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StoreError(
                f"The store {self.root} cannot be written: {error.strerror}.",
                "Choose another directory with --store or WHEELSMITH_STORE.",
            ) from error

    def place(self, kind: str, name: str) -> Path:
        """The path of an entry, whether it exists or not; its parent exists."""
        directory = self.root / kind
        directory.mkdir(exist_ok=True)
        return directory / name

    def blob(self, sha256: str) -> Path:
        """Where the file with this digest is kept."""
        return self.place("blobs", sha256)

    def make_directory(self, kind: str, name: str, make: Callable[[Path], None]) -> tuple[Path, bool]:
        """The directory `kind/name`, made by `make(temporary path)` if it is not there yet.

        Only one process makes it, the others wait. What an interrupted one left is removed.

        Returns:
            The path, and whether it was there already.
        """
        final = self.place(kind, name)
        if final.is_dir():
            return final, True
        with self.lock(f"{kind}-{name}", wait=True):
            if final.is_dir():
                return final, True
            temporary = final.with_name(f".{name}{_MAKING}")
            remove_tree(temporary)
            temporary.mkdir()
            try:
                make(temporary)
            except BaseException:
                remove_tree(temporary)
                raise
            temporary.rename(final)
            sync_directory(final.parent)
        return final, False

    def collect(self) -> int:
        """Remove what killed processes left unfinished, and nobody works on; how many files and directories.

        Everything of that kind has a name that begins with a dot.
        """
        collected = 0
        for path in self.root.glob("*/.*"):
            kind, name = path.parent.name, path.name
            with suppress(OSError, BusyError):
                if is_debris(name):
                    remove_tree(path)
                elif name.endswith(_MAKING) and path.is_dir():
                    with self.lock(f"{kind}-{name[1:].removesuffix(_MAKING)}"):
                        remove_tree(path)
                elif name.endswith(".part"):  # see sources/http.py
                    with self.lock(f"blob-{name[1:].removesuffix('.part')}"):
                        path.unlink()
                elif path.is_file() and not _is_held(path):
                    path.unlink()
                else:
                    continue
                collected += 1
        for path in self.root.glob("work/[!.]*"):  # it has served, and was about to be removed
            if (self.root / "wheels" / path.name.partition(".")[0]).is_dir():  # of parts of a build: the build's
                with suppress(OSError, BusyError), self.lock(f"build-{path.name}"):
                    remove_tree(path)
                    collected += 1
        return collected

    @contextmanager
    def lock(self, name: str, *, wait: bool = False) -> Iterator[None]:
        """Hold the lock `name`. The kernel releases it when the process dies, however it dies.

        Raises:
            BusyError: somebody else holds it and `wait` is false.
        """
        with self.place("flocks", name).open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise BusyError(
                    f"Another wheelsmith process is working on {name}.", "Wait for it to end, then try again."
                ) from error
            yield


def _is_held(path: Path) -> bool:
    """Whether somebody writes this file at the moment, or may be about to."""
    with path.open("rb") as file:
        if time.time() - os.fstat(file.fileno()).st_mtime < _YOUNG:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
