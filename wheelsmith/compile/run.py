"""Compile a plan: lay the sources out, run the backend in its room, and hand back the wheel that it made.

In: a plan, the store, an environment and a toolkit. Out: `Compiled`. Fails with `CompileError` (with the first real
error of the log), `EnvironmentBuildError` (the project requires what the plan does not have), `DiskFullError`, or
`InterruptedBuildError`. What was compiled stays: the next run of the same plan continues there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wheelsmith.compile.diagnose import diagnose
from wheelsmith.compile.memory import GB, fitting_jobs
from wheelsmith.compile.sandbox import Isolation, Room
from wheelsmith.compile.toolkits import refuse_second_toolkit
from wheelsmith.errors import CompileError, DiskFullError, EnvironmentBuildError, InterruptedBuildError
from wheelsmith.events import Listener, Note, Progress, ToolLine
from wheelsmith.plan import CANONICAL, Plan
from wheelsmith.store import Store
from wheelsmith.toolchain import BuildEnvironment, CudaToolkit

_NINJA_STEP = re.compile(r"^\[(\d+)/(\d+)\]")


@dataclass(frozen=True, slots=True)
class Compiled:
    """The backend's wheel, the log, and how long the backend ran (seconds of wall time)."""

    wheel: Path
    log: Path
    seconds: float
    jobs: int
    resumed: bool


def compile_wheel(
    plan: Plan,
    key: str,
    store: Store,
    environment: BuildEnvironment,
    toolkit: CudaToolkit,
    *,
    isolation: Isolation,
    lay_out: Callable[[Path], None],
    jobs: int | None,
    listener: Listener,
) -> Compiled:
    """Run the backend. `lay_out(directory)` is called once, to place the sources, when there is nothing to resume.

    Raises:
        CompileError, EnvironmentBuildError, DiskFullError, InterruptedBuildError: see above.
    """

    def make(directory: Path) -> None:
        lay_out(directory)
        for name in ("home", "tmp", "out", "env", "cuda"):
            (directory / name).mkdir()

    root, resumed = store.make_directory("work", key, make)
    if resumed:
        listener(Note("compile", f"continuing in {root}"))
        for name in ("tmp", "out"):  # an interrupted run may have left half a file
            shutil.rmtree(root / name)
            (root / name).mkdir()
    room = Room(root, environment.prefix, toolkit.root, isolation)
    jobs = jobs or fitting_jobs(int(plan.expect.memory_gb * GB))
    log = store.place("logs", f"{key}.log")
    request = root / "request.json"
    result = root / "result.json"
    result.unlink(missing_ok=True)
    request.write_text(json.dumps(_request(plan, room, environment, jobs)), "utf-8")
    place = CANONICAL if isolation.canonical else str(root)
    driver = [sys.executable, "-I", str(Path(__file__).with_name("driver.py"))]
    command = room.command([*driver, f"{place}/request.json", f"{place}/result.json"])
    listener(Note("compile", f"{jobs} jobs; isolation: {isolation}; log: {log}"))

    started = time.monotonic()
    status = _run(command, log, listener)
    seconds = time.monotonic() - started
    outcome = json.loads(result.read_text("utf-8")) if result.is_file() else {"failed": f"exit status {status}"}
    if "unmet" in outcome:
        raise EnvironmentBuildError(
            f"The build of {plan.name} {plan.version} requires what its environment lacks:"
            f" {', '.join(outcome['unmet'])}.",
            "Add it to `requires` in the recipe (or, with --env current, install it).",
        )
    if "failed" in outcome:
        raise _failure(plan, outcome["failed"], log, root)
    refuse_second_toolkit(root / "src", (room.seen(f"{CANONICAL}/cuda"), str(toolkit.root)))
    return Compiled(root / "out" / outcome["wheel"], log, seconds, jobs, resumed)


def _request(plan: Plan, room: Room, environment: BuildEnvironment, jobs: int) -> dict[str, object]:
    variables = {key: room.seen(value) for key, value in plan.environment}
    # How many compilers run changes nothing in the result, so the plan leaves it open.
    variables |= {"MAX_JOBS": str(jobs), "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs)}
    python = room.seen(f"{CANONICAL}/env/bin/python")
    if not (environment.prefix / "pyvenv.cfg").is_file():  # --env current outside a virtual environment
        python = str(environment.interpreter.executable)
        variables["PATH"] = variables["PATH"].replace(f"{CANONICAL}/env/bin", str(Path(python).parent))
    return {
        "source": room.seen(f"{CANONICAL}/src"),
        "out": room.seen(f"{CANONICAL}/out"),
        "python": python,
        "environment": variables,
        "config_settings": {key: room.seen(value) for key, value in plan.config_settings},
        "check": plan.target.environment == "isolated",
        "decided": ["torch"] if plan.target.torch else [],
    }


def _run(command: list[str], log: Path, listener: Listener) -> int:
    """Run, copying every line to the log and the listener. The child is stopped before this function ends."""
    base = {
        "PATH": os.defpath + ":/usr/local/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "WHEELSMITH_ROOT": CANONICAL,
    }
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            env=base,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stdout is not None, "it is a pipe"  # noqa: S101
        try:
            for line in process.stdout:
                file.write(line)
                if step := _NINJA_STEP.match(line):
                    listener(Progress("compile", line.strip(), int(step[1]), int(step[2]), "steps"))
                listener(ToolLine("compile", line.rstrip("\n")))
            return process.wait()
        except KeyboardInterrupt as error:
            raise InterruptedBuildError(
                "The build was interrupted.", "Run the same command again: it continues with what is left."
            ) from error
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()


def _failure(plan: Plan, message: str, log: Path, root: Path) -> CompileError | DiskFullError:
    found = diagnose(log.read_text("utf-8", errors="replace"))
    kept = f"The whole log is {log}; what was compiled is kept in {root}, and the same command continues there."
    detail = found.excerpt
    if found.id == "disk-full":
        return DiskFullError(f"{found.cause}.", f"{found.remedy}. {kept}", detail=detail)
    cause = f"{plan.name} {plan.version} does not compile: {found.cause or message}."
    return CompileError(cause, f"{found.remedy}. {kept}" if found.remedy else kept, detail=detail)
