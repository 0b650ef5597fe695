"""A matrix on many machines, and what that would bring."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wheelsmith.api.defaults import DEFAULT_INDEX, PathLike
from wheelsmith.api.matrices import planned_cells
from wheelsmith.errors import UsageError
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.documents.farms import FarmDocument, SimulationDocument, WorkerFacts
    from wheelsmith.farm.cells import FarmCell

DOCUMENT_VERSION = 1


def _nobody(message: Mapping[str, object]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class FarmResult:
    """What a farm did. `cells` are in the order of the matrix; `scheduler` and `dashboard` are addresses."""

    path: str
    index: str
    scheduler: str
    dashboard: str | None
    cells: tuple[FarmCell, ...]
    workers: tuple[WorkerFacts, ...]
    seconds: float
    skipped: bool = False

    @property
    def exit_code(self) -> int:
        """0: no cell has an error, refused ones left out if they were `skipped`; else the code of the first."""
        found = [one for one in self.cells if not (self.skipped and one.state == "refused")]
        return next((one.error.exit_code for one in found if one.error is not None), 0)

    def to_dict(self) -> FarmDocument:
        """JSON-ready form."""
        counts: dict[str, int] = {}
        for one in self.cells:
            counts[one.state] = counts.get(one.state, 0) + 1
        return {
            "schema_version": DOCUMENT_VERSION,
            "matrix": self.path,
            "index": self.index,
            "scheduler": self.scheduler,
            "dashboard": self.dashboard,
            "counts": counts,
            "seconds": round(self.seconds, 3),
            "workers": list(self.workers),
            "cells": [one.to_dict() for one in self.cells],
        }


def farm_build(
    path: PathLike,
    *,
    scheduler: str | None = None,
    workers: int = 1,
    tls: PathLike | None = None,
    wait: float = 30.0,
    split: Literal["auto", "always", "never"] = "auto",
    cells: Collection[str] = (),
    skip_refused: bool = False,
    index: PathLike = DEFAULT_INDEX,
    store: PathLike | None = None,
    cache: str | None = None,
    jobs: int | None = None,
    offline: bool = False,
    require_isolation: bool = False,
    index_url: str | None = None,
    toolkit: str = "auto",
    environment: Literal["isolated", "current"] = "isolated",
    recipes: Sequence[PathLike] = (),
    listener: Listener = ignore,
    events: Callable[[Mapping[str, object]], None] = _nobody,
) -> FarmResult:
    """Build a matrix on a Dask cluster; a long cell is compiled by many workers.

    Args:
        path: a TOML file, as for `build_matrix`.
        scheduler: address of a Dask scheduler; default: a cluster on this machine, for this call.
        workers: of the cluster on this machine; of another one, how many are waited for (whoever comes later takes
            parts, too).
        tls: directory with ca.pem, cert.pem and key.pem, which the scheduler and the workers trust.
        wait: seconds that a scheduler and so many workers may take to answer.
        split: whether one wheel is compiled by many workers: `auto`, where it is long for its share of the farm.
        cells: ids of those that are wanted; none: all.
        skip_refused: build the others where some cells cannot be built; default: start nothing.
        index: where workers publish: a bucket, or a directory that all of them see.
        store: directory of the store, on every worker; default: as each worker's own environment says.
        cache: where objects are shared: a directory that all workers see, or a URL without credentials; default: as
            each worker's WHEELSMITH_CACHE says, else the store's own. Its key is in each worker's environment.
        jobs: compilers at once on each worker; default: what fits.
        offline, require_isolation, index_url, toolkit: see `build`.
        environment: see `build`; `current` is each worker's own, and only workers with the same packages that the
            plan requires, in the same place, share a wheel.
        recipes: directories whose recipes go before the shipped ones.
        listener: told of cells, and of what a person should know.
        events: told of what every worker tells: `event`, `cell`, `task`, `worker`, and the event's own values.

    Raises:
        UsageError: the matrix is wrong, Dask is not installed, a location carries credentials, or `scheduler` is no
            address.
        FarmError: no scheduler, other versions, no worker that fits, an index that workers do not see.
        StoreError: the index is a directory that cannot be written.
        TargetError: cells cannot be built, and `skip_refused` is not given.
    """
    from dataclasses import replace

    from wheelsmith.builder.destination import check_writable
    from wheelsmith.builder.matrix import refused
    from wheelsmith.errors import FarmError
    from wheelsmith.events import Note
    from wheelsmith.farm import cluster
    from wheelsmith.farm.address import refuse_secret, scheduler_address
    from wheelsmith.farm.task import Way
    from wheelsmith.index.location import local_directory

    started = time.monotonic()
    where_index = os.fspath(index)
    where_index = where_index if "://" in where_index else str(Path(where_index).absolute())
    place = cache if cache is None or "://" in cache else str(Path(cache).absolute())
    refuse_secret("compile cache", place, "set WHEELSMITH_CACHE on the workers")
    refuse_secret("index", where_index, "workers have a bucket's credentials in their own environment")
    refuse_secret("package index", index_url, "set WHEELSMITH_INDEX_URL on the workers")
    if scheduler is not None:
        scheduler = scheduler_address(scheduler, tls is not None)
    planned = planned_cells(path, cells=cells, index=where_index, environment=environment, recipes=recipes)
    if not skip_refused and (error := refused(planned, os.fspath(path))) is not None:
        raise error
    if local_directory(where_index) is not None:  # a bucket's credentials are the workers' own
        check_writable(where_index)
    root = None if store is None else str(Path(store).absolute())
    way = Way(where_index, place, root, jobs, toolkit, offline, index_url, require_isolation)
    where = cluster.Where(scheduler, workers, None if tls is None else Path(tls), wait, toolkit)
    with cluster.connect(where) as client:
        from wheelsmith.farm.run import Conduct, FarmRun

        there = cluster.wait_for_workers(client, wait, workers)
        cluster.refuse_other_wheelsmith(client)
        checked = []
        for one in planned:
            try:
                if one.plan is not None and one.error is None and one.published is None:
                    cluster.fitting(one.plan, there)
                checked.append(one)
            except FarmError as misfit:
                checked.append(replace(one, error=misfit))
        if not skip_refused and (error := refused(checked, os.fspath(path))) is not None:
            raise error
        cluster.refuse_unseen_index(client, way)
        sharing, why = cluster.sharing(client, way, sorted(there)) if split != "never" else ([], "")
        if why:
            listener(Note("farm", f"not every worker can take parts of wheels: the compile cache: {why}", warning=True))
        dashboard = str(client.dashboard_link) if client.dashboard_link else None
        listener(Note("farm", f"{len(there)} workers; dashboard: {dashboard or 'none'}"))
        run = FarmRun(client, checked, way, Conduct(split, tuple(sharing), listener, events))
        run.run()
        address = scheduler or "a cluster on this machine"
        seconds = time.monotonic() - started
    return FarmResult(
        os.fspath(path), where_index, address, dashboard, tuple(run.cells), tuple(run.workers), seconds, skip_refused
    )


def farm_simulate(
    record: PathLike,
    *,
    workers: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256),
    cores: int = 1,
    configure: float | None = None,
    finish: float | None = None,
    latency: float | None = None,
    bandwidth: float | None = None,
    price: float | None = None,
) -> SimulationDocument:
    """What a recorded build would take on farms of so many workers.

    Args:
        record: a timeline (of `wheelsmith timeline`), or a cost model.
        workers: numbers of workers.
        cores: of each.
        configure: seconds until a worker meets its first unit; default: 15.
        finish: seconds from the last object to the published wheel; default: 5.
        latency: seconds of a request to the cache.
        bandwidth: bytes a second of the cache, for all together.
        price: of a worker, for an hour.

    Raises:
        UsageError: the file is none of these, or a number makes no sense.
    """
    from wheelsmith.compile.cost_model import read_rows
    from wheelsmith.farm.simulate import FarmFacts, predict, units_of, with_overheads

    if not workers or min(workers) < 1 or cores < 1:
        raise UsageError("A farm has at least one worker, and that at least one core.", "Give numbers from 1 on.")
    for name, value in (("bandwidth", bandwidth), ("latency", latency), ("price", price), ("configure", configure)):
        if value is not None and not (value > 0 if name == "bandwidth" else value >= 0):
            raise UsageError(f"{name} is {value:g}.", "Give a number above zero.")
    path = Path(record)
    seconds = [cost.cpu_seconds for unit, cost in read_rows(path) if unit.kind != "link"] or _recorded(path)
    if not seconds:
        raise UsageError(
            f"{path} has no units.", "Give a timeline of a build that compiled something, or a cost model."
        )
    facts = with_overheads(
        FarmFacts(cores), configure=configure, finish=finish, latency=latency, bandwidth=bandwidth, price=price
    )
    points = predict(units_of(seconds), workers, facts)
    return {
        "schema_version": DOCUMENT_VERSION,
        "units": len(seconds),
        "cpu_seconds": round(sum(seconds), 3),
        "longest": round(max(seconds), 3),
        "points": [
            {
                "workers": point.workers,
                "seconds": round(point.seconds, 2),
                "speed_up": round(point.speed_up, 3),
                "efficiency": round(point.efficiency, 3),
                "bytes": point.bytes,
                "cost": round(point.cost, 4),
            }
            for point in points
        ],
    }


def _recorded(path: Path) -> list[float]:
    """CPU-seconds of the units that ended well in a timeline and were really compiled."""
    from wheelsmith.compile.timeline import read_record

    try:
        runs = read_record(path)["runs"]
        units = [unit for run in runs for unit in run["units"]]
        return [
            float(unit["cpu_seconds"])
            for unit in units
            if unit["status"] == 0 and unit["kind"] != "link" and unit["cache"] != "hit"
        ]
    except (KeyError, TypeError, ValueError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", "Give a timeline or a cost model.") from error
