"""Object stores for tests: Azurite, and what there is of Google's XML API in a hundred lines.

No emulator of GCS from a package registry speaks the XML API that `obstore` uses (`gcp-storage-emulator` has the JSON
API only), so `Gcs` does, as far as the index needs it: generations, conditions on them, lists and multipart uploads.
It follows Google's reference "XML API: request headers, x-goog-if-generation-match"; it is not proof of what GCS does.
"""

import base64
import email.message
import email.utils
import hashlib
import hmac
import http.client
import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # it is public


def make_azure_container(port: int, name: str) -> None:
    """Make a container in Azurite (Azure's "Authorize with Shared Key")."""
    date = email.utils.formatdate(usegmt=True)
    said = f"x-ms-date:{date}\nx-ms-version:2021-12-02\n/{AZURITE_ACCOUNT}/{AZURITE_ACCOUNT}/{name}\nrestype:container"
    signature = hmac.new(base64.b64decode(AZURITE_KEY), f"PUT{chr(10) * 12}{said}".encode(), hashlib.sha256).digest()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {
        "x-ms-date": date,
        "x-ms-version": "2021-12-02",
        "Authorization": f"SharedKey {AZURITE_ACCOUNT}:{base64.b64encode(signature).decode()}",
        "Content-Length": "0",
    }
    connection.request("PUT", f"/{AZURITE_ACCOUNT}/{name}?restype=container", headers=headers)
    assert connection.getresponse().status == 201
    connection.close()


class Gcs:
    """A bucket of any name on loopback."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.refused = 0
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._count = itertools.count(1)
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _go(self) -> None:
                length = int(self.headers.get("content-length", 0))
                status, headers, body = outer.answer(self.command, self.path, self.headers, self.rfile.read(length))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _go  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: email.message.Message, body: bytes):
        """Status, headers and body for a request."""
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        key = unquote(parts.path).lstrip("/").partition("/")[2]
        with self._lock:
            match method:
                case "GET" if not key:
                    return 200, {}, self._list(query.get("prefix", ""))
                case "POST" if "uploads" in query:
                    self._uploads[key] = {}
                    return (
                        200,
                        {},
                        b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>",
                    )
                case "PUT" if "partNumber" in query:
                    self._uploads[key][int(query["partNumber"])] = body
                    return 200, {"ETag": '"part"'}, b""
                case "POST":
                    made = self._put(key, b"".join(data for _, data in sorted(self._uploads.pop(key).items())))
                    text = f"<CompleteMultipartUploadResult><ETag>{made['ETag']}</ETag></CompleteMultipartUploadResult>"
                    return 200, made, text.encode()
                case "PUT":
                    wanted = headers.get("x-goog-if-generation-match")
                    if wanted is not None and int(wanted) != self.objects.get(key, (b"", 0))[1]:
                        self.refused += 1
                        return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
                    return 200, self._put(key, body), b""
                case _ if key not in self.objects:
                    return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
                case "DELETE":
                    del self.objects[key]
                    return 204, {}, b""
            data, generation = self.objects[key]
            return 200, self._marks(data, generation), data

    def _put(self, key: str, data: bytes) -> dict[str, str]:
        self.objects[key] = data, next(self._count)
        return self._marks(*self.objects[key])

    def _marks(self, data: bytes, generation: int) -> dict[str, str]:
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'  # the same for the same bytes, as in GCS
        when = email.utils.formatdate(usegmt=True)
        return {"ETag": etag, "x-goog-generation": str(generation), "Last-Modified": when}

    def _list(self, prefix: str) -> bytes:
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>x</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, (data, _) in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult>{rows}</ListBucketResult>".encode()
