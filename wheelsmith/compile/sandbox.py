"""What a build sees of the machine, and how it is started there.

In: the directories of a build. Out: the command prefix that runs a program in a root directory of the build's own, as
far as the machine allows. `confine.py` carries it out. Where the kernel gives no namespaces, the build runs at the
store's own path and can reach what its user can: it works, but its wheels differ from those of other machines, and the
provenance says so. Fails with `StoreError` (a directory of the build cannot be handed over).

    /tmp/wheelsmith-build    the build's directory: src, trees, cargo, home, tmp, out, launch, cache can be written;
                             env and cuda are the build environment and the toolkit, which nobody can write
    /usr, /lib, /bin …       read-only, and of /etc what compilers and certificates need
    /tmp, /dev/shm           empty, in memory, of limited size
    /dev, /proc              a handful of devices; the build's own processes
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.compile.confine import Specification, Step
from wheelsmith.compile.landlock import landlock_rules, landlock_version
from wheelsmith.compile.memory import available_memory, usable_cpus
from wheelsmith.compile.syscalls import syscall_filter
from wheelsmith.errors import StoreError
from wheelsmith.fsutil import entries_below
from wheelsmith.planning.model import CANONICAL

if TYPE_CHECKING:
    from wheelsmith.documents.builds import IsolationFacts

#: Who the build is when wheelsmith is root: an id that nobody has (systemd's UIDS-GIDS.md: 65520 to 65533 are unused).
BUILD_USER = 65533
#: Set to anything, no namespaces are used: how a machine without them is tried out.
NO_NAMESPACES = "WHEELSMITH_TEST_NO_NAMESPACES"

_PROGRAM = Path(__file__).with_name("confine.py")
_LIBRARY = "/run/wheelsmith"
_OWN = ("src", "trees", "cargo", "home", "tmp", "out", "launch", "cache")
_LAID = ("launch", "cache")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "os-release", "debian_version"),
    *("lsb-release", "redhat-release", "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "crypto-policies"),
    *("pki/tls/certs", "pki/ca-trust/extracted", "nvcc.profile"),  # the last: Debian's nvcc
)
_DEVICES = ("null", "zero", "full", "random", "urandom")
_PREFIX = ("bin", "lib", "lib64", "include", "share")  # of a Python installation
_PROCESSES, _PER_CPU = 4096, 128  # processes and threads of a build
_LARGEST_FILE = 64 * 10**9  # bytes
_NO_CORE = 1  # neither a file nor the program of core_pattern, which runs outside: core(5) and fs/coredump.c


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a build here is kept apart from.

    Attributes:
        confined: it has a root directory, processes, a network and a terminal of its own, and no rights.
        user: numeric id that the build has on this machine; None: the caller's.
        reason: why it is not confined.
    """

    confined: bool
    user: int | None = None
    reason: str = ""

    @property
    def canonical(self) -> bool:
        """Whether the build sees the canonical path."""
        return self.confined

    @property
    def network(self) -> bool:
        """Whether the build can reach a network."""
        return not self.confined

    @property
    def unconfined(self) -> str:
        """What it means where there is no confinement."""
        files = "reach the network and local sockets" if landlock_version() else "read and write what its user can"
        return f"a build can {files}, and its wheel need not have the bytes of another machine's"

    def __str__(self) -> str:
        if not self.confined:
            return f"none ({self.reason}): {self.unconfined}"
        who = "the caller's user" if self.user is None else f"user {self.user}"
        return f"own files, own processes, no network, no rights, as {who}"

    def to_dict(self) -> IsolationFacts:
        """JSON-ready form, for a build's record and provenance."""
        return {
            "level": "confined" if self.confined else "none",
            "reason": self.reason or None,
            "canonical_path": CANONICAL if self.confined else None,
            "network": self.network,
            "user": "its own" if self.user is not None else "the caller's",
            "system_calls_filtered": bool(syscall_filter()),
            "files_restricted": self.confined or bool(landlock_version()),
        }


