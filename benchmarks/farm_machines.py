"""Machines on one machine: a worker each in namespaces and on cores of its own, with Redis and a TLS scheduler beside.

For `benchmarks.farm_scale`. In: its options. Out: processes that are started and ended. Needs root, redis-server,
pyroute2; without network namespaces everything is on loopback, and `Network.why` says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "10.87.0.1"
KEY = secrets.token_hex(32)


class Network:
    """A bridge with a namespace for each machine; `made` is false, and all is on loopback, where that cannot be."""

    def __init__(self, count: int) -> None:
        self.made, self.why, self._names = False, "", [f"farm{number}" for number in range(count)]
        try:
            self._make()
            self.made = True
        except Exception as error:
            self.why = f"{type(error).__name__} {error}"
            self.close()

    def _make(self) -> None:
        pyroute2 = importlib.import_module("pyroute2")
        with pyroute2.IPRoute() as here:
            here.link("add", ifname="farmbridge", kind="bridge")
            (bridge,) = here.link_lookup(ifname="farmbridge")
            here.addr("add", index=bridge, address=HOST, prefixlen=24)
            here.link("set", index=bridge, state="up")
            for number, name in enumerate(self._names):
                pyroute2.netns.create(name)
                here.link("add", ifname=f"fa{number}", kind="veth", peer=f"fb{number}")
                (outer,) = here.link_lookup(ifname=f"fa{number}")
                (inner,) = here.link_lookup(ifname=f"fb{number}")
                here.link("set", index=outer, master=bridge, state="up")
                here.link("set", index=inner, net_ns_fd=name)
                with pyroute2.NetNS(name) as there:
                    (inner,) = there.link_lookup(ifname=f"fb{number}")
                    there.addr("add", index=inner, address=f"10.87.0.{10 + number}", prefixlen=24)
                    there.link("set", index=inner, state="up")
                    there.link("set", index=there.link_lookup(ifname="lo")[0], state="up")

    def enter(self, number: int) -> list[str]:
        """A command's beginning."""
        return ["nsenter", f"--net=/var/run/netns/{self._names[number]}", "--"] if self.made else []

    @property
    def host(self) -> str:
        """Where scheduler and Redis listen."""
        return HOST if self.made else "127.0.0.1"

    def close(self) -> None:
        """Remove it."""
        with contextlib.suppress(Exception):
            pyroute2 = importlib.import_module("pyroute2")
            for name in self._names:
                with contextlib.suppress(Exception):
                    pyroute2.netns.remove(name)
            with pyroute2.IPRoute() as here:
                here.link("del", index=here.link_lookup(ifname="farmbridge")[0])


