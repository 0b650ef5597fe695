"""What pip and uv fetch to resolve a large wheel: pages and METADATA, not one byte of the wheel."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from uv import find_uv_bin

from wheelsmith.index.publish import publish

JSON = "application/vnd.pypi.simple.v1+json"


class Meter:
    """A static server that counts the bytes it sends, by path, and serves JSON to those who accept it."""

    def __init__(self, folder: Path, *, offers_json: bool) -> None:
        self.sent: dict[str, int] = {}
        sent = self.sent

        class Handler(SimpleHTTPRequestHandler):
            def send_head(self):
                self.asked = self.path
                if self.path.endswith("/"):
                    wants_json = offers_json and JSON in self.headers.get("Accept", "")
                    self.path += "index.json" if wants_json else "index.html"
                return super().send_head()

            def guess_type(self, path: str | os.PathLike[str]) -> str:
                return JSON if str(path).endswith("index.json") else super().guess_type(path)

            def copyfile(self, source, outputfile) -> None:
                while chunk := source.read(1 << 16):
                    outputfile.write(chunk)
                    sent[self.asked] = sent.get(self.asked, 0) + len(chunk)

            def log_message(self, *arguments: object) -> None:
                sent.setdefault(self.asked, 0)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def large_wheel(folder: Path, size: int) -> Path:
    """A wheel with one stored member of `size` zero bytes."""
    folder.mkdir()
    path = folder / "large-1.0+cu130-py3-none-any.whl"
    info = "large-1.0+cu130.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open(zipfile.ZipInfo("large/weights.bin"), "w", force_zip64=True) as member:
            for _ in range(size >> 20):
                member.write(bytes(1 << 20))
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: large\nVersion: 1.0+cu130\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


pytestmark = pytest.mark.e2e

CASES = [(client, page, place, 20) for client in ("pip", "uv") for page in ("json", "html") for place in ("", "cu130/")]
LARGE = [(client, "json", "", 500) for client in ("pip", "uv")]


@pytest.fixture(name="root")
def root_fixture(tmp_path: Path) -> Iterator[Path]:
    """The folder of the test, emptied afterwards: the files are large."""
    yield tmp_path
    shutil.rmtree(tmp_path / "in")
    shutil.rmtree(tmp_path / "dist")


@pytest.mark.parametrize(("client", "page", "place", "megabytes"), [*CASES, *LARGE])
def test_resolving_a_large_wheel_costs_some_hundred_bytes(
    root: Path, client: str, page: str, place: str, megabytes: int
) -> None:
    (published,) = publish([large_wheel(root / "in", megabytes << 20)], root / "dist")
    meter = Meter(root / "dist", offers_json=page == "json")
    try:
        version, sha256 = _resolve(client, f"{meter.url}/{place}simple/", root)
    finally:
        meter.close()
    assert (version, sha256) == ("1.0+cu130", published.sha256)
    total = sum(meter.sent.values())
    print(f"{client}, {published.size:,} bytes: {total} bytes sent: {meter.sent}")
    assert set(meter.sent) == {f"/{place}simple/large/", "/large-1.0%2Bcu130-py3-none-any.whl.metadata"}
    assert 0 < total < 1000


def _resolve(client: str, url: str, home: Path) -> tuple[str, str]:
    """What the client chooses for `large`: version and SHA-256."""
    environment = {"PATH": os.defpath, "HOME": str(home), "PIP_CONFIG_FILE": os.devnull}
    if client == "pip":
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--no-cache-dir", "--disable-pip-version-check", "--report", "-", "--index-url", url, "large"]
        report = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
        (chosen,) = report["install"]
        return chosen["metadata"]["version"], chosen["download_info"]["archive_info"]["hashes"]["sha256"]
    command = [find_uv_bin(), "pip", "compile", "-", "--no-cache", "--no-config", "--generate-hashes"]
    command += ["--python", sys.executable, "--default-index", url]
    solved = subprocess.run(command, env=environment, input="large", capture_output=True, text=True, check=True).stdout
    return re.search(r"large==(\S+)", solved)[1], re.search(r"sha256:(\w+)", solved)[1]
