"""What it costs pip and uv to resolve a project with many versions from the server: bytes, requests, seconds.

    python -m benchmarks.index_resolve [--versions 500] [--rounds 3]

The index is ours, behind a small server that counts; each client starts with an empty cache. Bytes are
the bodies that the server sent. The same run asks for the same project without JSON and without METADATA files, as an
index has it that only lists links, so that ratios can be read off.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uv import find_uv_bin

from benchmarks.index_publish import make_wheel
from wheelsmith.index.publish import publish

if TYPE_CHECKING:
    from collections.abc import Iterator

_JSON = "application/vnd.pypi.simple.v1+json"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=5, help="size of the newest wheel")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "in").mkdir()
        wheels = [make_wheel(work / "in", "leaf", f"1.{number}") for number in range(options.versions - 1)]
        wheels.append(large_wheel(work / "in", options.megabytes))
        publish(wheels, work / "dist")
        size = wheels[-1].stat().st_size
        print(f"{options.versions} versions, the newest has {size:,} bytes; median of {options.rounds} rounds")
        for client in ("pip", "uv"):
            for plain in (False, True):
                with counting(work / "dist", plain=plain) as (url, sent):
                    seconds = statistics.median(resolve(client, url, work) for _ in range(options.rounds))
                    count, total = len(sent) / options.rounds, sum(sent) / options.rounds
                kind = "links only" if plain else "JSON and METADATA"
                print(f"  {client:<4}{kind:<18}{seconds:6.2f} s{count:6.1f} requests{total:14,.0f} bytes")


def large_wheel(folder: Path, megabytes: int) -> Path:
    """The newest version, with bytes that cannot be packed."""
    import zipfile

    path = make_wheel(folder, "leaf", "2.0")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo("leaf_data.bin"), os.urandom(megabytes << 20))
    return path


@contextlib.contextmanager
def counting(root: Path, *, plain: bool) -> Iterator[tuple[str, list[int]]]:
    """A static server that notes the size of each body; `plain`: HTML without attributes, and no METADATA."""
    sent: list[int] = []

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.translate_path(self.path)
            if self.path.endswith("/"):
                kind = "json" if not plain and _JSON in self.headers.get("Accept", "") else "html"
                path = f"{path}/index.{kind}"
            if not Path(path).is_file() or (plain and path.endswith(".metadata")):
                self.send_error(404)
                return
            data = Path(path).read_bytes()
            if plain and path.endswith(".html"):
                data = re.sub(rb' data-[a-z-]+="[^"]*"', b"", data)
            ranged = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            total = len(data)
            if ranged:
                start = int(ranged[1]) if ranged[1] else total - int(ranged[2])
                end = int(ranged[2]) if ranged[1] and ranged[2] else total - 1
                data = data[start : end + 1]
            self.send_response(206 if ranged else 200)
            if ranged:
                self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{total}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", _JSON if path.endswith(".json") else self.guess_type(path))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            sent.append(len(data))
            with contextlib.suppress(OSError):
                self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple/", sent
    finally:
        server.shutdown()
        server.server_close()


def resolve(client: str, url: str, home: Path) -> float:
    """Seconds that a client takes to choose a version."""
    environment = {"PATH": os.defpath, "HOME": str(home), "PIP_CONFIG_FILE": os.devnull}
    if client == "pip":
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--no-cache-dir",
        ]
        command += ["--disable-pip-version-check", "--index-url", url, "leaf"]
    else:
        command = [find_uv_bin(), "pip", "compile", "-", "--no-cache", "--no-config", "--quiet", "--default-index", url]
        command += ["--python", sys.executable]
    started = time.perf_counter()
    subprocess.run(command, env=environment, input=b"leaf", stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
