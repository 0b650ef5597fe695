"""A real server on loopback, in a thread, and a client that says exactly what it is told."""

import contextlib
import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wheelsmith.server.run import prepare
from wheelsmith.server.settings import Settings
from wheelsmith.server.tokens import TokenBook


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True)
class Running:
    settings: Settings
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def token(self, **scopes) -> str:
        return self.book.create("test", **{"read": False, "publish": (), "days": 1, **scopes})[1]

    @property
    def book(self) -> TokenBook:
        return TokenBook(self.settings.tokens)

    def upload(
        self, content: bytes, filename: str, token: str | None, fields: Mapping[str, str | None] | None = None
    ) -> Answer:
        body, content_type = form(content, filename, fields)
        headers = {"Content-Type": content_type}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.ask("/upload/", "POST", headers, body)

    def audit(self) -> list[dict]:
        return [json.loads(line) for line in self.settings.audit.read_text().splitlines()]

    def stored(self) -> set[str]:
        """Every wheel in the index's directory, hidden or not, and every unfinished upload."""
        root = Path(self.settings.root)
        return {str(path.relative_to(root)) for path in root.rglob("*") if ".whl" in path.name or path.name == "body"}


@contextlib.contextmanager
def running(root: Path | str, **settings) -> Iterator[Running]:
    chosen = Settings(root=root, **settings)
    server, listener = prepare(chosen, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield Running(chosen, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    """Wait for an event, however long a busy machine takes: what ends it if it never comes is the test's timeout."""
    while not condition():
        time.sleep(0.02)


def form(content: bytes, filename: str, fields: Mapping[str, str | None] | None = None) -> tuple[bytes, str]:
    """The form that twine sends; `fields` changes or (None) drops single ones."""
    name, version = filename.split("-")[:2]
    values = {
        ":action": "file_upload",
        "protocol_version": "1",
        "name": name,
        "version": version,
        "filetype": "bdist_wheel",
        "sha256_digest": hashlib.sha256(content).hexdigest(),
        **(fields or {}),
    }
    parts = [
        f'--xyz\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in values.items()
        if value is not None
    ]
    head = f'--xyz\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n\r\n'.encode()
    return b"".join([*parts, head, content, b"\r\n--xyz--\r\n"]), "multipart/form-data; boundary=xyz"
