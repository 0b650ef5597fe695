"""Start programs of container engines: to ask them, to let them work on our streams, or to watch them work.

In: a command. Out: what it printed, or its exit code, or both. All are protocols, so that tests put their own in place.
A program that works has a process group of its own: Ctrl-C reaches it once, through us, and not a second time from the
terminal. Fails with `KeyboardInterrupt` only.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

#: What `ask` answers where there is no such program.
NOT_FOUND = 127
#: What `work` and `watch` answer after an interrupt: the shell's 128 + SIGINT.
INTERRUPTED = 130
_GRACE = 60.0
_PATIENCE = 30.0
_KEPT = 65536  # bytes of what a watched program says last


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said: exit code (127: there is no such program), stdout, and stderr."""

    code: int
    out: str
    err: str


class Ask(Protocol):
    """Runs a command and returns what it says."""

    def __call__(self, command: Sequence[str], /) -> Answer:
        """Must not raise."""


class Work(Protocol):
    """Runs a command on this process's own streams and returns its exit code."""

    def __call__(self, command: Sequence[str], /, variables: Mapping[str, str] = ...) -> int:
        """Raises `KeyboardInterrupt` where the user stopped it."""


class Watch(Protocol):
    """Runs a command on this process's stderr; the answer's `err` is the last that it said there, or on stdout."""

    def __call__(self, command: Sequence[str], /, variables: Mapping[str, str] = ...) -> Answer:
        """Raises `KeyboardInterrupt` where the user stopped it."""


def ask(command: Sequence[str], /) -> Answer:
    """See `Ask`. A program that does not answer within half a minute is as good as absent."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except FileNotFoundError:
        return Answer(NOT_FOUND, "", "not installed")
    except PermissionError as error:
        return Answer(126, "", str(error))
    except subprocess.TimeoutExpired:
        return Answer(124, "", f"no answer within {_PATIENCE:.0f} s")
    return Answer(done.returncode, done.stdout.strip(), done.stderr.strip())


def work(command: Sequence[str], /, variables: Mapping[str, str] | None = None) -> int:
    """See `Work`. `variables` are added to the environment.

    An interrupt is passed on, and the program has a minute to end as it does then; whatever it returns (buildah: 1),
    the answer is 130. After that it is killed, and `KeyboardInterrupt` raised.
    """
    return _end(subprocess.Popen(command, env={**os.environ, **(variables or {})}, process_group=0))


def watch(command: Sequence[str], /, variables: Mapping[str, str] | None = None) -> Answer:
    """See `Watch`; else as `work`. On a terminal the program has one, too, and draws its progress there."""
    ours, theirs = _terminal() if os.isatty(2) else os.pipe()
    kept = bytearray()
    try:
        environment = {**os.environ, **(variables or {})}
        process = subprocess.Popen(command, env=environment, process_group=0, stdout=theirs, stderr=theirs)
    finally:
        os.close(theirs)
    teller = threading.Thread(target=_tell, args=(ours, kept), daemon=True)
    teller.start()
    try:
        code = _end(process)
    finally:
        teller.join(5)  # what it has left running may hold the other end
    return Answer(code, "", kept.decode("utf-8", "replace"))


def _end(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_GRACE)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
            raise KeyboardInterrupt from None
        return INTERRUPTED


def _terminal() -> tuple[int, int]:
    ours, theirs = pty.openpty()
    with suppress(OSError, termios.error):
        termios.tcsetwinsize(theirs, termios.tcgetwinsize(2))
    return ours, theirs


def _tell(ours: int, kept: bytearray) -> None:
    """Pass on to stderr what comes, to its end, and keep the last of it."""
    with os.fdopen(ours, "rb", buffering=0) as stream, suppress(OSError):  # a terminal ends with EIO
        while data := stream.read(8192):
            kept += data
            del kept[:-_KEPT]
            with suppress(OSError):  # nobody may read it any more
                os.write(2, data)
