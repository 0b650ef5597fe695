"""The jobserver: where wrappers ask for slots. It lives in wheelsmith's own thread, in the loop that reads the build.

In: connections on a socket in the build root. Out: answers, and calls of the scheduler. A wrapper that says nonsense
or goes away is dropped; without a jobserver the wrappers run their compilers themselves. Anything in a build can speak
to it: how many may, how much they may say, and what is believed of it, has limits.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wheelsmith.compile.command import Unit, understand
from wheelsmith.compile.measured import Outcome, Reading
from wheelsmith.compile.memory import available_memory, oom_kills, tree_usage
from wheelsmith.compile.scheduler import Scheduler
from wheelsmith.compile.selection import Claims, Selection

_TICK = 0.25  # seconds between two looks at the machine
_LONGEST = 16 << 20  # bytes of a message; a command line has a few MiB at most (execve(2))
_MOST_HELD = 64 << 20  # bytes of messages that are not whole, together
_MOST_UNITS = 200_000  # of one run of a build; what comes after is neither counted nor recorded
_LONGEST_ERRORS = 1 << 16  # characters of a compiler's stderr; a wrapper tells a quarter of it
_LONGEST_PATH, _MOST_ARCHS = 4096, 64  # of a unit
_MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # bytes of memory
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of SO_PEERCRED, unix(7)


@dataclass(slots=True)
class _Wrapper:
    number: int
    connection: socket.socket
    pid: int
    received: bytearray = field(default_factory=bytearray)
    word: bytes = b""  # what it is told when it may start
    started: float | None = None  # when it was told
    output: str = ""  # of its unit, where the farm shares units out


def _nothing(outputs: tuple[str, ...]) -> None:
    pass


class Jobserver:
    """Serves the wrappers of one build.

    Args:
        directory: where the socket `jobserver` is made, as wheelsmith sees it.
        root: the build's root, as the build sees it.
        scheduler: who decides.
        selector: what waits for the sockets. Files that others registered must have the data None.
        cached: whether compilers run behind the wrapper's chain.
        unfinished: told, whenever it changes, what is not whole: see `Scheduler.outputs`.

    `problem` says why no wrapper can reach it, if that is so. `selection`: which units are compiled; None: all.
    `claims`: which of those that wait may start, where other machines compile some of them; None: all.
    """

    def __init__(
        self,
        directory: Path,
        root: str,
        scheduler: Scheduler,
        selector: selectors.BaseSelector,
        *,
        cached: bool = False,
        unfinished: Callable[[tuple[str, ...]], None] = _nothing,
    ) -> None:
        self.selection: Selection | None = None
        self.claims: Claims | None = None
        self._undecided: dict[int, Unit] = {}
        self._root, self._scheduler, self._selector, self._cached = root, scheduler, selector, cached
        self._unfinished, self._writing = unfinished, scheduler.outputs
        self._wrappers: dict[int, _Wrapper] = {}
        self._count, self._units, self._changed, self._next = 0, 0, False, 0.0
        # Of the files that this process may have open, half are for them.
        self._most = max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._epoch, self._cpus = time.monotonic(), os.cpu_count() or 1
        self.problem = ""
        self._socket: socket.socket | None = None
        try:
            self._socket = _listen(directory)
        except OSError as error:  # a file system without sockets
            self.problem = f"no socket can be made in {directory}: {error.strerror}"
        else:
            selector.register(self._socket, selectors.EVENT_READ, 0)

    @property
    def now(self) -> float:
        """Seconds since the jobserver began."""
        return time.monotonic() - self._epoch

    @property
    def patience(self) -> float:
        """Seconds until the jobserver wants to look at the machine again."""
        return max(0.0, self._next - self.now)

    def handle(self, key: selectors.SelectorKey) -> None:
        """Something came in on one of the jobserver's sockets."""
        if self._socket is not None and key.fileobj is self._socket:
            self._accept(self._socket)
        elif key.data in self._wrappers:
            self._receive(self._wrappers[key.data])

    def tick(self) -> bool:
        """Let units start, if a wrapper came or went, or it is time; whether it was time."""
        timely = self.patience == 0
        if timely and self._undecided:
            self._claim()
        if timely or self._changed:
            self._decide()
            self._changed = False
        if timely:
            self._next = self.now + _TICK
        return timely

    def dismiss(self, word: bytes = b"stop") -> int:
        """The build has failed, or ends: nobody who waits starts, as build tools end only when all that they started
        has. How many those are; `word` says why (see `compiler_wrapper`)."""
        dismissed = (*self._scheduler.waiting, *self._undecided)
        for number in dismissed:
            self._say(self._wrappers[number], word)
            self._drop(self._wrappers[number])
        return len(dismissed)

    def close(self) -> None:
        """Let everybody go: who waits runs by itself, who runs ends by itself. What they write stays noted."""
        self._note()
        for wrapper in list(self._wrappers.values()):
            self._drop(wrapper)
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listening.accept()
            if len(self._wrappers) >= self._most:
                connection.close()
                return
            connection.setblocking(False)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            self._count += 1
            wrapper = _Wrapper(self._count, connection, _CREDENTIALS.unpack(credentials)[0])
            self._wrappers[self._count] = wrapper
            self._selector.register(connection, selectors.EVENT_READ, self._count)

    def _receive(self, wrapper: _Wrapper) -> None:
        try:
            chunk = wrapper.connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        wrapper.received += chunk
        held = sum(len(other.received) for other in self._wrappers.values()) if len(wrapper.received) > 1 << 16 else 0
        if not chunk or len(wrapper.received) > _LONGEST or held > _MOST_HELD:
            self._drop(wrapper)
            return
        for message in _messages(wrapper.received):
            if wrapper.number not in self._wrappers:
                return
            fields = [os.fsdecode(item) for item in message.split(b"\0")]
            if wrapper.word:
                self._ended(wrapper, fields)
            else:
                self._asked(wrapper, fields)

    def _asked(self, wrapper: _Wrapper, fields: list[str]) -> None:
        directory, *command = fields
        unit = understand(command, directory, self._root) if command else None
        if unit is None or not _plausible(unit) or self._units >= _MOST_UNITS:
            self._say(wrapper, b"exec")
            self._drop(wrapper)
            return
        if self.selection is not None and (empty := self.selection.stands_for(unit, command)):
            self._say(wrapper, b"empty " + os.fsencode(f"{empty} {unit.output}"))
            self._drop(wrapper)
            return
        self._units += 1
        wrapper.word = b"cached" if self._cached and unit.kind != "link" else b"run"
        if self.claims is not None and unit.kind != "link":
            self._undecided[wrapper.number] = unit
            self._claim()
        else:
            self._scheduler.arrive(wrapper.number, unit, wrapper.pid, self.now)
        self._changed = True

    def _claim(self) -> None:
        """Those of whom it is known now what becomes of them."""
        for number, unit in list(self._undecided.items()):
            mine = self.claims is None or self.claims.verdict(unit.output)
            if mine is None:
                continue
            del self._undecided[number]
            wrapper = self._wrappers[number]
            if mine:
                self._scheduler.arrive(number, unit, wrapper.pid, self.now)
                wrapper.output = unit.output
            else:
                self._say(wrapper, b"empty " + os.fsencode(f"o {unit.output}"))
                self._drop(wrapper)

    def _ended(self, wrapper: _Wrapper, fields: list[str]) -> None:
        try:
            status, seconds, peak, note, errors = fields
            code = os.waitstatus_to_exitcode(int(status))
            if wrapper.started is None:
                raise ValueError("it was not told to run")
            used, longest = float(seconds), (self.now - wrapper.started + 1) * self._cpus
            outcome = Outcome(
                status=int(status),
                cpu_seconds=min(max(0.0, used), longest) if math.isfinite(used) else 0.0,
                peak=min(max(0, int(peak)), _MACHINE),
                cache=_cache(note),
                errors=errors[:_LONGEST_ERRORS],
                oom_kills=oom_kills() if code else 0,
                uncached=_why_not(note) if wrapper.word == b"cached" else "",
            )
        except (ValueError, OverflowError):
            self._drop(wrapper)
            return
        wrapper.started = None
        if self.claims is not None and code == 0:
            self.claims.done(wrapper.output)
        if not self._scheduler.finish(wrapper.number, outcome, self.now):
            self._say(wrapper, b"done")
            self._drop(wrapper)
        self._changed = True

    def _decide(self) -> None:
        usage = {pid: tree_usage(pid) for pid in self._scheduler.running}
        reading = Reading(self.now, available_memory(), usage, oom_kills())
        starting = self._scheduler.decide(reading)
        self._note()
        for number in starting:
            wrapper, width = self._wrappers[number], self._scheduler.width(number)
            wrapper.started = self.now
            self._say(wrapper, wrapper.word if width == 1 else b"%s %d" % (wrapper.word, width))

    def _note(self) -> None:
        if self._scheduler.outputs != self._writing:
            self._writing = self._scheduler.outputs
            self._unfinished(self._writing)

    def _say(self, wrapper: _Wrapper, word: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone: its end of the connection will say so
            wrapper.connection.sendall(len(word).to_bytes(4, "big") + word)

    def _drop(self, wrapper: _Wrapper) -> None:
        self._undecided.pop(wrapper.number, None)
        if self._wrappers.pop(wrapper.number, None) is not None:
            self._selector.unregister(wrapper.connection)
            wrapper.connection.close()
            self._scheduler.leave(wrapper.number)
            self._changed = True


def _plausible(unit: Unit) -> bool:
    """Whether a compiler can have been asked for this."""
    return max(len(unit.name), len(unit.output)) <= _LONGEST_PATH and len(unit.archs) <= _MOST_ARCHS


def _listen(directory: Path) -> socket.socket:
    """Listen on `directory/jobserver`, reached through a descriptor: a socket's path may have 107 bytes at most."""
    (directory / "jobserver").unlink(missing_ok=True)
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(f"/proc/self/fd/{descriptor}/jobserver")
        (directory / "jobserver").chmod(0o666)  # the build has another user; nobody else can enter its directory
        listening.listen(4096)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    finally:
        os.close(descriptor)
    return listening


def _messages(received: bytearray) -> Iterator[bytes]:
    """Take the complete messages out of `received`."""
    while len(received) >= 4 and len(received) >= 4 + (size := int.from_bytes(received[:4], "big")):
        yield bytes(received[4 : 4 + size])
        del received[: 4 + size]


def _cache(note: str) -> str:
    """What the caches say of a unit: answered, compiled, or compiled with some of its device code answered."""
    words = note.split()
    if any(word.endswith("cache_hit") for word in words):
        return "hit"
    if "device_hit" in words:
        return "part"
    return "miss" if "cache_miss" in words else ""


def _why_not(note: str) -> str:
    """Why a unit that was to go through the cache did not; empty: it did. ccache names the counters that it raised,
    below a line with the source's name."""
    if any(word in ("remote_storage_error", "remote_storage_timeout") for word in note.split()):
        return "the cache did not answer"
    if any(word.endswith(("cache_hit", "cache_miss")) for word in note.split()):
        return ""
    counters = [
        line for line in note.splitlines() if line and not line.startswith(("#", "device_")) and " " not in line
    ]
    told = [line.replace("_", " ") for line in counters if "storage" not in line]
    return ", ".join(told)[:200] or "it was not asked"
