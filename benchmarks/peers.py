"""Beside what a user would pick: `pip wheel`, fromager and wheelsmith build one package on one toolkit, in one run.

    python -m benchmarks.peers [--package cuvec==6.0.1] [--archs 8.6] [--more "8.6;8.9"] [--toolkit DIR]
        [--pip PYTHON] [--fromager PROGRAM] [--prebuilt numpy] [--tools pip,fromager,wheelsmith]
        [--steps cold,again,elsewhere,arch,kill] [--torch PYTHON [--patch DIFF]]

For packages that CMAKE_CUDA_ARCHITECTURES steers, such as cuvec, and with `--torch` for those of torch that obey
TORCH_CUDA_ARCH_LIST: then nobody installs torch, but all take that of PYTHON, which has pip, the build requirements and
wheelsmith's as well (`--no-build-isolation`; PYTHONPATH in fromager's settings, as it always isolates; `--env
current`). `--patch`: what pip and fromager need to obey it; both get the patched sdist from an index on loopback.

Every tool has a home of its own, so each begins with empty caches. Printed for each step: seconds, CPU-seconds of all
processes, bytes that came over the network (counted by a proxy on loopback), bytes that it has on the disk beyond the
step before, and for which GPUs the wheel has code; after a kill also how many processes live on.

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
import resource
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def patched(python: str, package: str, diff: Path, place: Path) -> str:
    """The URL of an index that has one sdist: PyPI's, with a patch, and without torch among what the wheel requires (or
    fromager would build torch)."""
    name = package.partition("==")[0]
    command = [python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name, "--no-build-isolation"]
    subprocess.run([*command, "-d", place, package], check=True)
    with tarfile.open(next(place.glob("*.tar.gz"))) as archive:
        archive.extractall(place, filter="data")
        (tree,) = {member.name.split("/")[0] for member in archive.getmembers()}
    subprocess.run(["patch", "-p1", "-i", diff.resolve()], cwd=place / tree, check=True, stdout=subprocess.DEVNULL)
    setup = place / tree / "setup.py"
    setup.write_text(re.sub(r'(install_requires=\[\s*)"torch",', r"\1", setup.read_text()))
    folder = place / "simple" / name
    folder.mkdir(parents=True)
    with tarfile.open(folder / f"{tree}.tar.gz", "w:gz") as archive:
        archive.add(place / tree, tree)
    (folder / "index.html").write_text(f'<a href="{tree}.tar.gz">{tree}.tar.gz</a>')
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(place)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/simple/"


@dataclass(frozen=True, slots=True)
class Job:
    """What to build: name, version, archs, and the toolkit. `torch`: the Python whose torch all use; `index`: where pip
    and fromager have the sdist from, if not from PyPI."""

    name: str
    version: str
    toolkit: Path
    pip: str
    fromager: str
    prebuilt: tuple[str, ...] = ()
    torch: str = ""
    index: str = ""

    def command(self, tool: str, archs: str, place: Path, shared: Path) -> list[str]:
        """The command that builds for `archs` in `place`; what a user's builds share is in `shared`."""
        what = f"{self.name}=={self.version}"
        if tool == "pip":
            command = [self.torch or self.pip, "-m", "pip", "wheel", "--no-deps", "--no-binary", self.name]
            command += ["--cache-dir", str(shared / "pip"), "-w", str(place / "out")]
            command += ["--index-url", self.index] if self.index else []
            return [*command, *(["--no-build-isolation"] if self.torch else ["-C", self._setting(archs)]), what]
        if tool == "fromager":
            self._settings(place / "settings", archs)
            command = [self.fromager, "--settings-dir", str(place / "settings")]
            for option in ("sdists-repo", "wheels-repo", "work-dir"):
                command += [f"--{option}", str(place / option)]
            return [*command, "bootstrap", what]
        command = [self.torch or sys.executable, "-m", "wheelsmith", "build", what, "--arch", archs]
        command += ["--toolkit", str(self.toolkit), *(["--env", "current"] if self.torch else [])]
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

    def _settings(self, place: Path, archs: str) -> None:
        """fromager's own: all but the package is taken as it is on the index."""
        place.mkdir(parents=True, exist_ok=True)
        key, _, value = self._setting(archs).partition("=")
        lines = [f"config_settings:\n  {key}: {value}\n"]
        if self.torch:
            code = "import sysconfig; print(sysconfig.get_path('purelib'))"
            site = subprocess.run([self.torch, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
            lines = ["project_override:\n  remove_build_requires: [torch]\n", f"env:\n  PYTHONPATH: {site}\n"]
        if self.index:
            lines += [f"resolver_dist:\n  sdist_server_url: {self.index}\n"]
        (place / f"{self.name.replace('-', '_')}.yaml").write_text("".join(lines))
        lock = (ROOT / "recipes/locks" / f"{self.name}.txt").read_text("utf-8")
        for name in [*re.findall(r"^([\w.-]+)==", lock, re.MULTILINE), *self.prebuilt]:
            (place / f"{name.lower().replace('-', '_')}.yaml").write_text("variants:\n  cpu:\n    pre_built: true\n")


@dataclass(slots=True)
class Bench:
    """One tool, in a directory of its own."""

    tool: str
    job: Job
    root: Path
    proxy: CountingProxy
    size: int = 0
    cold: float = field(default=0.0)

    def run(self, step: str, archs: str, place: str, *, until: float | None = None, alone: bool = False) -> None:
        """Run the command and print a row. `until`: kill it after so many CPU-seconds, and print nothing."""
        where, shared = self.root / place, self.root / ("alone" if alone else "shared")
        where.mkdir(parents=True, exist_ok=True)
        command = self.job.command(self.tool, archs, where, shared)
        environment = self._environment(shared) | self.job.environment(archs)
        before, received, started = _used(), self.proxy.received, time.monotonic()
        with (self.root / f"{step}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=where, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            while until is not None and process.poll() is None and tree_seconds(process.pid) < until:
                time.sleep(0.2)
            if until is not None:
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
                return
            status = process.wait()
        seconds, cpu = time.monotonic() - started, _used() - before
        self.cold = self.cold or cpu
        size = sum(path.lstat().st_size for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        grown, self.size = size - self.size, size
        code = "" if status else f"   code for {_code(where, self.job.name)}"
        failed = f"   FAILED ({status}): {self.root / f'{step}.log'}" if status else ""
        print(
            f"  {self.tool:<11} {step:<10} {seconds:8.1f} s {cpu:8.1f} CPU-s"
            f" {self.proxy.received - received:>12,} bytes fetched {grown:>13,} more on disk{code}{failed}",
            flush=True,
        )
        if status:
            print((self.root / f"{step}.log").read_text("utf-8", "replace")[-1500:], file=sys.stderr)

    def _environment(self, shared: Path) -> dict[str, str]:
        toolkit, home = self.job.toolkit, shared / "home"
        home.mkdir(parents=True, exist_ok=True)
        path = f"{Path(self.job.fromager).parent}:{toolkit}/bin:{os.environ['PATH']}"
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "WHEELSMITH_"))},
            **{"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PIP_CONFIG_FILE": os.devnull},
            **{"CUDACXX": f"{toolkit}/bin/nvcc", "CUDA_HOME": str(toolkit), "PATH": path, "PYTHONPATH": str(ROOT)},
            **{"HTTPS_PROXY": self.proxy.url, "https_proxy": self.proxy.url, "NO_PROXY": "localhost,127.0.0.1"},
            **({"PIP_CERT": certificates} if (certificates := os.environ.get("PIP_CERT")) else {}),
        }


