"""What a process of its own does to an index; it imports nothing else, so that many of them are cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wheelsmith.index.publish import publish

if TYPE_CHECKING:
    import multiprocessing.synchronize
    from pathlib import Path


def publish_one_by_one(wheels: list[Path], root: Path, barrier: multiprocessing.synchronize.Barrier) -> None:
    """Publish each wheel by itself, once all are ready."""
    barrier.wait()
    for wheel in wheels:
        publish([wheel], root)
