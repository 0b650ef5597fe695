"""Requests per second of one project page: our server against others, in one run, on loopback.

In: the number of files on the page, seconds per measurement, connections. Out: a table, or JSON with `--json`: for
each server that is installed (ours, nginx, `python -m http.server`, pypiserver, devpi) the best of the rounds, and its
ratio to nginx, if that is there, else to ours. Rounds go round the servers, so that a busy machine hurts all of them.
Fails with the error of a server that does not start. The client is `wrk` if that is on PATH (Debian has it), else one
Python process, which is the busy one then: figures of fast servers are lower bounds.

    python -m benchmarks.index_server --files 500 --seconds 4

pypiserver and devpi are found on PATH; put the folders of their environments there. Filling devpi takes minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from wheelsmith.index.publish import publish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

JSON = "application/vnd.pypi.simple.v1+json"
DEVPI_STAGE = "root/dev"  # user and index of a new devpi server
PROJECT = "leaf"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server to measure: its command and the path of its page."""

    name: str
    command: Sequence[str]
    port: int
    path: str
    encoding: str = "identity"


@dataclass(frozen=True, slots=True)
class Result:
    """Requests per second, bytes of the page, and the milliseconds that 99 of 100 requests stay below."""

    rate: float
    size: int
    p99: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wrk = shutil.which("wrk")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        work.chmod(0o755)
        root = make_index(work, options.files)
        candidates = list(find_candidates(work, root))
        best: dict[str, Result] = {}
        for _ in range(options.rounds):
            for candidate in candidates:
                with started(candidate):
                    result = asyncio.run(measure(candidate, 0.5 if wrk else options.seconds, options.connections))
                    if wrk:
                        rate = wrk_rate(wrk, candidate, options.seconds, options.connections)
                        result = Result(rate, result.size, result.p99)
                if candidate.name not in best or result.rate > best[candidate.name].rate:
                    best[candidate.name] = result
    report(best, options)


def wrk_rate(wrk: str, candidate: Candidate, seconds: float, connections: int) -> float:
    """Requests per second as wrk counts them; every answer must be a 200."""
    headers = ["-H", f"Accept: {JSON}", "-H", f"Accept-Encoding: {candidate.encoding}"]
    command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}", *headers]
    url = f"http://127.0.0.1:{candidate.port}{candidate.path}"
    text = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text:
        raise RuntimeError(f"{candidate.name}: {text}")
    return float(text.partition("Requests/sec:")[2].split()[0])


def report(best: dict[str, Result], options: argparse.Namespace) -> None:
    """Print what was measured."""
    against = best.get("nginx, static", best["wheelsmith"]).rate
    rows = [
        {
            "server": name,
            "requests_per_second": round(result.rate, 1),
            "page_bytes": result.size,
            "p99_ms": round(result.p99, 2),
            "of_nginx" if "nginx, static" in best else "of_ours": round(result.rate / against, 2),
        }
        for name, result in best.items()
    ]
    if options.json:
        print(json.dumps({"schema_version": 1, "files": options.files, "results": rows}, indent=2))
        return
    print(f"{options.files}-file page, {options.connections} connections, best of {options.rounds}")
    for row in rows:
        print("  ".join(f"{value!s:>20}" for value in row.values()))


def make_index(work: Path, files: int) -> Path:
    """Publish `files` tiny wheels of one project."""
    wheels = [make_wheel(work / "in", f"1.{number}") for number in range(files)]
    publish(wheels, work / "dist")
    return work / "dist"


