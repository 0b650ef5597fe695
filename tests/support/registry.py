"""A registry of images on loopback that keeps nothing but digests, and counts what is pushed.

Just enough of the OCI Distribution Specification 1.1 for `docker push`, `podman push` and `buildah push`.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Registry:
    """What was pushed: sizes of blobs by digest, and the tags."""

    host: str = ""
    blobs: dict[str, int] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    def take(self) -> tuple[int, int]:
        """How many blobs came since the last call, and their bytes; what is known stays known."""
        new = [size for size in self.blobs.values() if size >= 0]
        self.blobs = dict.fromkeys(self.blobs, -1)
        return len(new), sum(new)


@contextlib.contextmanager
def registry() -> Iterator[Registry]:
    """Run one."""
    told = Registry()
    uploads: dict[str, bytearray] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                data = bytearray()
                while size := int(self.rfile.readline(), 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return bytes(data)
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def reply(self, code: int, **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.reply(200 if self.path == "/v2/" else 404)

        def do_HEAD(self) -> None:
            digest = self.path.rpartition("/")[2]
            known = digest in told.blobs
            self.reply(200 if known else 404, **({"Docker_Content_Digest": digest} if known else {}))

        def do_POST(self) -> None:
            self.body()
            place = f"{self.path.partition('?')[0].rstrip('/')}/{len(uploads)}"
            uploads[place] = bytearray()
            self.reply(202, Location=place, Range="0-0")

        def do_PATCH(self) -> None:
            uploads[self.path.partition("?")[0]] += self.body()
            place = self.path.partition("?")[0]
            self.reply(202, Location=place, Range=f"0-{len(uploads[place]) - 1}")

        def do_PUT(self) -> None:
            place, data = self.path.partition("?")[0], self.body()
            if "/manifests/" in place:
                told.tags.append(place.rpartition("/")[2])
            else:
                data = bytes(uploads.pop(place)) + data
                told.blobs[f"sha256:{hashlib.sha256(data).hexdigest()}"] = len(data)
            self.reply(201, Docker_Content_Digest=f"sha256:{hashlib.sha256(data).hexdigest()}", Location=place)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told.host = f"127.0.0.1:{server.server_port}"
        yield told
        server.shutdown()
