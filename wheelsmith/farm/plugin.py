"""What every worker of a farm does when it starts or is found: say what its machine has.

In: a Dask worker. Out: its resources; none, so that it gets no task, where wheelsmith is another one than the
coordinator's. A task takes the resource `build`, of which each worker has one, however many
threads it has: compilers within a task are as many as processors and memory allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distributed.diagnostics.plugin import WorkerPlugin

if TYPE_CHECKING:
    from distributed import Worker


class Offer(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """Registered by the coordinator; Dask gives it to workers that come later, too. `mine`: they are the coordinator's
    own processes, so that a terminal's Ctrl-C reaches them as well; it ends them itself."""

    name = "wheelsmith"

    def __init__(self, toolkit: str, *, mine: bool = False) -> None:
        from wheelsmith.distribution import own_version

        self.toolkit, self.mine, self.version = toolkit, mine, own_version()

    async def setup(self, worker: Worker) -> None:
        """Called by Dask."""
        import asyncio
        import signal

        from wheelsmith.distribution import own_version
        from wheelsmith.farm.resources import offered
        from wheelsmith.store import default_root

        if self.mine:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if own_version() != self.version:
            return
        found = await asyncio.to_thread(offered, default_root(), self.toolkit)
        await worker.set_resources(**found, assembly=1.0 if worker.state.nthreads > 1 else 0.0)
