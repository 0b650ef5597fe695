# ruff: noqa: PTH108, PTH109, PTH110, PTH111, PTH114, PTH123, PTH207, PTH208, C416
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
from collections.abc import Callable, Sequence
from pathlib import Path

CANONICAL = "/tmp/wheelsmith-build"
LIBC = ctypes.CDLL(None, use_errno=True)


def refuse(what: object) -> None:
    raise PermissionError(str(what))


def connect(family: int, address: tuple[str, int] | str) -> str:
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


def seen(things: Sequence[object]) -> str:
    return repr(things[:5]) if things else str(refuse("none"))


def others() -> Sequence[object]:
    """Processes of other sessions, but for the first process, which may be the sandbox's own."""
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and pid != "1" and not ours(int(pid))]


def ours(pid: int) -> bool:
    try:
        return os.getsid(pid) == os.getsid(0)
    except OSError:
        return True  # it is gone


def environments() -> Sequence[object]:
    found: list[object] = []
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


def signal_to(pid: int) -> str:
    os.kill(pid, 0)
    return str(refuse("one of our own has this number")) if ours(pid) else f"{pid} can be sent signals"


def parents() -> Sequence[object]:
    """Processes above this one, as far as they can be sent signals and are not of the build's session."""
    found, pid = [], os.getppid()
    while pid > 1:
        try:
            os.kill(pid, 0)
            if not ours(pid) and os.getsid(pid) != 1:
                found.append(pid)
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return found


def remote_memory(pid: int) -> str:
    here, there = ctypes.create_string_buffer(8), (ctypes.c_void_p * 2)(0x400000, 8)
    mine = (ctypes.c_void_p * 2)(ctypes.addressof(here), 8)
    error = refuse if LIBC.syscall(310, pid, mine, 1, there, 1, 0) < 0 else str
    number = ctypes.get_errno()
    if error is refuse and number == 14:  # EFAULT: only the address was wrong
        return "memory of another process"
    return str(error(os.strerror(number)))


def descriptor_of(pid: int) -> str:
    opened = LIBC.syscall(434, pid, 0)  # pidfd_open
    if opened < 0:
        refuse(os.strerror(ctypes.get_errno()))
    return system(438, opened, 0, 0)  # pidfd_getfd


def into_namespaces_of(pid: int) -> str:
    opened = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    return call("setns", opened, 0)


def new_mount(kind: bytes) -> str:
    return system(430, ctypes.c_char_p(kind), 0)  # fsopen


def names_without_end(directory: str) -> str:
    """Names cost memory of the kernel that no size counts."""
    found = os.statvfs(directory)
    if not os.access(directory, os.W_OK):
        refuse("not writable")
    most = found.f_blocks * found.f_frsize // 2048
    return f"{found.f_files:,} names" if not 0 < found.f_files <= most else str(refuse(f"{found.f_files:,} names"))


def last_to_be_killed() -> str:
    """For memory, by the kernel; 1000: the first."""
    score = int(Path("/proc/self/oom_score_adj").read_text())
    return f"oom_score_adj {score}" if score < 500 else str(refuse(f"oom_score_adj {score}"))


def real_time() -> str:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return "real-time priority"


def higher_limit() -> str:
    import resource

    for name in ("RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_CORE"):
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY:
            try:
                resource.setrlimit(number, (hard + 1, hard + 1))
            except ValueError as error:
                refuse(error)
            return f"{name} raised"
    return str(refuse("there is none"))


def listening() -> Sequence[object]:
    """Sockets of the machine, by what its kernel or its directories tell: D-Bus, systemd, container engines."""
    found = []
    names = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if "/" in line]
    usual = ["/run/dbus/system_bus_socket", "/run/systemd/private", "/run/containerd/containerd.sock"]
    usual += ["/run/podman/podman.sock", "/run/snapd.socket", "/run/user/0/bus", f"/run/user/{os.getuid()}/bus"]
    for name in {*names, *usual}:
        if not name.startswith((CANONICAL, os.getcwd())) and os.path.exists(name):
            try:
                found.append(connect(socket.AF_UNIX, name))
            except OSError:
                continue
    return found


def devices() -> Sequence[object]:
    """Of the machine, as far as they can be opened; not those that every program needs."""
    found, plain = [], {"null", "zero", "full", "random", "urandom", "tty", "ptmx"}
    for top, below, names in os.walk("/dev"):
        below[:] = [name for name in below if name not in ("fd", "pts", "shm")]
        for name in names:
            path = f"{top}/{name}"
            if name not in plain and not os.path.islink(path) and not name.startswith(("of-others", "fill", "sem.")):
                try:
                    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY))
                    found.append(path)
                except OSError:
                    continue
    return found