def _code(where: Path, name: str) -> str:
    """For which architectures the newest wheel has machine code."""
    wheels = [path for path in where.rglob(f"{name.replace('-', '_')}-*.whl") if path.is_file()]
    newest = wheelsmith.inspect(max(wheels, key=lambda path: path.stat().st_mtime))
    return ";".join(map(str, sorted({code.arch for code in newest.code if code.kind == "sass"})))


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


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
    options = parser.parse_args()
    name, _, version = options.package.partition("==")
    toolkit, prebuilt = options.toolkit.resolve(), tuple(options.prebuilt.split(","))
    steps, proxy = options.steps.split(","), CountingProxy()
    print(f"{options.package} for {options.archs}, then {options.more}; {toolkit}; {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="wheelsmith-peers-") as temporary:
        index = (
            patched(options.torch or options.pip, options.package, options.patch, Path(temporary) / "index")
            if options.patch
            else ""
        )
        job = Job(name, version, toolkit, options.pip, options.fromager, prebuilt, options.torch, index)
        for tool in options.tools.split(","):
            bench = Bench(tool, job, Path(temporary) / tool, proxy)
            for step, archs, place in (
                ("cold", options.archs, "here"),
                ("again", options.archs, "here"),
                ("elsewhere", options.archs, "there"),
                ("arch", options.more, "here"),
            ):
                if step in steps:
                    bench.run(step, archs, place)
            if "kill" in steps:
                bench.run("killed", options.archs, "killed", until=bench.cold / 2, alone=True)
                bench.run("kill", options.archs, "killed", alone=True)


if __name__ == "__main__":
    main()
