"""Runs between wheelsmith and a build: shut the doors, then start the program inside.

In: a specification (JSON, made by `sandbox.py`, which decides everything) and a command line. Out: the program's exit
status, 128 + the signal that killed it, or 125 with a line on stderr: the kernel refuses something, and nothing was
started. It needs the standard library only (`python -IS`). Three processes: this one waits outside; the first process
of the new process namespace waits inside, without rights; the program is its child. Whichever of them dies, by
whatever signal, takes with it everything that the program started. Where there are no namespaces, this process is
the subreaper (prctl(2)) of everything that the program starts, and kills all of it when the program or wheelsmith ends.

Sources: namespaces(7), user_namespaces(7), mount_namespaces(7), pivot_root(2), capabilities(7), prctl(2), seccomp(2),
landlock(7), pid_namespaces(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

REFUSED = 125

Specification = dict[str, Any]  # see sandbox.py
Step = list[Any]  # what to do, its values, and where

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
_NOATIME, _NODIRATIME, _BIND, _REC, _PRIVATE, _RELATIME = 0x400, 0x800, 0x1000, 0x4000, 0x40000, 0x200000
_KEPT = {0x2: _NOSUID, 0x4: _NODEV, 0x8: _NOEXEC, 0x400: _NOATIME, 0x800: _NODIRATIME, 0x1000: _RELATIME}  # ST_*: MS_*
_DETACH = 2
_PDEATHSIG, _DUMPABLE, _SECCOMP, _DROP, _NO_NEW_PRIVS, _SUBREAPER, _AMBIENT = 1, 4, 22, 24, 38, 36, 47
_PIVOT_ROOT, _CAPSET, _KEYCTL, _LANDLOCK = 155, 126, 250, 444  # of x86-64; the last one is the same everywhere
_PER_NAME = (
    4096  # bytes of a file system in memory, for each name in it: a name costs about 1,000 bytes of the kernel's
)
_SCAFFOLD = "/tmp"  # noqa: S108 - an existing directory; what is mounted there is seen in the new namespace only


def main(specification: Specification, command: list[str]) -> int:
    """Run `command` as the specification says; its status."""
    confined, parent = bool(specification["mounts"]), specification["parent"]
    _prctl(_PDEATHSIG, signal.SIGKILL if confined else signal.SIGTERM)
    if parent and os.getppid() != parent:  # it died before the line above
        return REFUSED
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")  # a build that takes all memory is what the kernel kills, not others: proc(5)
    return _confined(specification, command) if confined else _reaped(specification, command)


def _confined(specification: Specification, command: list[str]) -> int:
    uid, gid = os.getuid(), os.getgid()
    flags = _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS | _NEWCGROUP
    own = specification["uid"] is None
    _call("unshare", flags | (_NEWUSER if own else 0))
    if own:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - pathlib costs more than all the rest
                file.write(text)
    reading, writing = os.pipe()
    first = os.fork()
    if not first:
        os.close(reading)
        _guarded(lambda: _first_process(specification, command, writing))

    def ended(signum: int, frame: object) -> NoReturn:
        with contextlib.suppress(OSError):
            os.kill(first, signal.SIGKILL)
            os.waitpid(first, 0)  # it ends when all others of its namespace have ended
        os._exit(128 + signum)

    signal.signal(signal.SIGTERM, ended)
    os.close(writing)
    ready = os.read(reading, 1)
    _, status = os.waitpid(first, 0)
    return _code(status) if ready else REFUSED


def _first_process(specification: Specification, command: list[str], ready: int) -> NoReturn:
    _prctl(_PDEATHSIG, signal.SIGKILL)
    socket.sethostname("wheelsmith")
    _raise_loopback()
    _new_root(specification["mounts"])
    _drop(specification)
    _prctl(_PDEATHSIG, signal.SIGKILL)  # a change of user clears it
    program = os.fork()
    if not program:
        _guarded(lambda: _execute(specification, command))
    os.write(ready, b"1")  # fails if the parent died before the first line of this function
    os.close(ready)
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    while True:
        pid, status = os.wait()
        if pid == program:
            os._exit(_code(status))  # with the first process all others of the namespace die


def _reaped(specification: Specification, command: list[str]) -> int:
    """Without namespaces: the program with as little as an ordinary process can be left with."""
    _prctl(_SUBREAPER, 1)
    _prctl(_DUMPABLE, 0)

    def ended(signum: int, frame: object) -> NoReturn:
        kill_descendants()
        os._exit(128 + signum)

    signal.signal(signal.SIGTERM, ended)
    program = os.fork()
    if not program:
        _guarded(lambda: _become(specification, command))
    while True:
        pid, status = os.wait()
        if pid == program:
            kill_descendants()
            return _code(status)


def _become(specification: Specification, command: list[str]) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if specification["landlock"]:
        _landlock(specification["landlock"])
    _drop(specification)
    _execute(specification, command)


def kill_descendants() -> None:
    """Kill all that descends from this process, which is a subreaper: orphans come back to it.

    That nobody is left is known from wait(2) alone: whoever loses its parent is a child of ours before the parent's end
    can be seen. A look at /proc proves nothing, as a process that starts its successor and ends may be missed in each.
    """
    while True:
        stopped: set[int] = set()
        while new := set(found := _descendants(os.getpid())) - stopped:  # who is stopped starts nobody
            _signal(new, signal.SIGSTOP)
            stopped |= new
        _signal(found, signal.SIGKILL)
        for _ in range(1000):  # fast enough for those that live a fraction of a millisecond each
            _signal(_children(), signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return


def _children() -> list[int]:
    """The children of this process; none where the kernel does not list them."""
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:  # noqa: PTH123
        return [int(pid) for pid in file.read().split()]
    return []


def _signal(pids: Iterable[int], sign: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, sign)


def _descendants(top: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    parents.setdefault(int(parent), []).append(int(name))
    found = [top]
    for pid in found:  # it grows
        found += parents.get(pid, [])
    return found[1:]


def _new_root(steps: list[Step]) -> None:
    """Make a root directory of `steps` and move there; what was there before is gone."""
    _mount("none", "/", None, _REC | _PRIVATE)
    sources = {}
    for step in steps:  # before anything is mounted over them
        if step[0] == "bind":
            sources[step[1]] = os.open(step[1], os.O_PATH)
    _mount("tmpfs", _SCAFFOLD, "tmpfs", _NOSUID | _NODEV, "size=16m,mode=755")
    writable: dict[str, bool] = {_SCAFFOLD: False}
    for step in steps:
        writable.update(_step(step, sources))
    _seal(writable)
    os.chdir(_SCAFFOLD)
    _call("syscall", _PIVOT_ROOT, b".", b".")
    _call("umount2", b".", _DETACH)
    os.chdir("/")


def _step(step: Step, sources: dict[str, int]) -> dict[str, bool]:
    """Do one step; the mount points that it made, and whether they shall stay writable."""
    kind, *values = step
    target = _SCAFFOLD + values[-1]
    if kind == "bind":
        source, writable, _ = values
        opened = f"/proc/self/fd/{sources[source]}"
        if os.path.isdir(opened):  # noqa: PTH112
            os.makedirs(target, exist_ok=True)  # noqa: PTH103
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
            if not os.path.lexists(target):
                os.close(os.open(target, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o644))
        _mount(opened, target, None, _BIND | _REC)
        return {target: writable}
    os.makedirs(target if kind in ("tmpfs", "proc", "pts") else os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
    if kind == "tmpfs":
        size, mode, writable, _ = values
        names = max(64, size // _PER_NAME)
        _mount("tmpfs", target, "tmpfs", _NOSUID | _NODEV, f"size={size},mode={mode:o},nr_inodes={names}")
        return {target: writable}
    if kind == "proc":
        _mount("proc", target, "proc", _NOSUID | _NODEV | _NOEXEC)
        return {target: False}
    if kind == "pts":
        _mount("devpts", target, "devpts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    elif kind == "link":
        os.symlink(values[0], target)  # noqa: PTH211
    elif kind == "file":
        with open(target, "w") as file:  # noqa: PTH123
            file.write(values[0])
    return {}


def _seal(writable: dict[str, bool]) -> None:
    """Give every mount its flags. What came along below a bind mount is treated as the bind mount is."""
    for point in dict.fromkeys(_mount_points()):
        owner = max((top for top in writable if point == top or point.startswith(f"{top}/")), key=len)
        device = point.startswith(f"{_SCAFFOLD}/dev/")
        try:
            found = os.statvfs(point).f_flag
        except (FileNotFoundError, NotADirectoryError):  # of the host's, hidden below the scaffold
            continue
        except PermissionError:  # who cannot reach it here, cannot reach it there: the build has fewer rights
            continue
        flags = sum(new for old, new in _KEPT.items() if found & old) | _NOSUID | (0 if device else _NODEV)
        flags |= 0 if writable[owner] or device else _RDONLY
        _mount("none", point, None, _REMOUNT | _BIND | flags)


def _mount_points() -> list[str]:
    """Of the mounts on the scaffold. Others may lie under it, in the directory that it hides."""
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:  # noqa: PTH123
        rows = [line.split()[:5] for line in file]
    return _points_below_scaffold(rows)


def _points_below_scaffold(rows: list[list[str]]) -> list[str]:
    """Number, parent, device, root and place of every mount, in the order of the kernel, which may be any."""
    there = [number for number, _, _, _, text in rows if text == _SCAFFOLD]
    below = {parent for _, parent, _, _, text in rows if text == _SCAFFOLD}
    ours = [number for number in there if number not in below]  # on top of the others, if there are any
    for above in ours:  # it grows
        ours += [number for number, parent, _, _, _ in rows if parent == above]
    points = []
    for text in [text for number, _, _, _, text in rows if number in ours]:
        first, *escaped = text.split("\\")  # \040 for a space; no codec: Python itself may be hidden now
        points.append(first + "".join(chr(int(part[:3], 8)) + part[3:] for part in escaped))
    return points


def _raise_loopback() -> None:
    """127.0.0.1 of the build's own: some build tools talk to themselves. Source: netdevice(7), SIOCSIFFLAGS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        fcntl.ioctl(opened, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))


