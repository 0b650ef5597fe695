"""A farm of real processes on loopback: a Dask scheduler, workers, Redis for objects; TLS with keys of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

DASK = Path(sys.executable).with_name("dask")
KEY = "0123456789abcdef" * 4


@dataclass
class Farm:
    """Its processes; each has a session of its own, so that all that it started can be killed with it."""

    directory: Path
    scheduler: subprocess.Popen[bytes] | None = None
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from distributed.security import Security

        self.tls.mkdir(parents=True)
        keys = Security.temporary()
        for name, text in (("ca", keys.tls_ca_file), ("cert", keys.tls_client_cert), ("key", keys.tls_client_key)):
            (self.tls / f"{name}.pem").write_text(text)
        self.port = free_port()

    @property
    def tls(self) -> Path:
        """The directory for --tls."""
        return self.directory / "keys"

    @property
    def address(self) -> str:
        """The scheduler's."""
        return f"tls://127.0.0.1:{self.port}"

    def start_scheduler(self) -> None:
        """At the same address each time."""
        where = ["--host", self.address, "--no-dashboard"]
        self.scheduler = self._start("scheduler", ["scheduler", *where], os.environ)
        wait_for_port(self.port, self.scheduler)

    def start_worker(self, name: str, environment: Mapping[str, str]) -> None:
        """One that has a machine's worth of surroundings of its own: `environment`."""
        options = ["--nworkers", "1", "--nthreads", "2", "--memory-limit", "0", "--name", name, "--no-dashboard"]
        scratch = ["--local-directory", str(self.directory / f"scratch-{name}")]
        self.workers[name] = self._start(name, ["worker", self.address, *options, *scratch], environment)

    def wait_for_workers(self) -> None:
        """Until the scheduler knows all that were started."""
        from distributed import Client
        from distributed.security import Security

        ca, cert, key = (str(self.tls / f"{name}.pem") for name in ("ca", "cert", "key"))
        security = Security(require_encryption=True, tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key)
        with Client(self.address, security=security, timeout=300) as client:
            client.wait_for_workers(len(self.workers), timeout=300)

    def kill(self, process: subprocess.Popen[bytes] | None) -> None:
        """SIGKILL for a process and all of its session, as a machine that loses its power."""
        if process is not None and process.poll() is None:
            for pid in _session(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """End everything."""
        for process in (*self.workers.values(), self.scheduler):
            self.kill(process)

    def _start(self, name: str, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        keys = ["ca-file", "cert", "key"]
        files = ["ca.pem", "cert.pem", "key.pem"]
        tls = [f"--tls-{key}={self.tls / file}" for key, file in zip(keys, files, strict=True)]
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [str(DASK), *command, *tls],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(environment),
                start_new_session=True,
            )


@contextlib.contextmanager
def farm(directory: Path) -> Iterator[Farm]:
    """A farm with a scheduler, and no worker yet."""
    made = Farm(directory)
    try:
        made.start_scheduler()
        yield made
    finally:
        made.close()


class Redis:
    """redis-server on loopback, with a password; `url` names it without, `secret_url` with it."""

    def __init__(self, directory: Path) -> None:
        self.port, self.password = free_port(), "geheimes-wort"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def secret_url(self) -> str:
        """For the workers' WHEELSMITH_CACHE."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--requirepass", self.password]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(["redis-server", *options], stdout=log, stderr=log, start_new_session=True)
        wait_for_port(self.port, self._process)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def has_redis() -> bool:
    """Whether there is a redis-server."""
    return shutil.which("redis-server") is not None


def has_slurm() -> bool:
    """Whether a SLURM controller answers here."""
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return False
    asked = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, check=False, timeout=30)
    return asked.returncode == 0 and "UP" in asked.stdout


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 120.0) -> None:
    """Until somebody listens there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, "it ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens at port {port}")


def _session(leader: int) -> list[int]:
    """The processes of a session, the leader last."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != leader:
            with contextlib.suppress(OSError, IndexError, ValueError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                    found.append(int(entry.name))
    return [*found, leader]


@contextlib.contextmanager
def ssh_server(directory: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """sshd on loopback for this user, whose sessions have this environment; an OpenSSH configuration in which any host
    is this one."""
    server = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert server is not None
    directory.mkdir(mode=0o700)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    port = free_port()
    (directory / "authorized").write_bytes((directory / "user.pub").read_bytes())
    (directory / "known").write_text(f"[127.0.0.1]:{port} {(directory / 'host.pub').read_text()}")
    variables = " ".join(f'"{name}={value}"' for name, value in environment.items())
    (directory / "server").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/authorized\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nSetEnv {variables}\n"
    )
    (directory / "config").write_text(
        f"Host *\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {directory}/user\n"
        f"  UserKnownHostsFile {directory}/known\n"
    )
    with (directory / "log").open("wb") as log:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where Debian's sshd confines its unprivileged half
        process = subprocess.Popen(
            [server, "-D", "-e", "-f", str(directory / "server")], stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for_port(port, process)
        yield directory / "config"
    finally:
        process.terminate()
        process.wait()
