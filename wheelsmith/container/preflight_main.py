"""The entry point of an image: does the wheel run on this GPU with this driver? Then start the command.

In: `reports.json` beside it, the machine, `WHEELSMITH_PREFLIGHT` (`strict`, `warn` or `off`), and a command. Out: the
command in its place (execvp); without one, an exit code. Exit codes: 54, it would not run; 55, that is not judged; 2, a
wrong setting; 127, no such command. A wheel without GPU code is no reason to stop. Runs from a zip file that
`wheelsmith.container.preflight` makes, on the standard library of Python 3.11.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wheelsmith.compat.judge import Fits
    from wheelsmith.gpu.machine import Found

NO_GPU = 54
_MODES = ("strict", "warn", "off")
_VERDICTS = {"fits": "fits", "does not fit": "DOES NOT FIT", "not judged": "IS NOT JUDGED for"}
_NO_GPU = (
    "Give the container a GPU: docker run --gpus all, podman run --device nvidia.com/gpu=all; or start it without this"
    " check: WHEELSMITH_PREFLIGHT=off."
)


def main(command: Sequence[str], reports: bytes, environment: Mapping[str, str] = os.environ) -> int:
    """Check, then become the command.

    Args:
        command: program and arguments; empty: only check.
        reports: JSON, a list of a wheel's `summary` and the `choices` it makes at run time.
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
    from wheelsmith.compat.distributions import cxx_library_here
    from wheelsmith.compat.judge import judge
    from wheelsmith.compat.model import Machine
    from wheelsmith.compat.summary import from_dict
    from wheelsmith.contract import Choice

    found = _machine()
    if isinstance(found, str):
        _say(f"No NVIDIA GPU is to be seen here: {found}.", _NO_GPU)
        return NO_GPU
    machine = Machine(found.gpus, found.driver, None, platform.libc_ver()[1] or None, cxx_library_here())
    gpus = ", ".join(f"{name} ({arch})" for name, arch in found.gpus)
    codes = {0}
    for data in json.loads(reports):
        summary = from_dict(data["summary"])
        fits = judge(summary, machine, [Choice.from_dict(item) for item in data["choices"]])
        seconds = time.perf_counter() - started
        plain = not summary.has_code and fits.verdict == "not judged" and not fits.unread
        verdict = "has no GPU code of its own:" if plain else _VERDICTS[fits.verdict]
        print(f"wheelsmith: {fits.wheel} {verdict} {gpus}, driver {found.driver} [{seconds:.2f} s]", file=sys.stderr)
        _explain(fits)
        codes.add(0 if plain else fits.exit_code)
    return next((code for code in (54, 55) if code in codes), 0)


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
    bad = {"fits": {"jit"}, "does not fit": {"no", "partly"}, "not judged": {"unknown"}}[fits.verdict]
    unused = fits.verdict == "does not fit" and not any(item.answer in bad for item in fits.libraries)
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