@dataclass
class Machines:
    """What all farms of a run share."""

    out: Path
    options: argparse.Namespace
    network: Network
    tls: Path
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))
    ports: Iterator[int] = field(default_factory=lambda: iter(range(21000, 30000)))
    hosts: str = ""  # cores of who is no worker

    def store(self, name: str) -> Path:
        place = Path(self.options.work) / f"store-{name}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if self.options.blobs:
            shutil.copytree(self.options.blobs, place / "blobs")
        if self.options.models:
            shutil.copytree(self.options.models, place / "models")
        return place

    def requirement(self, name: str) -> str:
        """What the scenario builds."""
        other = self.options.kill_requirement if name.startswith("kill") else None
        return str(other or self.options.requirement)

    def drive(self, name: str, cores: str, *more: str) -> subprocess.Popen[bytes]:
        o = self.options
        command = [
            sys.executable,
            "-m",
            "benchmarks.farm_scale",
            str(self.out),
            "--drive",
            str(self.out / f"{name}.jsonl"),
        ]
        command += ["--requirement", self.requirement(name), "--env", o.env]
        command += ["--toolkit", o.toolkit, "--cores", str(o.cores)]
        command += ["--recipes", o.recipes] if o.recipes else []
        command += ["--arch", o.arch] if o.arch else []
        command += ["--offline"] if o.offline else []
        matrix = Path(o.work) / f"{name}.toml"
        archs = f"gpus = ['{o.arch}']\n" if o.arch else ""
        matrix.write_text(f"schema_version = 1\n[[package]]\nrequirement = '{self.requirement(name)}'\n{archs}")
        command += ["--index", str(Path(o.work) / f"dist-{name}"), "--matrix", str(matrix), *more]
        return self.start(f"{name}.log", cores, command, os.environ)

    def start(
        self, log: str, cores: str, command: list[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        with (self.out / log).open("ab") as sink:
            return subprocess.Popen(
                ["taskset", "-c", cores, *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=dict(environment),
                start_new_session=True,
            )


def stop(process: subprocess.Popen[bytes] | None) -> None:
    """Kill it, and all that it has started."""
    if process is not None and process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Farm:
    """Scheduler, Redis, workers; all of them new."""

    def __init__(self, machines: Machines, name: str, count: int, cores: list[str]) -> None:
        self.machines, self.name, self.count, self.cores = machines, name, count, cores
        self.port, self.redis_port = next(machines.ports), next(machines.ports)
        self.redis: subprocess.Popen[bytes] | None = None
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self.numbers = [next(machines.numbers) for _ in range(count)]
        self._stores = [machines.store(f"{name}-w{number}") for number in range(count)]
        self._dask = str(Path(sys.executable).with_name("dask"))

    @property
    def address(self) -> str:
        return f"tls://{self.machines.network.host}:{self.port}"

    @property
    def cache(self) -> str:
        return f"redis://:{KEY[:16]}@{self.machines.network.host}:{self.redis_port}/0"

    def start_redis(self) -> None:
        host = self.machines.network.host
        command = [
            "redis-server",
            "--port",
            str(self.redis_port),
            "--bind",
            host,
            "--save",
            "",
            "--requirepass",
            KEY[:16],
        ]
        self.redis = self.machines.start(f"{self.name}-redis.log", self.machines.hosts, command, os.environ)

    def start_scheduler(self) -> None:
        command = [self._dask, "scheduler", "--host", self.address, "--no-dashboard", *self._tls()]
        self.scheduler = self.machines.start(f"{self.name}-scheduler.log", self.machines.hosts, command, os.environ)

    def start_workers(self) -> None:
        self.workers = [self._worker(number) for number in range(self.count)]

    def _worker(self, number: int) -> subprocess.Popen[bytes]:
        command = [*self.machines.network.enter(self.numbers[number])]
        command += ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts"]
        command += [self._dask, "worker", self.address, "--nworkers", "1", "--nthreads", "2", "--memory-limit", "0"]
        command += ["--name", f"w{number}", "--no-dashboard", "--local-directory", f"{self._stores[number]}-scratch"]
        places = {"WHEELSMITH_STORE": str(self._stores[number]), "WHEELSMITH_CACHE": self.cache}
        environment = dict(os.environ) | places | {"WHEELSMITH_CACHE_KEY": KEY}
        return self.machines.start(
            f"{self.name}-w{number}.log", self.cores[number], [*command, *self._tls()], environment
        )

    def _tls(self) -> list[str]:
        keys = {"ca-file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
        return [f"--tls-{key}={self.machines.tls / file}" for key, file in keys.items()]

    def wait(self) -> None:
        """Until all workers are there: a cluster is, before anybody uses it."""
        from distributed import Client
        from distributed.security import Security

        ca, cert, key = (str(self.machines.tls / name) for name in ("ca.pem", "cert.pem", "key.pem"))
        keys = Security(require_encryption=True, tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key)
        with Client(self.address, security=keys, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(self.count, timeout=60)

    def build(self) -> subprocess.Popen[bytes]:
        more = ["--scheduler", self.address, "--tls", str(self.machines.tls), "--count", str(self.count)]
        return self.machines.drive(self.name, self.machines.hosts, *more)

    def moved(self) -> dict[str, int]:
        """Bytes that Redis took and gave, and what it holds."""
        with contextlib.suppress(Exception):
            import redis

            with redis.Redis.from_url(self.cache) as client:
                facts = client.info()
            return {
                "in": facts["total_net_input_bytes"],
                "out": facts["total_net_output_bytes"],
                "held": facts["used_memory_dataset"],
            }
        return {}

    def close(self) -> None:
        for process in (*self.workers, self.scheduler, self.redis):
            stop(process)
