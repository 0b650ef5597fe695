"""Give a build its canonical path, and nothing else that it does not need.

In: the directories of a build. Out: the command prefix that runs a program with the build's root mounted at
`plan.CANONICAL`, in private mount, process and network namespaces, as far as the machine allows. Where it allows
none, the build runs at the store's own path: it works, but its wheels differ from those of other machines, and the
provenance says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from wheelsmith.errors import StoreError
from wheelsmith.planning.model import CANONICAL

# Arguments: root, environment, toolkit, pairs of a file and the place that it is mounted over, `--`, then the program.
# Environment and toolkit are shared by all builds: read-only.
_MOUNT = """
set -e
mount --bind "$1" "$WHEELSMITH_ROOT"
[ -z "$2" ] || mount --bind "$2" "$WHEELSMITH_ROOT/env"
[ -z "$2" ] || mount -o remount,bind,ro "$WHEELSMITH_ROOT/env"
mount --bind "$3" "$WHEELSMITH_ROOT/cuda"
mount -o remount,bind,ro "$WHEELSMITH_ROOT/cuda"
shift 3
while [ "$1" != -- ]; do
    mount --bind "$1" "$WHEELSMITH_ROOT/$2"
    shift 2
done
shift
cd "$WHEELSMITH_ROOT"
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a build here is kept apart from. `flags` are the arguments of unshare(1); empty: no namespaces."""

    flags: tuple[str, ...]

    @property
    def canonical(self) -> bool:
        """Whether the build sees the canonical path."""
        return bool(self.flags)

    @property
    def network(self) -> bool:
        """Whether the build can reach a network."""
        return "--net" not in self.flags

    def __str__(self) -> str:
        if not self.canonical:
            return "none: builds run at the store's own path, wheels are not bit-identical across machines"
        return f"own mounts{', own processes' if '--pid' in self.flags else ''}" + (
            "" if self.network else ", no network"
        )


@cache
def isolation_here() -> Isolation:
    """The strongest isolation that works on this machine; found out by trying."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return Isolation(())
    for flags in _ladder():
        probe = ["unshare", *flags, "sh", "-c", "mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return Isolation(flags)
    return Isolation(())


def _ladder() -> Iterator[tuple[str, ...]]:
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    process = ("--pid", "--fork", "--kill-child", "--mount-proc")
    yield (*user, "--mount", *process, "--net")
    yield (*user, "--mount", *process)
    yield (*user, "--mount", "--net")
    yield (*user, "--mount")


@dataclass(frozen=True, slots=True)
class Room:
    """A place to build in: `root` holds src, trees, home, tmp, out, launch and the mount points env and cuda."""

    root: Path
    environment: Path
    toolkit: Path
    isolation: Isolation

    @property
    def place(self) -> str:
        """Where the build sees `root`."""
        return CANONICAL if self.isolation.canonical else str(self.root)

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

    def command(self, program: list[str], *, binds: Sequence[tuple[Path, str]] = ()) -> list[str]:
        """The command that runs `program` in the room. If wheelsmith dies, however it dies, so does the program.

        With a process namespace everything that the program started dies with it. Without one, SIGTERM asks the program
        to see to that itself.

        `binds` are files, and the paths below `root` that they are mounted over; where nothing can be mounted, none is.
        """
        sign = "KILL" if "--pid" in self.isolation.flags else "TERM"
        leash = ["setpriv", "--pdeathsig", sign] if shutil.which("setpriv") else []
        if not self.isolation.canonical:
            return [*leash, *program]
        point = Path(CANONICAL)
        try:
            point.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The mount point {point} cannot be made: {error}.", f"Remove what is at {point}."
            ) from error
        if point.is_symlink() or not point.is_dir():
            raise StoreError(f"{point} is not a directory.", "Remove it; builds are mounted there.")
        # /usr has the same content under the same name on every machine that matters; a venv has a path of its own.
        environment = str(self.environment) if (self.environment / "pyvenv.cfg").is_file() else ""
        script = ["sh", "-c", _MOUNT, "sh", str(self.root), environment, str(self.toolkit)]
        script += [str(part) for pair in binds for part in pair] + ["--"]
        return [*leash, "unshare", *self.isolation.flags, *script, *program]