@cache
def isolation_here() -> Isolation:
    """What this machine allows; found out by doing it."""
    if os.environ.get(NO_NAMESPACES):
        return Isolation(False, None, f"{NO_NAMESPACES} is set")
    user = BUILD_USER if os.geteuid() == 0 and _exists(BUILD_USER) else None
    steps = [*_system_steps(()), ["tmpfs", 1 << 20, 0o755, True, CANONICAL]]
    command = _command(user, steps, CANONICAL, ["true"], parent=True)
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(command, env=base, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Isolation(True, user)
    words = done.stderr.strip().rpartition("confined: ")[2].splitlines()
    return Isolation(False, None, words[-1] if words else f"status {done.returncode}")


def _exists(user: int) -> bool:
    """Whether the user namespace that we are in has this id (user_namespaces(7))."""
    ranges = [list(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text("utf-8").splitlines()]
    return any(first <= user < first + count for first, _, count in ranges)


@dataclass(frozen=True, slots=True)
class Room:
    """A place to build in: `root` holds src, trees, home, tmp, out, launch, cache and the mount points env and cuda.
    `interpreter` is the prefix of the Python that the environment is made of."""

    root: Path
    environment: Path
    toolkit: Path
    isolation: Isolation
    interpreter: Path = Path(sys.base_prefix)

    @property
    def place(self) -> str:
        """Where the build sees `root`."""
        return CANONICAL if self.isolation.canonical else str(self.root)

    @property
    def libraries(self) -> tuple[str, ...]:
        """Directories in which the build finds the packages of `driver.py`."""
        if self.isolation.confined:
            return (_LIBRARY,)
        return tuple(dict.fromkeys(str(path.parent) for path in _packages()))

    def seen(self, text: str) -> str:
        """A text of the plan with the paths that the build will really see."""
        if self.isolation.canonical:
            return text
        return text.replace(f"{CANONICAL}/env", str(self.environment)).replace(CANONICAL, str(self.root))

    def here(self, path: str) -> Path:
        """Where a path that the build sees is outside of the room."""
        for name, real in (("env", self.environment), ("cuda", self.toolkit), ("", self.root)):
            point = Path(self.place, name)
            if Path(path).is_relative_to(point):
                return real / Path(path).relative_to(point)
        return Path(path)

    def hand_over(self, *more: Path) -> None:
        """Give the build's directory, which nobody else can even enter, and directories of ours to the build's user.

        Raises:
            StoreError: the file system has no owners.
        """
        self.root.chmod(0o700)
        user = self.isolation.user
        if user is None:
            return
        try:
            # What the build's user has already, an earlier run gave it, and all that is in there; but every run lays
            # files and sockets of its own into some directories.
            tops = [path for path in self.root.iterdir() if path.name in _LAID or path.lstat().st_uid != user]
            for top in (*tops, *(path for path in more if path.stat().st_uid == 0)):
                for entry in entries_below(top) if top.is_dir() and not top.is_symlink() else ():
                    os.chown(entry.path, user, user, follow_symlinks=False)
                os.chown(top, user, user, follow_symlinks=False)
            os.chown(self.root, user, user)
        except PermissionError as error:
            raise StoreError(
                f"{error.filename} cannot be given to the user of the build: {error.strerror}.",
                "Put the store on a local file system (--store), or run wheelsmith as an ordinary user.",
            ) from error

    def command(
        self,
        program: list[str],
        *,
        binds: Sequence[tuple[Path, str]] = (),
        paths: Sequence[tuple[Path, bool]] = (),
        leashed: bool = False,
    ) -> list[str]:
        """The command that runs `program` in the room. Everything that the program starts ends with it.

        Args:
            program: the command line.
            binds: files, and the paths below `root` that they are mounted over; where nothing can be mounted, none is.
            paths: what else the build sees, at its own path, and whether it can write there.
            leashed: the caller starts it itself, and when the caller dies, however it dies, so does the program.
        """
        if not self.isolation.confined:
            return _command(None, [], str(self.root), program, parent=leashed, rules=self._rules(paths))
        steps = [*_system_steps(self._hidden()), *self._steps(binds, paths)]
        return _command(self.isolation.user, steps, CANONICAL, program, parent=leashed)

    def _rules(self, paths: Sequence[tuple[Path, bool]]) -> Specification | None:
        """The same as `_steps`, as far as it goes without mounts."""
        readable = [*_SYSTEM, "/proc", "/dev", *(f"/etc/{name}" for name in _ETC), "/etc/passwd", "/etc/group"]
        readable += [str(path) for path in (*self._prefixes(), self.toolkit, self.environment, *_packages())]
        readable += [str(path) for path, writable in paths if not writable]
        writable = [*(f"/dev/{name}" for name in _DEVICES), "/dev/shm", str(self.root)]  # noqa: S108
        writable += [str(path) for path, may_write in paths if may_write]
        return landlock_rules(readable, writable, self.libraries)

    def _prefixes(self) -> list[Path]:
        prefixes = dict.fromkeys((Path(sys.base_prefix), self.interpreter))
        if not (self.environment / "pyvenv.cfg").is_file():  # --env current, outside a virtual environment
            prefixes[self.environment] = None
        return [path / name for path in prefixes for name in _PREFIX if (path / name).is_dir()]

    def _hidden(self) -> tuple[Path, ...]:
        return (Path.home(), self.root.parent.parent)

    @property
    def _own_environment(self) -> bool:
        """Whether the environment is a virtual one of the caller's: its programs name their interpreter by its path
        there. (Those in the store can be moved.)"""
        ours = self.root.parent.parent
        return (self.environment / "pyvenv.cfg").is_file() and not self.environment.is_relative_to(ours)

    def _steps(self, binds: Sequence[tuple[Path, str]], paths: Sequence[tuple[Path, bool]]) -> Iterator[Step]:
        own = [self.environment] if self._own_environment else []
        for path, writable in (*((path, False) for path in (*self._prefixes(), *own, self.toolkit)), *paths):
            if writable or not _is_system(path):
                yield from _bind(path, str(path), writable=writable)
        for path in _packages():
            yield from _bind(path, f"{_LIBRARY}/{path.name}")
        yield from _bind(self.root, CANONICAL)
        for name in _OWN:
            if (self.root / name).is_dir():
                yield from _bind(self.root / name, f"{CANONICAL}/{name}", writable=True)
        # /usr has the same content under the same name on every machine that matters; a venv has a path of its own.
        if (self.environment / "pyvenv.cfg").is_file():
            yield from _bind(self.environment, f"{CANONICAL}/env")
        yield from _bind(self.toolkit, f"{CANONICAL}/cuda")
        for source, name in binds:
            yield from _bind(source, f"{CANONICAL}/{name}")


def _packages() -> tuple[Path, ...]:
    """Where the packages of `driver.py` are; it needs these only."""
    from importlib.util import find_spec

    specs = [find_spec(name) for name in ("build", "pyproject_hooks", "packaging")]
    return tuple(Path(spec.origin).parent for spec in specs if spec is not None and spec.origin)


def _is_system(path: Path) -> bool:
    real = os.path.realpath(path)
    return any(real.startswith(f"{os.path.realpath(top)}/") for top in _SYSTEM if Path(top).is_dir())


def _bind(source: Path, target: str, *, writable: bool = False) -> Iterator[Step]:
    """A mount at the path that the build knows, and where links lead to from there."""
    real = os.path.realpath(source)
    yield ["bind", real, writable, target]
    if str(source) == target != real and not _is_system(Path(real)):
        yield ["bind", real, writable, real]


def _system_steps(hidden: Sequence[Path]) -> Iterator[Step]:
    """The root directory, as far as it is the same for every build."""
    for top in _SYSTEM:
        if Path(top).is_symlink():
            yield ["link", os.readlink(top), top]  # noqa: PTH115 - the text of the link
        elif Path(top).is_dir():
            yield ["bind", top, False, top]
    for path in hidden:
        if _is_system(path) and path.is_dir():
            yield ["tmpfs", 4096, 0o755, False, os.path.realpath(path)]
    for name in _ETC:
        if Path("/etc", name).exists():
            yield ["bind", os.path.realpath(f"/etc/{name}"), False, f"/etc/{name}"]
    user = BUILD_USER if os.geteuid() == 0 else os.geteuid()
    yield [
        "file",
        f"root:x:0:0::/nonexistent:/bin/false\nbuild:x:{user}:{user}::{CANONICAL}/home:/bin/sh\n",
        "/etc/passwd",
    ]
    yield ["file", f"root:x:0:\nbuild:x:{user}:\n", "/etc/group"]
    yield ["file", "127.0.0.1 localhost wheelsmith\n", "/etc/hosts"]
    yield ["file", "passwd: files\ngroup: files\nhosts: files\n", "/etc/nsswitch.conf"]
    space = min(2 << 30, available_memory() // 8)
    yield ["tmpfs", space, 0o1777, True, "/tmp"]  # noqa: S108 - the build's own
    yield ["link", "../tmp", "/var/tmp"]  # noqa: S108
    yield ["tmpfs", 1 << 20, 0o755, False, "/dev"]
    yield ["tmpfs", space, 0o1777, True, "/dev/shm"]  # noqa: S108
    yield ["pts", "/dev/pts"]
    yield ["link", "pts/ptmx", "/dev/ptmx"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        yield ["link", f"/proc/self/fd/{number}", f"/dev/{name}"]
    yield ["link", "/proc/self/fd", "/dev/fd"]
    for name in _DEVICES:
        yield ["bind", f"/dev/{name}", True, f"/dev/{name}"]
    yield ["proc", "/proc"]


def _command(
    user: int | None,
    steps: list[Step],
    directory: str,
    program: list[str],
    *,
    parent: bool,
    rules: Specification | None = None,
) -> list[str]:
    limits = {"RLIMIT_CORE": _NO_CORE, "RLIMIT_FSIZE": _LARGEST_FILE}
    if steps:
        limits["RLIMIT_NPROC"] = _PROCESSES + _PER_CPU * usable_cpus()
    specification = {
        "parent": os.getpid() if parent else 0,
        "uid": user,
        "mounts": steps,
        "cwd": directory,
        "limits": limits,
        "filter": syscall_filter().hex(),
        "landlock": rules,
    }
    text = json.dumps(specification, separators=(",", ":"))
    return [sys.executable, "-IS", str(_PROGRAM), text, *program]