def _drop(specification: Specification) -> None:
    """Give up every right, for good."""
    for name, most in specification["limits"].items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (limit, limit))
    os.umask(0o022)
    _LIBC.syscall(_KEYCTL, 1, None)  # a session keyring of its own; a kernel without keys needs none
    for capability in range(64):
        if _LIBC.prctl(_DROP, ctypes.c_ulong(capability), 0, 0, 0):
            break  # the kernel does not know it, or it is not ours to drop and so not ours to get
    _LIBC.prctl(_AMBIENT, ctypes.c_ulong(4), 0, 0, 0)
    if specification["uid"] is not None:
        os.setgroups([])
        os.setresgid(*[specification["uid"]] * 3)
        os.setresuid(*[specification["uid"]] * 3)
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _call("syscall", _CAPSET, header, none)
    _prctl(_DUMPABLE, 0)  # until exec: nobody reads this process
    _prctl(_NO_NEW_PRIVS, 1)
    program = bytes.fromhex(specification["filter"])
    if program:
        buffer = ctypes.create_string_buffer(program, len(program))
        whole = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
        _prctl(_SECCOMP, 2, whole)


def _landlock(rules: Specification) -> None:
    """Restrict this process to files, where the kernel gives no mounts (landlock(7))."""
    handled, net, scoped = rules["handled"], rules["net"], rules["scoped"]
    attributes = struct.pack("QQQ", handled, net, scoped)[: rules["size"]]
    ruleset = _call("syscall", _LANDLOCK, attributes, len(attributes), 0)
    for path, access in rules["paths"]:
        with contextlib.suppress(FileNotFoundError):
            opened = os.open(path, os.O_PATH)
            allowed = access if os.path.isdir(f"/proc/self/fd/{opened}") else access & rules["file"]  # noqa: PTH112
            _call("syscall", _LANDLOCK + 1, ruleset, 1, struct.pack("=Qi", allowed, opened), 0)
            os.close(opened)
    _prctl(_NO_NEW_PRIVS, 1)
    _call("syscall", _LANDLOCK + 2, ruleset, 0)
    os.close(ruleset)


