"""Floods without a token: headers without end, half-open requests, slow readers; memory and /health meanwhile."""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.index_wheels import make_wheel
from tests.support.running import Running, running
from wheelsmith.index.publish import publish
from wheelsmith.server.limits import Gate, address_of
from wheelsmith.server.timeouts import MAX_HEAD, MAX_URL

pytestmark = pytest.mark.e2e


@pytest.fixture(name="server")
def server_fixture(tmp_path: Path) -> Iterator[Running]:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    with running(tmp_path / "dist") as server:
        yield server


def _said(server: Running, data: bytes) -> bytes:
    """What is answered to these bytes, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        with contextlib.suppress(OSError):
            for start in range(0, len(data), 1 << 16):
                connection.sendall(data[start : start + (1 << 16)])
        connection.settimeout(15)
        answer = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(1 << 16):
                answer += chunk
        return answer


HOST = b"Host: x\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * (1 << 17) + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 40_000 + b"\r\n", 431),
        (b"GET /" + b"a" * (MAX_URL + 1) + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST /upload/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", 413),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\nhello", 400),
        (b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\nY: b\r\n\r\n", 400),
        (b"GET /health HTTP/9.9\r\n" + HOST + b"\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00" + bytes(100), 400),
    ],
)
def test_what_is_no_plain_request_is_refused_and_the_connection_ends(
    server: Running, request_: bytes, status: int
) -> None:
    answer = _said(server, request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert server.ask("/health").status == 200


def test_headers_just_below_the_limit_are_read(server: Running) -> None:
    headers = b"GET /health HTTP/1.1\r\n" + HOST + b"Connection: close\r\nX: " + b"a" * (MAX_HEAD - 200) + b"\r\n\r\n"
    assert _said(server, headers).startswith(b"HTTP/1.1 200 ")


def test_endless_headers_cost_no_memory(server: Running) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(2000):
            sent += connection.send(b"a" * (1 << 17))
    assert sent < 64 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # kB


def test_pipelined_requests_are_answered_in_order_and_bounded(server: Running) -> None:
    page, health = b"GET /simple/leaf/ HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /health HTTP/1.1\r\n" + HOST
    answer = _said(server, page + health + b"\r\n" + page + health + b"Connection: close\r\n\r\n")
    kinds = [part.partition(b"\r\n\r\n")[2][:2] for part in answer.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert kinds == [b"<!", b"ok", b"<!", b"ok"]
    many = _said(server, page * 5000)
    assert many.count(b"HTTP/1.1 200 OK") <= 64
    assert server.ask("/health").status == 200


def test_health_answers_while_two_thousand_half_open_requests_stand(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    # Nobody is cut off for slowness: an answer that waited for them would never come.
    with running(tmp_path / "dist", request_seconds=3600) as server, contextlib.ExitStack() as held:
        for _ in range(2000):
            one = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            with contextlib.suppress(OSError):
                one.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        for path in ("/health", "/metrics", "/simple/leaf/"):
            assert server.ask(path).status == 200
        one.setblocking(False)
        with pytest.raises(BlockingIOError):  # it still stands
            one.recv(1)


def test_monitoring_answers_while_slow_readers_hold_everything(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "big", "1.0", code="#" * 2**23)], tmp_path / "dist")
    with running(tmp_path / "dist", max_per_address=10) as server, contextlib.ExitStack() as held:
        for _ in range(20):
            one = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            one.sendall(b"GET /big-1.0-py3-none-any.whl HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.5)
        assert server.ask("/big-1.0-py3-none-any.whl").status == 503
        assert server.ask("/health").status == 200
        assert server.ask("/metrics").status == 200


class _One:
    def __init__(self, address: str) -> None:
        self.address = address
        self.gone = False

    def give_up(self) -> None:
        self.gone = True


def test_who_waits_longest_goes_first_and_who_works_stays() -> None:
    gate = Gate(8, 4, 2)
    ours = [_One("a") for _ in range(4)]
    assert all(gate.opened(one) for one in ours)
    assert gate.works(ours[0])
    fifth, sixth = _One("a"), _One("a")
    assert gate.opened(fifth)
    assert gate.opened(sixth)  # the fifth that waits
    assert [one.gone for one in (*ours, fifth, sixth)] == [False, True, False, False, False, False]
    gate.closed(ours[1])
    others = [_One("b") for _ in range(4)]
    assert all(gate.opened(one) for one in others)  # nine in all
    assert ours[2].gone
    assert not ours[0].gone


def test_addresses_of_one_ipv6_network_count_together() -> None:
    assert address_of(("2001:db8::1", 1)) == address_of(("2001:db8::ffff", 2)) == "2001:db8::/64"
    assert address_of(("::ffff:10.0.0.1", 1)) == address_of(("10.0.0.1", 2))