def writable_settings() -> Sequence[object]:
    """Of the kernel."""
    found = []
    for path in glob.glob("/proc/sys/kernel/*") + glob.glob("/proc/sys/vm/*") + glob.glob("/proc/irq/*/smp_affinity"):
        try:
            os.close(os.open(path, os.O_WRONLY))
            found.append(path)
        except OSError:
            continue
    return found


def scope_of_another() -> str:
    """Asks the compile cache's server for names that lead out of the build's own entries."""
    with socket.socket(socket.AF_UNIX) as opened:
        opened.settimeout(5)
        opened.connect(f"{CANONICAL}/cache/socket")
        opened.recv(3)
        for name in (b"../" * 8 + b"etc/passwd", b"\0" * 20, b"a" * 64):
            opened.sendall(bytes([0, len(name)]) + name)
            if opened.recv(1) == b"\0":
                return f"an entry of the name {name!r}"
    return str(refuse("no entries"))


def trace(pid: int) -> str:
    return call("ptrace", 0x4206, pid, 0, 0)  # PTRACE_SEIZE: it does not stop anybody


def core_pattern() -> str:
    limit = __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE)
    return f"core files of {limit}" if limit[1] not in (0, 1) else str(refuse("none"))


def from_memory() -> str:
    """It may run; what counts is that it has no more rights than we."""
    opened = os.memfd_create("program")
    Path(f"/proc/self/fd/{opened}").write_bytes(Path("/bin/cat").read_bytes())
    command = [f"/proc/self/fd/{opened}", "/etc/shadow"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=[opened])
    return "/etc/shadow" if done.returncode == 0 else str(refuse(done.stderr.strip()))


def probes(places: dict[str, str]) -> dict[str, Callable[[], object]]:
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
        "trace the caller": lambda: trace(int(places["pid"])),
        "read memory of the caller": lambda: remote_memory(int(places["pid"])),
        "write memory of the caller": lambda: open_to_write(f"/proc/{places['pid']}/mem"),
        "the caller's environment by its number": lambda: read(f"/proc/{places['pid']}/environ"),
        "a descriptor of the caller": lambda: descriptor_of(int(places["pid"])),
        "signals to the caller": lambda: signal_to(int(places["pid"])),
        "signals to those above": lambda: seen(parents()),
        "namespaces of process 1": lambda: into_namespaces_of(1),
        "namespaces of the caller": lambda: into_namespaces_of(int(places["pid"])),
        "directory of process 1": lambda: seen(os.listdir("/proc/1/cwd")),
        "descriptors of process 1": lambda: seen(os.listdir("/proc/1/fd")),
        "sockets of the machine, D-Bus and the like": lambda: seen(listening()),
        "devices of the machine": lambda: seen(devices()),
        "settings of the kernel": lambda: seen(writable_settings()),
        "mount another /proc": lambda: call("mount", b"proc", b"/tmp", b"proc", 0, None),
        "mount by the new calls": lambda: new_mount(b"tmpfs"),
        "open a tree to move it": lambda: system(428, -100, ctypes.c_char_p(b"/"), 1),
        "a mount's attributes": lambda: system(
            442, -100, ctypes.c_char_p(b"/"), 0, ctypes.create_string_buffer(32), 32
        ),
        "raw network socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) and "a socket",
        "network settings": lambda: call("sethostname", b"h", 1),
        "module of the kernel": lambda: system(313, -1, null, 0),
        "real-time priority": real_time,
        "higher priority": lambda: str(os.setpriority(os.PRIO_PROCESS, 0, -20) or "raised"),
        "higher limits": higher_limit,
        "other processes are killed first for memory": last_to_be_killed,
        "names without end in /tmp": lambda: names_without_end("/tmp"),
        "names without end in /dev/shm": lambda: names_without_end("/dev/shm"),
        "entries of others in the compile cache": scope_of_another,
        "~/.ssh": lambda: seen(os.listdir(os.path.expanduser("~root/.ssh"))),
        "logs of the machine": lambda: seen(os.listdir("/var/log")),
        "accounts of the machine": lambda: seen(
            [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith(("root:", "build:"))]
        ),
        "a program from memory with more rights": from_memory,
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
