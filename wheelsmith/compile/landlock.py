"""What remains where the kernel gives no namespaces: rules for files, TCP and signals that any process may take on.

In: paths that a build may read, and those that it may write. Out: rules for `confine.py`, or None where the kernel has
no Landlock. It cannot fail. A process under such rules reads nothing of other processes in /proc either: they are
outside of its domain. It is less than confinement: names in the file system can be seen, local sockets reached, UDP
sent.

Sources: landlock(7); include/uapi/linux/landlock.h.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

_CREATE_RULESET, _GET_VERSION = 444, 1
_FILE_BITS = {1: 13, 2: 14, 3: 15, 5: 16}  # version of Landlock: rights that it knows
_LIST = 0x8
_READ = 0x1 | 0x4 | _LIST  # execute, read a file, list a directory
_ON_FILES = 0x1 | 0x2 | 0x4 | 0x4000 | 0x8000  # what of the rights a file can have: … truncate, ioctl of a device
_TCP, _SCOPES = 0x3, 0x3  # bind and connect; abstract sockets and signals


def landlock_version() -> int:
    """The version that the kernel has; 0: none."""
    libc = ctypes.CDLL(None)
    return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_GET_VERSION))))


def landlock_rules(
    readable: Iterable[str], writable: Iterable[str], listed: Iterable[str] = ()
) -> dict[str, object] | None:
    """Rules for `confine.py`: all else in the file system is out of reach. Of what is `listed`, names are seen."""
    version = landlock_version()
    if not version:
        return None
    everything = (1 << max(bits for since, bits in _FILE_BITS.items() if since <= version)) - 1
    return {
        "handled": everything,
        "net": _TCP if version >= 4 else 0,
        "scoped": _SCOPES if version >= 6 else 0,
        "size": 24 if version >= 6 else 16 if version >= 4 else 8,  # of struct landlock_ruleset_attr
        "file": _ON_FILES & everything,
        "paths": [
            *([path, _READ] for path in readable),
            *([path, everything] for path in writable),
            *([path, _LIST] for path in listed),
        ],
    }
