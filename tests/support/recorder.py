"""A package index on loopback that remembers all it was asked for: with a network it asks another, without it replays.

    python recorder.py FOLDER PORT [UPSTREAM]

Without UPSTREAM it only replays. It speaks PEP 691 JSON, which pip, uv and pypi-simple all understand.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 8767
JSON = "application/vnd.pypi.simple.v1+json"


class Recorder(BaseHTTPRequestHandler):
    folder: Path
    upstream: str | None

    def do_GET(self) -> None:
        if login := self.headers.get("Authorization"):
            (self.folder / "login").write_text(login)
        path = urllib.parse.unquote(self.path)
        if path.startswith("/simple/"):
            page = self.fetch(f"{self.upstream or ''}{path.removeprefix('/simple/')}", f"page {path}")
            self.reply(page if page is None else self.local(page), JSON)
        elif path.startswith("/files/"):
            self.reply(self.fetch(path.removeprefix("/files/"), path), "application/octet-stream")
        else:
            self.reply(None, "")

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def fetch(self, url: str, key: str) -> bytes | None:
        kept = self.folder / hashlib.sha256(key.encode()).hexdigest()
        if kept.is_file():
            return kept.read_bytes()
        if self.upstream is None:
            return None
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": JSON})) as answer:
                data = answer.read()
        except urllib.error.HTTPError:
            return None
        temporary = kept.with_suffix(f".{id(self)}")
        temporary.write_bytes(data)
        temporary.rename(kept)
        return data

    def local(self, page: bytes) -> bytes:
        """The page with files that come from here."""
        data = json.loads(page)
        for file in data["files"]:
            file["url"] = "/files/" + urllib.parse.quote(file["url"], safe="")
        return json.dumps(data).encode()

    def reply(self, data: bytes | None, kind: str) -> None:
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data or b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def recording(folder: Path, upstream: str) -> Iterator[str]:
    """Run one; the URL of its `simple/`. Always at one port: layers are cached by their build arguments."""
    import threading

    folder.mkdir(parents=True, exist_ok=True)
    handler = type("Handler", (Recorder,), {"folder": folder, "upstream": upstream})
    with ThreadingHTTPServer(("127.0.0.1", PORT), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple/"
        server.shutdown()


if __name__ == "__main__":
    Recorder.folder = Path(sys.argv[1])
    Recorder.upstream = sys.argv[3] if len(sys.argv) > 3 else None
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Recorder).serve_forever()
