"""Beside what a user would pick: `pip wheel`, fromager and wheelsmith build one package on one toolkit, in one run.

    python -m benchmarks.peers [--package cuvec==6.0.1] [--archs 8.6] [--more "8.6;8.9"] [--toolkit DIR]
        [--pip PYTHON] [--fromager PROGRAM] [--prebuilt numpy] [--tools pip,fromager,wheelsmith]
        [--steps cold,again,elsewhere,arch,kill] [--torch PYTHON [--patch DIFF]] [--files DIR] [--side-by-side]

For packages that CMAKE_CUDA_ARCHITECTURES steers, such as cuvec, and with `--torch` for those of torch that obey
TORCH_CUDA_ARCH_LIST: then nobody installs torch, but all take that of PYTHON, which has pip, the build requirements and
wheelsmith's as well (`--no-build-isolation`; PYTHONPATH in fromager's settings, as it always isolates; `--env
current`). `--patch`: what pip and fromager need to obey it; both get the patched sdist from an index on loopback.

`--files`: wheels and sdists of a directory, served on loopback, stand for PyPI: for machines without a network.
`--side-by-side`: the tools at the same time, and of each tool what follows `again` at the same time too: for machines
whose processors are many more than a build uses; what came over the network is then told for these steps together.

Every tool has a home of its own, so each begins with empty caches. Printed for each step: seconds, CPU-seconds of all
processes, bytes that came over the network (counted on loopback), bytes in the directory of the step that were not
there before (after a kill: all), and for which GPUs the wheel has code; after a kill also how many processes live on;
at the end what the steps share.

* cold; again: the same command; elsewhere: other directories, the same user (what a tool shares by itself: pip's cache,
  wheelsmith's `--cache`; fromager has none); arch: `--more` in place of `--archs`;
* kill: elsewhere again with nothing shared, killed (SIGKILL to the command's process group) at half of the CPU-seconds
  of `cold`, and the same command again: what is printed is that second run.

fromager builds what a build requires from source, too, and what the wheel requires, if it is not told otherwise: here
all of that is `pre_built`; `--prebuilt` names what the wheel requires.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import wheelsmith
from benchmarks.interrupt import tree_seconds
from wheelsmith.compile.memory import process_tree

ROOT = Path(__file__).parents[1]
_CHUNK = 1 << 16


class CountingProxy:
    """A proxy for https (CONNECT) on loopback that counts what comes back."""

    def __init__(self) -> None:
        self.received = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            client, _ = self._server.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, ValueError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := client.recv(_CHUNK)):
                    return
                head += piece
            host, _, port = head.split()[1].decode().rpartition(":")
            with socket.create_connection((host, int(port)), timeout=60) as server:
                server.settimeout(None)
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                threading.Thread(target=_copy, args=(client, server, lambda _: None), daemon=True).start()
                _copy(server, client, self._count)

    def _count(self, size: int) -> None:
        self.received += size


def _copy(source: socket.socket, target: socket.socket, count: Callable[[int], None]) -> None:
    with suppress(OSError):
        while piece := source.recv(_CHUNK):
            count(len(piece))
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


class Network:
    """What one tool can reach: https through a proxy, and what is in `files`, an index for each folder, on loopback."""

    def __init__(self, files: Path) -> None:
        self._proxy, self._sent, self._files = CountingProxy(), 0, files
        network = self

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def copyfile(self, source: Any, outputfile: Any) -> None:
                """Send, and count."""
                piece = source.read()
                network._sent += len(piece)
                outputfile.write(piece)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(files)))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def proxy(self) -> str:
        """The URL of the proxy."""
        return self._proxy.url

    @property
    def received(self) -> int:
        """Bytes that came in."""
        return self._proxy.received + self._sent

    def index(self, *folders: str) -> str:
        """The URL of the first index of these that there is; else nothing, which means PyPI."""
        found = [folder for folder in folders if (self._files / folder).is_dir()]
        return f"http://127.0.0.1:{self._server.server_address[1]}/{found[0]}/" if found else ""


def lay(files: Sequence[Path], index: Path) -> None:
    """Lay wheels and sdists out as an index."""
    for path in files:
        name = re.sub(r"[-_.]+", "-", re.split(r"-(?=\d)", path.name)[0]).lower()
        (index / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, index / name)  # no link: http.server puts an @ behind its name


def patch(python: str, package: str, diff: Path, place: Path, index: str) -> Path:
    """An sdist with a patch, and without torch among what the wheel requires (or fromager would build torch)."""
    name = package.partition("==")[0]
    command = [python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name, "--no-build-isolation"]
    command += ["--index-url", index] if index else []
    subprocess.run([*command, "-d", place, package], check=True)
    with tarfile.open(next(place.glob("*.tar.gz"))) as archive:
        archive.extractall(place, filter="data")
        (tree,) = {member.name.split("/")[0] for member in archive.getmembers()}
    subprocess.run(["patch", "-p1", "-i", diff.resolve()], cwd=place / tree, check=True, stdout=subprocess.DEVNULL)
    setup = place / tree / "setup.py"
    setup.write_text(re.sub(r'(install_requires=\[\s*)"torch",', r"\1", setup.read_text()))
    (place / "patched").mkdir()
    with tarfile.open(made := place / "patched" / f"{tree}.tar.gz", "w:gz") as archive:
        archive.add(place / tree, tree)
    return made


@dataclass(frozen=True, slots=True)
class Job:
    """What to build: name, version, archs, and the toolkit. `torch`: the Python whose torch all use."""

    name: str
    version: str
    toolkit: Path
    pip: str
    fromager: str
    prebuilt: tuple[str, ...] = ()
    torch: str = ""

    def command(self, tool: str, archs: str, place: Path, shared: Path, network: Network) -> list[str]:
        """The command that builds for `archs` in `place`; what a user's builds share is in `shared`."""
        what = f"{self.name}=={self.version}"
        if tool == "pip":
            command = [self.torch or self.pip, "-m", "pip", "wheel", "--no-deps", "--no-binary", self.name]
            command += ["--cache-dir", str(shared / "pip"), "-w", str(place / "out")]
            command += ["--index-url", index] if (index := network.index("patched", "plain")) else []
            return [*command, *(["--no-build-isolation"] if self.torch else ["-C", self._setting(archs)]), what]
        if tool == "fromager":
            self._settings(place / "settings", archs, network)
            command = [self.fromager, "--settings-dir", str(place / "settings")]
            for option in ("sdists-repo", "wheels-repo", "work-dir"):
                command += [f"--{option}", str(place / option)]
            return [*command, "bootstrap", what]
        command = [self.torch or sys.executable, "-m", "wheelsmith", "build", what, "--arch", archs]
        command += ["--toolkit", str(self.toolkit), *(["--env", "current"] if self.torch else [])]
        command += ["--index-url", index] if (index := network.index("plain")) else []
        command += ["--store", str(place / "store"), "--index", str(place / "dist"), "--cache", str(shared / "objects")]
        return [*command, "--recipes", str(ROOT / "recipes")]

    def environment(self, archs: str) -> dict[str, str]:
        """What steers a build with torch, and what the recipe sets."""
        if not self.torch:
            return {}
        recipe = tomllib.loads((ROOT / "recipes" / f"{self.name}.toml").read_text("utf-8"))
        variables: dict[str, str] = recipe["build"].get("env", {})
        return {"TORCH_CUDA_ARCH_LIST": archs} | variables

    def _setting(self, archs: str) -> str:
        codes = ";".join(f"{arch.replace('.', '')}-real" for arch in archs.split(";"))
        return f"cmake.define.CMAKE_CUDA_ARCHITECTURES={codes}"

    def _settings(self, place: Path, archs: str, network: Network) -> None:
        """fromager's own: all but the package is taken as it is on the index."""
        place.mkdir(parents=True, exist_ok=True)
        key, _, value = self._setting(archs).partition("=")
        lines = [f"config_settings:\n  {key}: {value}\n"]
        if self.torch:
            code = "import sysconfig; print(sysconfig.get_path('purelib'))"
            site = subprocess.run([self.torch, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
            lines = ["project_override:\n  remove_build_requires: [torch]\n", f"env:\n  PYTHONPATH: {site}\n"]
        if index := network.index("patched", "plain"):
            lines += [f"resolver_dist:\n  sdist_server_url: {index}\n"]
        (place / f"{self.name.replace('-', '_')}.yaml").write_text("".join(lines))
        lock = (ROOT / "recipes/locks" / f"{self.name}.txt").read_text("utf-8")
        for name in [*re.findall(r"^([\w.-]+)==", lock, re.MULTILINE), *self.prebuilt]:
            server = f"    wheel_server_url: {index}\n" if (index := network.index("plain")) else ""
            settings = f"variants:\n  cpu:\n    pre_built: true\n{server}"
            (place / f"{name.lower().replace('-', '_')}.yaml").write_text(settings)


@dataclass(slots=True)
class Bench:
    """One tool, in a directory of its own."""

    tool: str
    job: Job
    root: Path
    network: Network
    cold: float = 0.0

    def run(self, step: str, archs: str, place: str, *, until: float | None = None, counted: bool = True) -> None:
        """Run the command and print a row. `until`: kill it after so many CPU-seconds, and print nothing of it.
        `counted`: nothing else uses the network."""
        where, shared = self.root / place, self.root / ("alone" if place == "killed" else "shared")
        where.mkdir(parents=True, exist_ok=True)
        command = self.job.command(self.tool, archs, where, shared, self.network)
        environment = self._environment(shared) | self.job.environment(archs)
        size = 0 if step == "kill" else _size(where)
        received, started = self.network.received, time.monotonic()
        with (self.root / f"{step}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=where, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        if until is not None:
            self._kill(process, until)
            return
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds, cpu = time.monotonic() - started, usage.ru_utime + usage.ru_stime
        self.cold = self.cold or cpu
        fetched = f"{self.network.received - received:>12,}" if counted else f"{'-':>12}"
        code = f"   FAILED ({process.returncode})" if status else f"   code for {_code(where, self.job.name)}"
        print(
            f"  {self.tool:<11} {step:<10} {seconds:8.1f} s {cpu:8.1f} CPU-s {fetched} bytes fetched"
            f" {_size(where) - size:>13,} more on disk{code}",
            flush=True,
        )
        if status:
            print((self.root / f"{step}.log").read_text("utf-8", "replace")[-1500:], file=sys.stderr)

    def _kill(self, process: subprocess.Popen[bytes], until: float) -> None:
        while process.poll() is None and tree_seconds(process.pid) < until:
            time.sleep(0.2)
        below = process_tree(process.pid)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(3)
        alive = sum(Path(f"/proc/{pid}").exists() for pid in below)
        print(f"  {self.tool:<11} killed after {until:.0f} CPU-s: {alive} processes lived on", flush=True)
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def steps(self, wanted: Sequence[str], archs: str, more: str, side_by_side: bool) -> None:
        """All steps that are wanted."""
        for step in ("cold", "again"):
            if step in wanted:
                self.run(step, archs, "here")
        received = self.network.received
        with ThreadPoolExecutor(3 if side_by_side else 1) as pool:
            rest = []
            if "elsewhere" in wanted:
                rest.append(pool.submit(self.run, "elsewhere", archs, "there", counted=not side_by_side))
            if "arch" in wanted:
                rest.append(pool.submit(self.run, "arch", more, "here", counted=not side_by_side))
            if "kill" in wanted:
                rest.append(pool.submit(self._killed, archs, not side_by_side))
        for future in rest:
            future.result()
        together = f"; after `again` {self.network.received - received:,} bytes fetched" if side_by_side else ""
        print(f"  {self.tool:<11} its steps share {_size(self.root / 'shared'):,} bytes on disk{together}", flush=True)

    def _killed(self, archs: str, counted: bool) -> None:
        self.run("killed", archs, "killed", until=self.cold / 2)
        self.run("kill", archs, "killed", counted=counted)

    def _environment(self, shared: Path) -> dict[str, str]:
        toolkit, home = self.job.toolkit, shared / "home"
        home.mkdir(parents=True, exist_ok=True)
        path = f"{Path(self.job.fromager).parent}:{toolkit}/bin:{os.environ['PATH']}"
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "WHEELSMITH_"))},
            **{"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PIP_CONFIG_FILE": os.devnull},
            **{"CUDACXX": f"{toolkit}/bin/nvcc", "CUDA_HOME": str(toolkit), "PATH": path, "PYTHONPATH": str(ROOT)},
            **{"HTTPS_PROXY": self.network.proxy, "https_proxy": self.network.proxy, "NO_PROXY": "localhost,127.0.0.1"},
            **({"PIP_CERT": certificates} if (certificates := os.environ.get("PIP_CERT")) else {}),
        }


