"""A farm on a SLURM cluster: workers are jobs that dask-jobqueue submits.

    python slurm.py wheels.toml --workers 8 --index s3://bucket/wheels

Needed on all nodes: this wheelsmith with `[farm,cloud]`, dask-jobqueue, g++, git, a CUDA toolkit; one cache, in
WHEELSMITH_CACHE and WHEELSMITH_CACHE_KEY of the environment that jobs start with (`~/.farm-environment`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dask_jobqueue import SLURMCluster
from distributed.security import Security

import wheelsmith


def cluster(security: Security | None = None, keys: str = "~/.farm-keys") -> SLURMCluster:
    """Each job is one worker with all of its cores: compilers within it are as many as memory allows. `keys`: a
    directory of yours that all nodes see, for the TLS keys if there is `security`."""
    Path(keys).expanduser().mkdir(mode=0o700, exist_ok=True)
    return SLURMCluster(
        cores=16,
        processes=1,
        memory="64GB",
        walltime="08:00:00",
        job_extra_directives=["--exclusive"],
        job_script_prologue=['. "$HOME/.farm-environment"'],
        worker_extra_args=["--memory-limit", "0"],
        scheduler_options={"dashboard_address": ":8787"},
        security=security,
        shared_temp_directory=str(Path(keys).expanduser()),
    )


def main() -> int:
    """Start workers, build, and let them go."""
    parser = argparse.ArgumentParser()
    parser.add_argument("matrix")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--index", default="dist")
    options = parser.parse_args()
    with cluster() as jobs:
        jobs.scale(jobs=options.workers)
        result = wheelsmith.farm_build(
            options.matrix,
            scheduler=jobs.scheduler_address,
            workers=options.workers,
            index=options.index,
            wait=3600,  # that the jobs may spend in the queue; then it begins with those that run
        )
    for cell in result.to_dict()["cells"]:
        print(cell["id"], cell["state"], cell["wheel"] or "")
    return result.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
