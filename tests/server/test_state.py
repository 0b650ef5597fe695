"""What the server keeps for itself, where it may write nothing, and how it is bounded; several processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.index_wheels import make_wheel
from tests.support.running import running
from wheelsmith.errors import UsageError
from wheelsmith.index.publish import publish
from wheelsmith.server.audit import AuditLog
from wheelsmith.server.proxy import Proxy
from wheelsmith.server.run import serve
from wheelsmith.server.settings import Settings

NAME = "leaf-1.0-py3-none-any.whl"


def _snapshot(root: Path) -> dict[str, int]:
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in root.rglob("*")}


def test_read_only_serves_and_touches_nothing(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "in", "leaf", "1.0")
    publish([wheel], tmp_path / "dist")
    before = _snapshot(tmp_path / "dist")
    with running(tmp_path / "dist", read_only=True, state=tmp_path / "state") as server:
        token = server.token(publish=("leaf",))
        assert server.ask("/health").status == 200
        assert server.ask("/simple/leaf/").status == 200
        assert server.ask(f"/{NAME}").body == wheel.read_bytes()
        refused = server.upload(wheel.read_bytes(), NAME, token)
        assert (refused.status, refused.body) == (403, b"This server takes no uploads: it serves read-only.\n")
        assert server.audit()[-1]["why"] == "read-only"
    assert _snapshot(tmp_path / "dist") == before


def test_read_only_without_a_place_of_its_own_writes_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    before = _snapshot(tmp_path / "dist")
    with running(tmp_path / "dist", read_only=True) as server:
        assert server.upload(b"", NAME, None).status == 403
    assert _snapshot(tmp_path / "dist") == before
    assert '"why": "read-only"' in caplog.text  # the program's own log has what the audit log would


def test_read_only_needs_an_index(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no index"), running(tmp_path / "dist", read_only=True):
        pass
    assert not (tmp_path / "dist").exists()


def test_nothing_of_the_servers_own_is_in_the_index_with_state(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    with running(tmp_path / "dist", state=tmp_path / "state") as server:
        token = server.token(publish=("twig",))
        content = make_wheel(tmp_path / "in", "twig", "1.0").read_bytes()
        assert server.upload(content, "twig-1.0-py3-none-any.whl", token).status == 200
    assert not {"tokens", "audit.jsonl", "incoming"} & {path.name for path in (tmp_path / "dist/.wheelsmith").iterdir()}
    assert oct((tmp_path / "state/tokens").stat().st_mode)[-3:] == "700"


def test_the_audit_log_turns_and_loses_no_line(tmp_path: Path) -> None:
    logs = [AuditLog(tmp_path / "audit.jsonl", 2000) for _ in range(2)]  # as two processes would
    for number in range(60):
        logs[number % 2].write("event", number=number)
    files = [tmp_path / "audit.jsonl", *(tmp_path / f"audit.jsonl.{n}" for n in range(1, 6))]
    lines = [json.loads(line)["number"] for path in files if path.exists() for line in path.read_text().splitlines()]
    assert sorted(lines) == list(range(60))
    assert all(path.stat().st_size < 2200 for path in files if path.exists())
    for number in range(600):
        logs[0].write("event", number=number)
    assert sorted(path.name for path in tmp_path.glob("audit.jsonl*") if path.suffix != ".lock") == [
        path.name for path in files
    ]
    (tmp_path / "audit.jsonl").rename(tmp_path / "elsewhere")  # logrotate
    logs[1].write("event", number=-1)
    assert json.loads((tmp_path / "audit.jsonl").read_text())["number"] == -1
    assert oct((tmp_path / "audit.jsonl").stat().st_mode)[-3:] == "600"


def test_the_cache_of_the_upstream_stays_below_its_limit(tmp_path: Path) -> None:
    from wheelsmith.server.metrics import Metrics

    settings = Settings(tmp_path / "dist", upstream="http://127.0.0.1:1/", allow=("x",), proxy=True, max_cache=10_000)
    proxy = Proxy(settings, Metrics())
    files = settings.private_folder / "upstream/files"
    for number in range(5):
        (files / f"{number:064}").write_bytes(bytes(3000))
        os.utime(files / f"{number:064}", (number, number))
    (files / "half.tmp").write_bytes(bytes(9000))  # somebody is at it
    os.utime(files / f"{0:064}")  # asked for just now
    proxy._make_room(3000)
    assert sorted(int(path.name) for path in files.iterdir() if path.suffix != ".tmp") == [0, 4]
    assert (files / "half.tmp").exists()


def test_a_bucket_has_one_process(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 processes"):
        serve(Settings("s3://wheels/a", state=tmp_path), "127.0.0.1", 0, workers=2, ready=print)


@pytest.mark.e2e
def test_workers_share_a_port_their_numbers_and_their_end(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    command = [sys.executable, "-m", "wheelsmith", "index", "serve", "--index", str(tmp_path / "dist"), "--port", "0"]
    with subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.PIPE, text=True) as parent:
        try:
            found = re.search(r"http://127\.0\.0\.1:\d+/", parent.stdout.readline())
            children = _children(parent.pid, 2)
            for _ in range(40):
                assert urllib.request.urlopen(f"{found[0]}simple/leaf/", timeout=30).status == 200
            numbers = urllib.request.urlopen(f"{found[0]}metrics", timeout=30).read().decode()
            line = next(line for line in numbers.splitlines() if 'kind="page"' in line and "_total" in line)
            assert float(line.split()[-1]) == 40
            os.kill(children[0], signal.SIGKILL)
            children = _children(parent.pid, 2, but=children[0])
            assert urllib.request.urlopen(f"{found[0]}health", timeout=30).status == 200
        finally:
            parent.send_signal(signal.SIGTERM)
            assert parent.wait(30) == 0
    for _ in range(50):
        if not any(Path(f"/proc/{child}").exists() for child in children):
            break
        time.sleep(0.1)
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def _children(pid: int, count: int, but: int = 0) -> list[int]:
    for _ in range(300):
        found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        if len(found) == count and but not in found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{found} are not {count}")
