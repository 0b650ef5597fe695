"""Run the build's process: its output to the log and the listener, its wrappers to the jobserver.

In: a command and what governs it. Out: the exit status. Fails with `InterruptedBuildError`; the build is stopped, with
every compiler, before this module lets go of it. The first interrupt (SIGINT, SIGTERM, or the end of the given time)
lets the compilers that run come to their end, as hours of work may be in them; the second one does not wait.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from wheelsmith.children import start_child
from wheelsmith.compile.configured import bypasses
from wheelsmith.compile.interrupt import Interrupt
from wheelsmith.compile.jobserver import Jobserver
from wheelsmith.compile.scheduler import Scheduler
from wheelsmith.compile.selection import Claims, Selection
from wheelsmith.compile.timeline import Timeline
from wheelsmith.diagnostics.failures import RUN_MARK
from wheelsmith.errors import CompileError, InterruptedBuildError
from wheelsmith.events import Listener, Note, ToolLine
from wheelsmith.fsutil import read_plain, remove_tree, write_fresh

_STEP = re.compile(r"^\[([0-9]{1,5})/([0-9]{1,5})\]")  # what says more is no build tool
_FAILED = re.compile(r"FAILED: |g?make(?:\[\d+\])?: \*\*\* \[")  # what ninja and make say when they have given up
_CONFIGURED = re.compile(r"^-- Build files have been written to: (/.+)$")  # CMake
_MOST_LOOKS = 100  # at what was configured, in one build
_PATIENCE = 30.0  # seconds that a build may take to end
_TELL, _SAVE = 1.0, 10.0  # seconds between two events, and between two savings
_LONGEST_NOTE = 64 << 20  # bytes
_LONGEST_LINE = 1 << 16  # bytes; what is longer is several lines
_LARGEST_LOG = 2 * 10**9  # bytes of one run; no package's is known to have more than a hundredth of it
_GRACE = 10.0  # seconds that the build tool has to write down what is done, after an interrupt


@dataclass(frozen=True, slots=True)
class Governed:
    """What a build is governed by, and where it is recorded.

    Attributes:
        launch: the directory that the wrappers are in.
        seen: the build's root, as the build sees it.
        scheduler: who decides.
        timeline: what is recorded.
        cached: whether compilers run behind a cache.
        save: writes what was learned.
        until: when nothing new shall start any more (time.monotonic()); None: never.
        here: where a path that the build sees is outside of it, see `Room.here`.
        selection: which units are compiled; None: all.
        claims: which of them may start; None: all.
    """

    launch: Path
    seen: str
    scheduler: Scheduler
    timeline: Timeline
    cached: bool
    save: Callable[[], None]
    until: float | None = None
    here: Callable[[str], Path] = Path
    selection: Selection | None = None
    claims: Claims | None = None

    def note_unfinished(self, outputs: tuple[str, ...]) -> None:
        """Keep on disk what is being written, so that no half-written file of a killed build counts as made."""
        root = self.launch.parent  # which a confined build cannot write, unlike `launch`
        temporary = root / "unfinished.new"
        with contextlib.suppress(FileExistsError, IsADirectoryError):  # laid there by a build that is not confined
            write_fresh(temporary, "".join(f"{output}\n" for output in outputs))
            temporary.replace(root / "unfinished")


def remove_unfinished(root: Path, here: Callable[[str], Path]) -> int:
    """Remove what compilers left half written in the last run; how many files. `here`: see `Room.here`.

    The build itself said what it was writing, and may have laid links: what is not in its directory is left alone.
    """
    noted, removed = root / "unfinished", 0
    with contextlib.suppress(OSError):
        removed = remove_outputs(root, here, os.fsdecode(read_plain(noted, _LONGEST_NOTE)).split("\n"))
    remove_tree(noted)
    return removed


def remove_outputs(root: Path, here: Callable[[str], Path], outputs: Iterable[str]) -> int:
    """Remove files of a build by the paths that it sees; how many there were. What is not in its directory, is left
    alone."""
    removed = 0
    with contextlib.suppress(OSError):
        real = root.resolve()
        for output in outputs:
            path = here(output)
            with contextlib.suppress(OSError, ValueError):  # a name that no file can have
                inside = path.parent.resolve().is_relative_to(real) and path.name not in {"", ".."}
                if inside and (path.is_file() or path.is_symlink()):
                    path.unlink()
                    removed += 1
    return removed


def end_build(process: subprocess.Popen[bytes]) -> None:
    """End a build that `Room.command` started: asked by SIGTERM, it kills all that it started, and then ends."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run_process(command: list[str], log: Path, governed: Governed, listener: Listener) -> int:
    """Run, copying every line to the log and the listener. Nothing of the build runs when this function ends."""
    base = {
        "PATH": os.defpath + ":/usr/local/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
    }
    with contextlib.ExitStack() as stack:
        large = log.is_file() and log.stat().st_size > _LARGEST_LOG
        file = stack.enter_context(log.open("w" if large else "a", encoding="utf-8"))
        selector = stack.enter_context(selectors.DefaultSelector())
        file.write(f"{RUN_MARK}{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")
        jobserver = Jobserver(
            governed.launch,
            governed.seen,
            governed.scheduler,
            selector,
            cached=governed.cached,
            unfinished=governed.note_unfinished,
        )
        jobserver.selection, jobserver.claims = governed.selection, governed.claims
        if jobserver.problem:
            listener(Note("compile", f"compilers are neither counted nor measured: {jobserver.problem}", warning=True))
        stack.callback(governed.save)
        stack.callback(jobserver.close)
        interrupt = stack.enter_context(Interrupt(governed.until))
        process = start_child(
            command,
            env=base,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            loop = _Loop(_Backend(process, file), governed, jobserver, selector, interrupt, listener)
            loop.run()
            if loop.halted:
                raise KeyboardInterrupt
            if loop.written > _LARGEST_LOG:
                raise CompileError(
                    f"The build was ended: it had written more than {_LARGEST_LOG:,} bytes of output.",
                    f"Make it write less (a patch, or build.env in the recipe); {log} begins with what it writes.",
                )
            return process.wait()
        except KeyboardInterrupt as error:
            raise InterruptedBuildError(
                f"The build was interrupted{': ' if interrupt.late else ''}{interrupt.late}.",
                "Run the same command again: it continues with what is left.",
            ) from error
        finally:
            end_build(process)
            if process.stdout is not None:
                process.stdout.close()


@dataclass(frozen=True, slots=True)
class _Backend:
    """The backend that runs, and where what it says is kept."""

    process: subprocess.Popen[bytes]
    log: IO[str]


class _Loop:
    """Waits for the build's output, for wrappers, and for time to pass."""

    def __init__(
        self,
        backend: _Backend,
        governed: Governed,
        jobserver: Jobserver,
        selector: selectors.BaseSelector,
        interrupt: Interrupt,
        listener: Listener,
    ) -> None:
        self._process, self._log, self._governed, self._jobserver = backend.process, backend.log, governed, jobserver
        self._selector, self._interrupt, self._listener = selector, interrupt, listener
        self._last: float | None = None  # when the build tool must have ended, after an interrupt
        self.halted = False  # by an interrupt
        self._rest, self.written = b"", 0  # bytes
        self._tell, self._save = 0.0, _SAVE
        self._looked: set[str] = set()

    def run(self) -> None:
        """Until the build has ended and all that it wrote is read."""
        assert self._process.stdout is not None, "it is a pipe"  # noqa: S101
        self._selector.register(self._process.stdout, selectors.EVENT_READ, None)
        reading = True
        while reading:
            ended = self._process.poll() is not None
            quiet = True
            for key, _ in self._selector.select(self._jobserver.patience):
                if key.data is None:
                    quiet = False
                    reading = self._read(os.read(key.fd, 1 << 16))
                else:
                    self._jobserver.handle(key)
            if ended and quiet:  # a daemon that the build left behind may hold the pipe open
                break
            if self._jobserver.tick():
                self._watch()
            if self._interrupt.reason and self._stopped():
                break
            if self.written > _LARGEST_LOG:
                break
        self._line(self._rest)

    def _stopped(self) -> bool:
        """After an interrupt: whether nothing more is worth waiting for."""
        scheduler, now = self._governed.scheduler, self._jobserver.now
        if not scheduler.stopping:
            scheduler.stopping = True
            if running := len(scheduler.running):
                rest = scheduler.rest
                left = "for nobody knows how long" if rest is None else f"for about {max(1, round(rest / 60))} min"
                who = "1 compiler runs to its end" if running == 1 else f"{running} compilers run to their end"
                text = f"{self._interrupt.reason}: nothing new starts, {who}, {left};"
                self._listener(Note("compile", f"{text} another Ctrl-C stops them at once", warning=True))
        idle = not scheduler.running and not scheduler.waiting and self._last is None
        if scheduler.running or (idle and self._interrupt.reason == self._interrupt.late):
            return False  # what is no compiler, such as packing the wheel, may end in time
        if self._last is None:
            self._last, self.halted = now + (0.0 if idle else _GRACE), True
        self._jobserver.dismiss(b"halt")
        return now >= self._last

    def _read(self, chunk: bytes) -> bool:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._line(line + b"\n")
        if len(self._rest) > _LONGEST_LINE:
            self._line(self._rest + b"\n")
            self._rest = b""
        self.written += len(chunk)
        return bool(chunk)

    def _line(self, raw: bytes) -> None:
        if raw:
            line = raw.decode("utf-8", errors="replace")
            self._log.write(line)
            if step := _STEP.match(line):
                self._governed.scheduler.step(int(step[1]), int(step[2]))
            if self._governed.cached and (configured := _CONFIGURED.match(line)):
                self._look(configured[1])
            # After an interrupt, those who are sent away fail, and the build tool says so.
            failed = _FAILED.match(line) and not self._interrupt.reason
            if failed and (waiting := self._jobserver.dismiss()):
                self._listener(Note("compile", f"{waiting} units that waited are not begun, as another one has failed"))
            self._listener(ToolLine("compile", line.rstrip("\r\n")))

    def _look(self, build: str) -> None:
        """CMake has configured the directory `build`, or the build says so: say who leads past us."""
        if build in self._looked or len(self._looked) >= _MOST_LOOKS:
            return
        self._looked.add(build)
        directory = self._governed.here(build)
        with contextlib.suppress(OSError):  # what the build has laid there may lead anywhere
            if not directory.resolve().is_relative_to(self._governed.launch.parent.resolve()):
                return
        for text in bypasses(directory, self._governed.seen):
            self._listener(Note("compile", text, warning=True))

    def _watch(self) -> None:
        now, scheduler = self._jobserver.now, self._governed.scheduler
        self._governed.timeline.watch(scheduler.sample())
        if now >= self._tell:
            self._tell = now + _TELL
            self._log.flush()
            self._listener(scheduler.state())
        if now >= self._save:
            self._save = now + _SAVE
            self._governed.save()