def _execute(specification: Specification, command: list[str]) -> NoReturn:
    os.setsid()
    os.chdir(specification["cwd"])
    os.execvp(command[0], command)  # noqa: S606 - that is what this program is for


def _guarded(action: Callable[[], object]) -> NoReturn:
    """In a child process: an error is told, and nothing runs on."""
    try:
        action()
    except BaseException as error:
        os.write(2, f"wheelsmith: the build cannot be confined: {error}\n".encode())
    os._exit(REFUSED)


def _code(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    names = [os.fsencode(source), os.fsencode(target), None if kind is None else kind.encode()]
    if _LIBC.mount(*names, ctypes.c_ulong(flags), data.encode() or None):
        number = ctypes.get_errno()
        what = target.removeprefix(_SCAFFOLD) or "/"
        raise OSError(number, f"{kind or 'mount'} at {what}: {os.strerror(number)}")


def _prctl(option: int, value: int, more: int | bytes = 0) -> None:
    _call("prctl", option, value, more, 0, 0)


def _call(name: str, *arguments: int | bytes | None) -> int:
    """A function of libc; an error becomes an OSError."""
    values = [ctypes.c_ulong(item) if isinstance(item, int) else item for item in arguments]
    result = int(getattr(_LIBC, name)(*values))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}({', '.join(map(repr, arguments))}): {os.strerror(number)}")
    return result


if __name__ == "__main__":
    try:
        sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
    except OSError as error:
        sys.stderr.write(f"wheelsmith: the build cannot be confined: {error}\n")
        sys.exit(REFUSED)