def make_wheel(folder: Path, version: str) -> Path:
    """Write a wheel with nothing in it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{PROJECT}-{version}-py3-none-any.whl"
    info = f"{PROJECT}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def find_candidates(work: Path, root: Path) -> Iterator[Candidate]:
    """The servers that are installed."""
    page = f"/simple/{PROJECT}/"
    serve = [sys.executable, "-m", "wheelsmith", "index", "serve", "--index", str(root), "--port"]
    port = free_port()
    yield Candidate("wheelsmith", [*serve, str(port)], port, page)
    port = free_port()
    yield Candidate("wheelsmith, gzip", [*serve, str(port)], port, page, "gzip")
    port = free_port()
    workers = [*serve, str(port), "--workers", str(os.cpu_count() or 2)]
    yield Candidate("wheelsmith, workers", workers, port, page)
    if nginx := shutil.which("nginx"):
        port = free_port()
        example = Path(__file__).parents[1] / "docs/nginx.conf"
        text = example.read_text().replace("/srv/wheels", str(root)).replace("8090", str(port))
        text = f"user root;\n{text}" if os.getuid() == 0 else text
        (work / "nginx.conf").write_text(text)
        command = [nginx, "-p", str(work), "-c", str(work / "nginx.conf"), "-g", "daemon off;"]
        yield Candidate("nginx, static", command, port, page)
    port = free_port()
    static = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(root)]
    yield Candidate("http.server, static", static, port, f"{page}index.json")
    if pypiserver := shutil.which("pypi-server"):
        port = free_port()
        command = [pypiserver, "run", "--interface", "127.0.0.1", "-p", str(port), str(work / "in")]
        yield Candidate("pypiserver", command, port, page)
    if (devpi := shutil.which("devpi-server")) and (init := shutil.which("devpi-init")):
        yield fill_devpi(work, devpi, init)


def fill_devpi(work: Path, devpi: str, init: str) -> Candidate:
    """A devpi with a stage that has no bases, and all wheels uploaded to it."""
    port, secret, folder = free_port(), "benchmark", str(work / "devpi")
    subprocess.run(
        [init, "--serverdir", folder, "--no-root-pypi", "--root-passwd", secret], check=True, capture_output=True
    )
    candidate = Candidate(
        "devpi", [devpi, "--serverdir", folder, "--port", str(port)], port, f"/{DEVPI_STAGE}/+simple/{PROJECT}/"
    )
    with started(candidate):
        session = requests.Session()
        session.headers["Accept"] = "application/json"
        url = f"http://127.0.0.1:{port}"
        login = session.post(f"{url}/+login", json={"user": "root", "password": secret}, timeout=60).json()
        session.auth = ("root", login["result"]["password"])
        stage = {"type": "stage", "bases": [], "acl_upload": ["root"]}
        session.put(f"{url}/{DEVPI_STAGE}", json=stage, timeout=60).raise_for_status()
        for wheel in sorted((work / "in").glob("*.whl")):
            form = {":action": "file_upload", "name": PROJECT, "version": wheel.name.split("-")[1]}
            files = {"content": (wheel.name, wheel.read_bytes())}
            session.post(f"{url}/{DEVPI_STAGE}/", data=form, files=files, timeout=60).raise_for_status()
    return candidate


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(candidate: Candidate) -> Iterator[None]:
    """Run a server until the end of the block."""
    process = subprocess.Popen(candidate.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", candidate.port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{candidate.name} does not start: {' '.join(candidate.command)}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(15)


async def measure(candidate: Candidate, seconds: float, connections: int) -> Result:
    """Ask for the page as fast as it comes, over several connections."""
    times: list[float] = []
    end = time.monotonic() + seconds
    sizes = await asyncio.gather(*(ask_until(candidate, end, times) for _ in range(connections)))
    times.sort()
    return Result(len(times) / seconds, max(sizes), times[int(len(times) * 0.99)] * 1000)


async def ask_until(candidate: Candidate, end: float, times: list[float]) -> int:
    """Ask over one connection, which is made again where the server closes it; return the bytes of the page."""
    request = (
        f"GET {candidate.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {JSON}, text/html;q=0.1\r\n"
        f"Accept-Encoding: {candidate.encoding}\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", candidate.port, limit=2**22)
    size = 0
    while True:
        began = time.monotonic()
        if began >= end:
            writer.close()
            return size
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(f"{candidate.name} answers {head.decode()}")
        size = await read_body(reader, head)
        times.append(time.monotonic() - began)
        if head.startswith(b"http/1.0") or b"connection: close" in head:
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", candidate.port, limit=2**22)


async def read_body(reader: asyncio.StreamReader, head: bytes) -> int:
    """Read a body, whole or in chunks, and return its bytes."""
    if b"content-length:" in head:
        size = int(head.partition(b"content-length:")[2].split(maxsplit=1)[0])
        await reader.readexactly(size)
        return size
    total = 0
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        await reader.readexactly(size + 2)
        total += size
    await reader.readexactly(2)
    return total


if __name__ == "__main__":
    main()
