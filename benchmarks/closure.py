"""Bytes that a build's sources cost: cloned by the build itself, and as a recipe's closure.

    python -m benchmarks.closure [--scale 0.05]

Makes repositories of the shape of those that vLLM's build clones (a long history of large files, of which the pinned
commit holds a part, and of that one the build uses a directory; three trees with a submodule each), serves them with
`git daemon` on loopback and counts every byte that passes a proxy, both ways:

* the usual way: what CMake's FetchContent runs, `git clone` of each repository, checkout of the pin, `git submodule
  update --init --recursive`; one tree is shallow, as upstream declares it;
* ours: `wheelsmith.sources.fetch` of the same commits, by URLs that a mirror stands for.

At scale 1 the largest history has 460 MB, which is what a clone of triton took; the other sizes are stand-ins for a
shape, not measurements of upstream. The contents are random, so nothing compresses.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wheelsmith.config import Mirrors
from wheelsmith.gpu.arch import ArchSet
from wheelsmith.planning.model import CANONICAL, Expectation, GitSource, Plan, Target, Tree
from wheelsmith.sources.fetch import fetch
from wheelsmith.store import Store

HOST = "https://upstream.invalid/"
COMMITS = 200


@dataclass(frozen=True, slots=True)
class Shape:
    """`history` bytes of versions of all files, `tree` bytes in the last commit, `used` of them below `part/`."""

    name: str
    history: int
    tree: int
    used: int
    part: str
    submodule: str | None = None


MB = 1_000_000
SHAPES = (
    Shape("cutlass", 90 * MB, 30 * MB, 8 * MB, "include"),
    Shape("triton", 460 * MB, 40 * MB, 120_000, "python/triton_kernels"),
    Shape("flash-attention", 40 * MB, 6 * MB, 6 * MB, "csrc", "cutlass"),
    Shape("flashmla", 6 * MB, 2 * MB, 2 * MB, "csrc", "cutlass"),
    Shape("qutlass", 4 * MB, 2 * MB, 2 * MB, "csrc", "cutlass"),
)


def git(*arguments: str, cwd: Path, stdin: bytes | None = None) -> str:
    """Run git without anybody's configuration."""
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", "protocol.version=2", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, input=stdin, capture_output=True, check=True)
    return done.stdout.decode().strip()


def make_repository(root: Path, shape: Shape, scale: float, commits: dict[str, str]) -> str:
    """Write the repository with `git fast-import`; returns the commit that a build pins.

    The repository that others have as submodule gets one more release for each: they pin different ones.
    """
    path = root / f"{shape.name}.git"
    path.mkdir()
    git("init", "-q", "--bare", "-b", "main", cwd=path)
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):  # as the public hosts
        git("config", key, "true", cwd=path)
    randomness = random.Random(shape.name)
    used = max(int(shape.used * scale), 1000)
    last = {f"{shape.part}/used.bin": used, "other.bin": max(int(shape.tree * scale) - used, 0)}
    each = int((shape.history - shape.tree) * scale) // COMMITS
    stream: list[bytes] = []

    def commit(number: int, files: dict[str, int], more: str = "") -> None:
        stream.append(f"commit refs/heads/main\ncommitter x <x@y> {number} +0000\ndata 1\nc\n".encode())
        for name, size in files.items():
            stream.append(f"M 644 inline {name}\ndata {size}\n".encode() + randomness.randbytes(size) + b"\n")
        stream.append(more.encode())

    for number in range(COMMITS):
        commit(number, {"changing.bin": each})
    extra = "D changing.bin\n"
    if shape.submodule is not None:
        text = f'[submodule "s"]\n\tpath = sub\n\turl = ../{shape.submodule}.git\n'
        pin = commits[f"{shape.submodule} of {shape.name}"]
        extra += f"M 160000 {pin} sub\nM 644 inline .gitmodules\ndata {len(text)}\n{text}\n"
    outer = [other.name for other in SHAPES if other.submodule == shape.name]
    for number in range(len(outer) + 1):
        commit(COMMITS + number, last, extra if number == 0 else "")
    git("fast-import", "--quiet", cwd=path, stdin=b"".join(stream))
    git("tag", "v1", "main", cwd=path)
    for number, name in enumerate(outer, start=1):
        commits[f"{shape.name} of {name}"] = git("rev-parse", f"main~{number}", cwd=path)
    return git("rev-parse", "main", cwd=path)


