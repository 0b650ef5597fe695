# ruff: noqa: PTH108, PTH110, PTH123, PTH207, PTH208, C416
"""Ways out of a build that a stranger would try. It runs inside a build, so it needs nothing but Python.

In: what the caller has and the build must not reach, by name. Out: what came of each probe; a text that begins with
`no: ` means that nothing went through.
"""

from __future__ import annotations

import ctypes
import glob
import os
import socket
import subprocess
import time
from pathlib import Path

CANONICAL = "/tmp/wheelsmith-build"
LIBC = ctypes.CDLL(None, use_errno=True)


def refuse(what: object) -> None:
    raise PermissionError(str(what))


def connect(family: int, address: object) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.settimeout(2)
        opened.connect(address)
        return f"connected to {address!r}"


def call(name: str, *values: object) -> str:
    if getattr(LIBC, name)(*values) < 0:
        refuse(os.strerror(ctypes.get_errno()))
    return f"{name} done"


def system(number: int, *values: object) -> str:
    if LIBC.syscall(number, *values) < 0:
        refuse(os.strerror(ctypes.get_errno()))
    return f"system call {number} done"


def read(path: str, most: int = 40) -> str:
    with open(path, "rb") as file:
        return repr(file.read(most) or refuse("empty"))


def write(path: str, text: str = "was here\n") -> str:
    with open(path, "w") as file:
        file.write(text)
    return f"wrote {path}"


def open_to_write(path: str) -> str:
    os.close(os.open(path, os.O_WRONLY))
    return f"{path} open for writing"


def seen(things: list[object]) -> str:
    return repr(things[:5]) if things else str(refuse("none"))


def others() -> list[object]:
    """Processes of other sessions, but for the first process, which may be the sandbox's own."""
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and pid != "1" and not ours(int(pid))]


def ours(pid: int) -> bool:
    try:
        return os.getsid(pid) == os.getsid(0)
    except OSError:
        return True  # it is gone


def environments() -> list[object]:
    found = []
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and b"PROBE_SECRET" in Path("/proc", pid, "environ").read_bytes():
                found.append(int(pid))
        except OSError:
            continue
    return found


def remount(path: str) -> str:
    done = subprocess.run(["mount", "-o", "remount,bind,rw", path], capture_output=True, text=True, check=False)
    return "remounted" if done.returncode == 0 else str(refuse(done.stderr.strip()))


def nested_root() -> str:
    script = f"mount -o remount,bind,rw {CANONICAL}/cuda && touch {CANONICAL}/cuda/bin/h"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    return "a namespace of its own" if done.returncode == 0 else str(refuse(done.stderr.strip()))


