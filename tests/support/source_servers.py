"""Plans, repositories and servers that the tests of this folder make for themselves."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wheelsmith.gpu.arch import ArchSet
from wheelsmith.planning.model import Expectation, GitSource, Patch, Plan, Source, Target, Tree


def plan_of(source: Source, *, trees: tuple[Tree, ...] = (), patches: tuple[Patch, ...] = ()) -> Plan:
    return Plan(
        name="demo",
        version="1.0",
        local_version="cu130",
        target=Target("3.12", ArchSet.parse("8.6"), "13.0", None),
        source=source,
        trees=trees,
        patches=patches,
        requires=(),
        lock=None,
        config_settings=(),
        environment=(),
        promises=(),
        exclude=(),
        imports=(),
        expect=Expectation(1, 1, 1),
        recipe="demo.toml",
        warnings=(),
    )


class Upstream:
    """A git repository with one commit after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("config", "uploadpack.allowFilter", "true")

    def git(self, *arguments: str) -> str:
        names = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = os.environ | names | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, bytes]) -> str:
        for name, data in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(data)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")
        return self.git("rev-parse", "HEAD")

    def source(self, commit: str, *, tag: str | None = None, sparse: tuple[str, ...] = ()) -> GitSource:
        return GitSource(self.path.as_uri(), commit, tag, sparse)


class Server:
    """Answers GET with the bytes in `pages`; remembers what was asked for, and with which Authorization."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.asked: list[str] = []
        self.logins: list[str | None] = []
        self.cut = 0  # bytes that are announced and not sent
        self.busy = 0  # requests to answer with 503
        self.host = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}"


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            server.logins.append(self.headers["Authorization"])
            kind, data = server.pages.get(self.path.partition("?")[0], ("", b""))
            server.busy -= 1
            self.send_response(503 if server.busy >= 0 else 200 if kind else 404)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(data) + server.cut))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        server.host = f"127.0.0.1:{httpd.server_address[1]}"
        threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        httpd.shutdown()


def files_of(root: Path) -> dict[str, bytes]:
    """Every file but the one that we add to the package itself, which has a test of its own."""
    found = {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
    return {name: data for name, data in found.items() if name not in {".git_archival.txt", "src/.git_archival.txt"}}