def _code(where: Path, name: str) -> str:
    """For which architectures the newest wheel has machine code."""
    wheels = [path for path in where.rglob(f"{name.replace('-', '_')}-*.whl") if path.is_file()]
    newest = wheelsmith.inspect(max(wheels, key=lambda path: path.stat().st_mtime))
    return ";".join(map(str, sorted({code.arch for code in newest.code if code.kind == "sass"})))


def _size(root: Path) -> int:
    """Bytes of all files below, as far as they are still there when they are looked at."""
    size = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(f"{folder}/{name}").st_size
    return size


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", default="cuvec==6.0.1")
    parser.add_argument("--archs", default="8.6")
    parser.add_argument("--more", default="8.6;8.9")
    parser.add_argument("--toolkit", type=Path, default=Path("/usr/local/cuda"))
    parser.add_argument("--pip", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--fromager", default="fromager", metavar="PROGRAM")
    parser.add_argument("--tools", default="pip,fromager,wheelsmith")
    parser.add_argument("--steps", default="cold,again,elsewhere,arch,kill")
    parser.add_argument("--prebuilt", default="numpy")
    parser.add_argument("--torch", default="", metavar="PYTHON")
    parser.add_argument("--patch", type=Path, metavar="DIFF")
    parser.add_argument("--files", type=Path, metavar="DIR")
    parser.add_argument("--side-by-side", action="store_true")
    options = parser.parse_args()
    name, _, version = options.package.partition("==")
    toolkit, prebuilt = options.toolkit.resolve(), tuple(options.prebuilt.split(","))
    tools, wanted = options.tools.split(","), options.steps.split(",")
    print(f"{options.package} for {options.archs}, then {options.more}; {toolkit}; {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="wheelsmith-peers-") as temporary:
        root = Path(temporary)
        files = root / "index"
        files.mkdir()
        if options.files:
            lay([path for path in options.files.iterdir() if path.suffix in (".whl", ".gz")], files / "plain")
        if options.patch:
            python, index = options.torch or options.pip, Network(files).index("plain")
            (root / "patch").mkdir()
            lay([patch(python, options.package, options.patch, root / "patch", index)], files / "patched")
        job = Job(name, version, toolkit, options.pip, options.fromager, prebuilt, options.torch)
        with ThreadPoolExecutor(len(tools) if options.side_by_side else 1) as pool:
            benches = [Bench(tool, job, root / tool, Network(files)) for tool in tools]
            rest = [pool.submit(b.steps, wanted, options.archs, options.more, options.side_by_side) for b in benches]
        for future in rest:
            future.result()


if __name__ == "__main__":
    main()