def bomb() -> str:
    """Whether the number of processes is limited, and the limit holds: root, for one, has none. It is tried with a
    lower one, as the whole number would be felt by everybody on the machine."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    if most == resource.RLIM_INFINITY:
        return "any number of processes"
    if not (pid := os.fork()):
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        try:
            if not os.fork():
                os._exit(0)
        except OSError:
            os._exit(0)
        os._exit(1)
    return "any number of processes" if os.waitpid(pid, 0)[1] else str(refuse(f"{most} at most"))


def fill(directory: str) -> str:
    path = f"{directory}/fill-{os.getpid()}"
    opened = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        os.posix_fallocate(opened, 0, 4 << 30)
        return f"4 GiB in {directory}"
    finally:
        os.close(opened)
        os.unlink(path)


def type_for_the_caller() -> str:
    import fcntl

    with open("/dev/tty", "wb", buffering=0) as terminal:
        fcntl.ioctl(terminal, 0x5412, b"\n")
    return "typed"


def a_terminals_queue() -> str:
    import fcntl

    _, slave = os.openpty()
    fcntl.ioctl(slave, 0x5412, b"\n")
    return "TIOCSTI works"


def set_id(path: str) -> str:
    done = subprocess.run(["sudo", "-n", "id"], capture_output=True, text=True, check=False)
    found = [name for name in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount") if os.path.exists(name)]
    flags = os.statvfs(found[0]).f_flag if found else os.ST_NOSUID
    return "setuid programs work" if done.returncode == 0 or not flags & os.ST_NOSUID else str(refuse("nosuid"))


def capabilities() -> str:
    lines = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(("CapEff", "CapPrm"))
    ]
    return " ".join(lines) if any(int(line.split()[1], 16) for line in lines) else str(refuse("none"))


def privileges() -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return str(refuse("no_new_privs")) if "NoNewPrivs:\t1" in lines else "new privileges can be had"


def is_real_root() -> str:
    inner, outer, count = map(int, Path("/proc/self/uid_map").read_text().split()[:3])
    real = os.getuid() - inner + outer if inner <= os.getuid() < inner + count else -1
    return "root" if real == 0 else str(refuse(real))


def trace(pid: int) -> str:
    return call("ptrace", 0x4206, pid, 0, 0)  # PTRACE_SEIZE: it does not stop anybody


def core_pattern() -> str:
    limit = __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE)
    return f"core files of {limit}" if limit[1] not in (0, 1) else str(refuse("none"))


def probes(places: dict[str, str]) -> dict[str, object]:
    home, store, index, own = places["home"], places["store"], places["index"], places["own"]
    null = ctypes.c_void_p(None)
    return {
        "capabilities": capabilities,
        "new privileges": privileges,
        "real root": is_real_root,
        "TCP to a server on loopback": lambda: connect(socket.AF_INET, ("127.0.0.1", int(places["port"]))),
        "TCP to the cloud's metadata": lambda: connect(socket.AF_INET, ("169.254.169.254", 80)),
        "UDP to the network": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
        "abstract socket": lambda: connect(socket.AF_UNIX, "\0" + places["abstract"]),
        "socket in a directory of the caller": lambda: connect(socket.AF_UNIX, places["socket"]),
        "the container engine's socket": lambda: connect(socket.AF_UNIX, "/var/run/docker.sock"),
        "the virtual machine's host (AF_VSOCK)": lambda: socket.socket(40, socket.SOCK_STREAM) and "a socket",
        "packet socket": lambda: socket.socket(17, socket.SOCK_RAW) and "a socket",
        "kernel crypto socket (AF_ALG)": lambda: socket.socket(38, 5) and "a socket",
        "inherited descriptors": lambda: seen([f for f in os.listdir("/proc/self/fd") if int(f) > 3]),
        "the caller's terminal": type_for_the_caller,
        "a terminal's queue (TIOCSTI)": a_terminals_queue,
        "other processes": lambda: seen(others()),
        "the caller's environment in /proc": lambda: seen(environments()),
        "environment of process 1": lambda: read("/proc/1/environ"),
        "memory of process 1": lambda: open_to_write("/proc/1/mem"),
        "files through process 1's root": lambda: read(f"/proc/1/root{home}/.netrc"),
        "trace process 1": lambda: trace(1),
        "secrets in the own environment": lambda: seen([k for k in os.environ if "SECRET" in k or "TOKEN" in k]),
        "read ~/.netrc": lambda: read(f"{home}/.netrc"),
        "read cloud credentials": lambda: read(f"{home}/.aws/credentials"),
        "read the signing key": lambda: read(f"{home}/wheelsmith.key"),
        "list the home directory": lambda: seen(os.listdir(home)),
        "write ~/.bashrc": lambda: write(f"{home}/.bashrc"),
        "write a blob of the store": lambda: write(f"{store}/blobs/h"),
        "write another environment": lambda: seen([write(f"{e}/h.pth") for e in glob.glob(f"{store}/envs/*")]),
        "write finished wheels": lambda: write(f"{store}/wheels/h"),
        "write another build": lambda: write(f"{store}/work/h"),
        "read other builds' logs": lambda: seen(os.listdir(f"{store}/logs")),
        "write lock files": lambda: write(f"{store}/flocks/h"),
        "write the index": lambda: write(f"{index}/h.html"),
        "write wheelsmith's code": lambda: write(f"{own}/h.py"),
        "write the toolkit": lambda: write(f"{CANONICAL}/cuda/bin/h"),
        "write the toolkit where it really is": lambda: write(places["toolkit"] + "/bin/h"),
        "write the build environment": lambda: write(f"{CANONICAL}/env/h"),
        "remount the toolkit": lambda: remount(f"{CANONICAL}/cuda"),
        "remount the environment": lambda: remount(f"{CANONICAL}/env"),
        "remount /usr": lambda: remount("/usr"),
        "remount the toolkit in a namespace of its own": nested_root,
        "mount over /etc": lambda: call("mount", b"none", b"/etc", b"tmpfs", 0, None),
        "unmount /proc": lambda: call("umount2", b"/proc", 2),
        "a user namespace": lambda: call("unshare", 0x10000000),
        "a user namespace by clone3": lambda: system(435, (ctypes.c_uint64 * 8)(0x10000000), 64),
        "another root (chroot)": lambda: call("chroot", b"/tmp"),
        "write the system": lambda: write("/usr/local/bin/h"),
        "write /etc": lambda: write("/etc/ld.so.preload"),
        "/etc/shadow": lambda: read("/etc/shadow"),
        "private keys of the system": lambda: seen(os.listdir("/etc/ssl/private")),
        "core_pattern": lambda: open_to_write("/proc/sys/kernel/core_pattern"),
        "core dumps": core_pattern,
        "sysrq": lambda: open_to_write("/proc/sysrq-trigger"),
        "/sys": lambda: open_to_write("/sys/kernel/mm/transparent_hugepage/enabled"),
        "cgroups": lambda: seen(glob.glob("/sys/fs/cgroup/*")),
        "raw disk": lambda: seen([read(disk) for disk in glob.glob("/dev/[vsx]d?") + glob.glob("/dev/nvme?n?")]),
        "kernel memory": lambda: read("/proc/kcore"),
        "kernel log": lambda: call("klogctl", 3, ctypes.create_string_buffer(100), 100),
        "make a device": lambda: os.mknod(f"{CANONICAL}/tmp/dev", 0o20600, os.makedev(1, 1)) or "made",
        "setuid programs": lambda: set_id(home),
        "another user": lambda: os.setuid(0 if os.getuid() else 1) or "changed",
        "other groups": lambda: os.setgroups([0]) or "changed",
        "kernel keys": lambda: system(250, 0, -4, 0),
        "a key of one's own": lambda: system(248, b"user", b"h", b"h", 1, -4),
        "perf": lambda: system(298, null, 0, -1, -1, 0),
        "bpf": lambda: system(321, 0, null, 0),
        "userfaultfd": lambda: system(323, 0),
        "io_uring": lambda: system(425, 8, ctypes.create_string_buffer(200)),
        "file handles": lambda: system(304, -100, null, 0),
        "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()) or "set",
        "the result, forged": lambda: write(f"{CANONICAL}/result.json", '{"wheel": "x"}'),
        "the request": lambda: open_to_write(f"{CANONICAL}/request.json"),
        "what counts as unfinished": lambda: write(f"{CANONICAL}/unfinished", f"{home}/.netrc\n"),
        "shared memory of others": lambda: seen(
            [line for line in Path("/proc/sysvipc/shm").read_text().splitlines()][1:]
        ),
        "files of others in /tmp": lambda: read(places["temporary"]),
        "files of others in /dev/shm": lambda: read(places["shared"]),
        "fill /tmp": lambda: fill("/tmp"),
        "fill /dev/shm": lambda: fill("/dev/shm"),
        "any number of processes": bomb,
    }


def run(places: dict[str, str]) -> dict[str, str]:
    """What came of every probe."""
    result = {}
    for name, probe in probes(places).items():
        try:
            result[name] = str(probe())[:200]
        except BaseException as error:
            result[name] = f"no: {type(error).__name__}: {error}"[:200]
    return result
