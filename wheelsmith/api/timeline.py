"""Where the time of a build went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wheelsmith.api.defaults import PathLike, store_root


def timeline(what: PathLike, *, store: PathLike | None = None) -> dict[str, Any]:
    """The record of a build: its runs, each with every unit (times in s, memory in bytes) and the state over time.

    Args:
        what: a log, a timeline file, or a requirement such as `vllm==0.15.1`: the newest build of it.
        store: directory of the store; default: WHEELSMITH_STORE, else the user's cache directory.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    from wheelsmith.compile.timeline import find_record, read_record

    return read_record(find_record(str(what), Path(store_root(store)) / "logs"))