class Meter:
    """A TCP proxy that counts."""

    def __init__(self, target: int) -> None:
        self.bytes = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def take(self) -> int:
        """Bytes since the last call."""
        count, self.bytes = self.bytes, 0
        return count

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._target))
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(1 << 16):
                self.bytes += len(data)
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            other.close()


@contextmanager
def daemon(root: Path) -> Iterator[Meter]:
    """`git daemon` behind a meter."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["git", "daemon", "--export-all", f"--base-path={root}", "--listen=127.0.0.1", f"--port={port}"]
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    with subprocess.Popen([*command, "--reuseaddr", str(root)], env=environment, stderr=subprocess.DEVNULL) as process:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        try:
            yield Meter(port)
        finally:
            process.terminate()


def clone(shape: Shape, commit: str, url: str, into: Path) -> None:
    """What FetchContent runs for a git tree (CMake, ExternalProject: gitclone.cmake)."""
    shallow = ["--depth", "1", "--branch", "v1"] if shape.name == "cutlass" else []
    git("clone", "-q", "--no-checkout", *shallow, f"{url}/{shape.name}.git", str(into), cwd=into.parent)
    git("checkout", "-q", commit, cwd=into)
    git("submodule", "update", "-q", "--init", "--recursive", cwd=into)


def plan_of(shape: Shape, commits: dict[str, str]) -> Plan:
    """The tree of a shape as a recipe has it: depth 1, parts where parts are used, submodules in their place."""
    sparse = (shape.part,) if shape.name == "triton" else ()
    source = GitSource(f"{HOST}{shape.name}.git", commits[shape.name], "v1", sparse)
    trees: tuple[Tree, ...] = ()
    if shape.submodule is not None and shape.name != "qutlass":  # which is compiled against vLLM's own
        inner = GitSource(
            f"{HOST}{shape.submodule}.git", commits[f"{shape.submodule} of {shape.name}"], None, ("include",)
        )
        trees = (Tree("sub", inner, f"{CANONICAL}/src/sub"),)
    target = Target("3.12", ArchSet.parse("8.6"), "13.0", None)
    return Plan(
        name=shape.name,
        version="1",
        local_version="x",
        target=target,
        source=source,
        trees=trees,
        patches=(),
        requires=(),
        lock=None,
        config_settings=(),
        environment=(),
        promises=(),
        exclude=(),
        imports=(),
        expect=Expectation(1, 1, 1),
        recipe="",
        warnings=(),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.05)
    scale = parser.parse_args().scale
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "git").mkdir()
        (root / "clones").mkdir()
        commits: dict[str, str] = {}
        for shape in SHAPES:
            commits[shape.name] = make_repository(root / "git", shape, scale, commits)
        print(f"scale {scale:g}; bytes over git:// on loopback, both directions\n")
        print(f"{'tree':<16} {'usual way':>14} {'s':>6} {'ours':>14} {'s':>6} {'ratio':>7}")
        store, local = Store(root / "store"), Store(root / "local")
        totals = [0, 0]
        with daemon(root / "git") as meter:
            url = f"git://127.0.0.1:{meter.port}"
            mirrors = Mirrors(((HOST, (f"{url}/",)),))
            for shape in SHAPES:
                started = time.monotonic()
                clone(shape, commits[shape.name], url, root / "clones" / shape.name)
                usual, between = meter.take(), time.monotonic()
                fetch(plan_of(shape, commits), store, mirrors=mirrors)
                ours, ended = meter.take(), time.monotonic()
                print(
                    f"{shape.name:<16} {usual:>14,} {between - started:>6.1f} {ours:>14,} {ended - between:>6.1f}"
                    f" {usual / ours:>7.1f}"
                )
                totals = [totals[0] + usual, totals[1] + ours]
        files = Mirrors(((HOST, ((root / "git").as_uri(),)),))
        kept = sum(
            item.bytes_fetched for shape in SHAPES for item in fetch(plan_of(shape, commits), local, mirrors=files)
        )
        print(f"{'all':<16} {totals[0]:>14,} {'':>6} {totals[1]:>14,} {'':>6} {totals[0] / totals[1]:>7.1f}")
        print(f"\nours over file://: {kept:,} bytes kept, {totals[0] / kept:.1f} times fewer than the usual way's")


if __name__ == "__main__":
    main()
