"""The entry point of an image: does the wheel run on this GPU with this driver? Then start the command.

In: `reports.json` beside it, the machine, `WHEELSMITH_PREFLIGHT` (`strict`, `warn` or `off`), and a command. Out: the
command in its place (execvp); without one, an exit code. Exit codes: 54, it would not run; 2, a wrong setting; 127, no
such command. Runs from a zip file that `wheelsmith.container.preflight` makes, on the standard library of Python 3.11.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wheelsmith.compat.judge import Fits
    from wheelsmith.gpu.machine import Found
    from wheelsmith.wheel.inspect import WheelReport

DOES_NOT_FIT = 54
_MODES = ("strict", "warn", "off")
_NO_GPU = (
    "Give the container a GPU: docker run --gpus all, podman run --device nvidia.com/gpu=all; or start it without this"
    " check: WHEELSMITH_PREFLIGHT=off."
)


def main(command: Sequence[str], reports: bytes, environment: Mapping[str, str] = os.environ) -> int:
    """Check, then become the command.

    Args:
        command: program and arguments; empty: only check.
        reports: JSON, a list of what `wheelsmith.container.slimreport.slim` makes.
        environment: where the setting is read from.

    Returns:
        An exit code, if nothing is started.
    """
    mode = environment.get("WHEELSMITH_PREFLIGHT") or "strict"
    if mode not in _MODES:
        _say(f"WHEELSMITH_PREFLIGHT={mode} means nothing.", f"Write {', '.join(_MODES)}.")
        return 2
    if mode != "off":
        code = _check(reports)
        if code != 0 and mode == "strict":
            return code
        if code != 0:
            print("wheelsmith: started all the same (WHEELSMITH_PREFLIGHT=warn)", file=sys.stderr)
    return _become(command) if command else 0


def _check(reports: bytes) -> int:
    started = time.perf_counter()
    from wheelsmith.compat.judge import Machine, judge
    from wheelsmith.container.slimreport import from_json

    found = _machine()
    if isinstance(found, str):
        _say(f"No NVIDIA GPU is to be seen here: {found}.", _NO_GPU)
        return DOES_NOT_FIT
    machine = Machine(found.gpus, found.driver, None, platform.libc_ver()[1] or None)
    gpus = ", ".join(f"{name} ({arch})" for name, arch in found.gpus)
    code = 0
    for data in json.loads(reports):
        fits = judge(cast("WheelReport", from_json(data)), machine)
        seconds = time.perf_counter() - started
        verdict = "fits" if fits.fits else "DOES NOT FIT"
        print(f"wheelsmith: {fits.wheel} {verdict} {gpus}, driver {found.driver} [{seconds:.2f} s]", file=sys.stderr)
        _explain(fits)
        code = code if fits.fits else DOES_NOT_FIT
    return code


def _machine() -> Found | str:
    """NVML's answer, else nvidia-smi's, else why there is none."""
    from wheelsmith.container.nvml import ask_nvml
    from wheelsmith.errors import TargetError
    from wheelsmith.gpu.machine import gpus_here

    found = ask_nvml()
    if isinstance(found, str) or not found.gpus:
        try:
            return gpus_here()
        except TargetError:
            return found if isinstance(found, str) else "NVML lists none"
    return found


def _explain(fits: Fits) -> None:
    """Each finding once, with the libraries that share it."""
    shared: dict[tuple[str, str, str], list[str]] = {}
    bad = {"no", "partly"} if not fits.fits else {"jit"}
    unused = not fits.fits and not any(item.answer in bad for item in fits.libraries)
    for item in fits.libraries:
        if item.answer in bad or (unused and item.answer == "other"):
            for reason in item.reasons:
                shared.setdefault((item.gpu, reason.says, reason.remedy), []).append(item.library)
    for (gpu, says, remedy), libraries in shared.items():
        more = f" and {len(libraries) - 2} more" if len(libraries) > 2 else ""
        _say(f"{', '.join(libraries[:2])}{more} on {gpu}: {says}.", remedy)


def _say(cause: str, remedy: str) -> None:
    print(f"wheelsmith: {cause}", file=sys.stderr)
    if remedy:
        print(f"  what to do: {remedy}", file=sys.stderr)


def _become(command: Sequence[str]) -> int:
    sys.stderr.flush()
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - the image's own command
    except OSError as error:
        _say(f"{command[0]!r} cannot be started: {error.strerror}.", "Correct the command of the container.")
        return 127
