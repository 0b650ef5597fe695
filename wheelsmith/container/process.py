"""Start programs of container engines: to ask them, or to let them work on our streams.

In: a command. Out: what it printed, or its exit code. Both are protocols, so that tests put their own in place. A
program that works has a process group of its own: Ctrl-C reaches it once, through us, and not a second time from the
terminal. Fails with `KeyboardInterrupt` only.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

_NOT_FOUND = 127
_INTERRUPTED = 130  # the shell's 128 + SIGINT
_GRACE = 60.0
_PATIENCE = 30.0


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


def ask(command: Sequence[str], /) -> Answer:
    """See `Ask`. A program that does not answer within half a minute is as good as absent."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except FileNotFoundError:
        return Answer(_NOT_FOUND, "", "not installed")
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
    process = subprocess.Popen(command, env={**os.environ, **(variables or {})}, process_group=0)
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
        return _INTERRUPTED
