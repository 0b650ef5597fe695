"""CPU-seconds (user and system, least of five) of what people wait for at a prompt, and of twine's upload beside it.

    python benchmarks/startup.py

Prints one line for each command, with its limit, and the ratio of `publish` to `twine upload` of the same wheel to a
server on this machine. Both are measured in turn, in one run.
"""

from __future__ import annotations

import http.server
import resource
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

_LIMITS = {"--help": 0.15, "plan vllm==0.15.1": 0.4}
_METADATA = "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: benchmark\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


class _Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def seconds(command: list[str], directory: Path) -> float:
    """CPU-seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wheel(directory: Path) -> Path:
    """A wheel with one module."""
    path = directory / "small-1.0-py3-none-any.whl"
    record = "".join(f"small-1.0.dist-info/{name},,\n" for name in ("METADATA", "WHEEL", "RECORD")) + "small.py,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("small.py", "x = 1\n")
        for name, text in (("METADATA", _METADATA), ("WHEEL", _WHEEL), ("RECORD", record)):
            archive.writestr(f"small-1.0.dist-info/{name}", text)
    return path


def main() -> None:
    """Measure and print."""
    ours = [sys.executable, "-m", "wheelsmith"]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for words, limit in _LIMITS.items():
            least = min(seconds([*ours, *words.split()], directory) for _ in range(5))
            print(f"{words:<20} {least:.2f} CPU-s (at most {limit}: {'yes' if least <= limit else 'NO'})")
        path = wheel(directory)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        twine = [
            sys.executable,
            "-m",
            "twine",
            "upload",
            "--non-interactive",
            "--repository-url",
            url,
            "-u",
            "x",
            "-p",
            "x",
        ]
        publish, upload = [], []
        for number in range(5):
            publish.append(seconds([*ours, "publish", str(path), "--index", f"dist{number}"], directory))
            upload.append(seconds([*twine, str(path)], directory))
        server.shutdown()
    print(f"{'publish':<20} {min(publish):.2f} CPU-s")
    print(f"{'twine upload':<20} {min(upload):.2f} CPU-s; publish / twine {min(publish) / min(upload):.2f} (at most 1)")


if __name__ == "__main__":
    main()
