"""A farm on hosts that SSH reaches: the first runs the scheduler, the others are workers.

    python ssh.py wheels.toml farm0 farm1 farm2 farm3 --index s3://bucket/wheels

Needed on all: this wheelsmith with `[farm,cloud]` in the same place (asyncssh here), g++, git, a CUDA toolkit; one
cache, in WHEELSMITH_CACHE and WHEELSMITH_CACHE_KEY of the environment that SSH gives them (`~/.ssh/environment`).
Keep the hosts in a network of their own: this example does not encrypt what Dask says.
"""

from __future__ import annotations

import argparse

from distributed import SSHCluster

import wheelsmith

WORKER = {"nthreads": 2, "n_workers": 1, "memory_limit": "0"}
SCHEDULER = {"port": 8786, "dashboard_address": ":8787"}


def main() -> int:
    """Start the farm, build, and end it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("matrix")
    parser.add_argument("hosts", nargs="+", metavar="HOST")
    parser.add_argument("--index", default="dist")
    options = parser.parse_args()
    with SSHCluster(options.hosts, worker_options=WORKER, scheduler_options=SCHEDULER) as cluster:
        result = wheelsmith.farm_build(
            options.matrix,
            scheduler=cluster.scheduler_address,
            workers=len(options.hosts) - 1,
            index=options.index,
            wait=300,
        )
    for cell in result.to_dict()["cells"]:
        print(cell["id"], cell["state"], cell["wheel"] or "")
    return result.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
