"""Which system calls a build may not make: a program for seccomp(2).

In: nothing. Out: the filter's instructions as bytes; none for a processor that is not x86-64. Nothing can fail. Refused
is what no compiler needs, and what namespaces and a user without rights do not already close: new namespaces (more of
the kernel to attack), keys, the caller's terminal (TIOCSTI), sockets of other kinds than local and Internet ones (a
virtual machine's host listens on AF_VSOCK, which is in no network namespace), and calls with a history of errors.

Sources: seccomp(2), linux/filter.h, linux/audit.h, syscalls(2); numbers of arch/x86/entry/syscalls/syscall_64.tbl.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterator

_X86_64 = 0xC000003E
_X32 = 0x40000000
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_LOAD, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; an argument has eight bytes, the low half first
_CLONE, _SOCKET, _IOCTL = 56, 41, 16
_NAMESPACES = 0x7E020000  # CLONE_NEW*, without CLONE_NEWTIME, whose bit is part of clone's exit signal
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

#: Where the C library has another way, it is told that the kernel has no such call: clone3, io_uring.
_ABSENT = (435, 425, 426, 427)
_REFUSED = (
    *(272, 308, 155),  # unshare, setns, pivot_root
    *(165, 166, 428, 429, 430, 431, 432, 433, 442, 467),  # mount, umount2, open_tree … mount_setattr, open_tree_attr
    *(248, 249, 250),  # add_key, request_key, keyctl
    *(298, 321, 323),  # perf_event_open, bpf, userfaultfd
    *(303, 304),  # name_to_handle_at, open_by_handle_at
    *(175, 313, 176, 246, 320, 169),  # modules, kexec, reboot
    *(103, 163, 164, 227, 159, 305, 167, 168, 172, 173, 179, 443),  # syslog, acct, clocks, swap, ports, quotas
)


def syscall_filter(machine: str = platform.machine()) -> bytes:
    """The instructions (struct sock_filter) for a processor as uname(2) names it."""
    return b"".join(_instructions()) if machine == "x86_64" else b""


def _instructions() -> Iterator[bytes]:
    yield _do(_LOAD, _ARCH)
    yield _do(_EQUAL, _X86_64, 1, 0)
    yield _fail(_ENOSYS)  # a program for another processor mode has other numbers
    yield _do(_LOAD, _NUMBER)
    yield _do(_AT_LEAST, _X32, 0, 1)
    yield _fail(_ENOSYS)
    for numbers, error in ((_ABSENT, _ENOSYS), (_REFUSED, _EPERM)):
        for place, number in enumerate(numbers):
            yield _do(_EQUAL, number, len(numbers) - place, 0)
        yield _do(_JUMP, 1)
        yield _fail(error)
    yield _do(_EQUAL, _CLONE, 0, 4)
    yield _do(_LOAD, _ARGUMENT)
    yield _do(_ANY_BIT, _NAMESPACES, 0, 1)
    yield _fail(_EPERM)
    yield _do(_RETURN, _ALLOW)
    yield _do(_EQUAL, _SOCKET, 0, len(_FAMILIES) + 3)
    yield _do(_LOAD, _ARGUMENT)
    for place, family in enumerate(_FAMILIES):
        yield _do(_EQUAL, family, len(_FAMILIES) - place, 0)
    yield _fail(_EAFNOSUPPORT)
    yield _do(_RETURN, _ALLOW)
    yield _do(_EQUAL, _IOCTL, 0, len(_TERMINAL) + 3)
    yield _do(_LOAD, _ARGUMENT + 8)
    yield _do(_EQUAL, _TERMINAL[0], 1, 0)
    yield _do(_EQUAL, _TERMINAL[1], 0, 1)
    yield _fail(_EPERM)
    yield _do(_RETURN, _ALLOW)
    yield _do(_RETURN, _ALLOW)


def _fail(error: int) -> bytes:
    return _do(_RETURN, _ERRNO | error)


def _do(code: int, value: int, when: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, when, otherwise, value)
