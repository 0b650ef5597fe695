"""POST: what is published, and what is refused, logged and not kept."""

import contextlib
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.attesting import attest
from tests.support.index_wheels import make_wheel
from tests.support.running import Running, form, running, until
from wheelsmith.errors import UsageError
from wheelsmith.server.tokens import TokenBook

pytestmark = pytest.mark.e2e


@pytest.fixture(name="server")
def server_fixture(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "dist", max_upload=2**20, max_unpacked=2**22, stall_seconds=1, request_seconds=1) as it:
        yield it


def test_an_upload_is_published_with_its_pages(server: Running, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "in", "leaf", "1.0+cu130")
    digests = {
        "md5_digest": hashlib.md5(wheel.read_bytes()).hexdigest(),
        "blake2_256_digest": hashlib.blake2b(wheel.read_bytes(), digest_size=32).hexdigest(),
    }
    token = server.token(publish=("leaf",))

    answer = server.upload(wheel.read_bytes(), wheel.name, token, digests)

    assert (answer.status, answer.body) == (200, b"Published.\n")
    assert server.ask("/leaf-1.0%2Bcu130-py3-none-any.whl").body == wheel.read_bytes()
    assert b"leaf-1.0+cu130" in server.ask("/simple/leaf/").body
    assert b"leaf-1.0+cu130" in (tmp_path / "dist/project/leaf/index.html").read_bytes()
    assert server.upload(wheel.read_bytes(), wheel.name, token).body == b"Already there, with the same bytes.\n"
    line = server.audit()[1]
    assert (line["event"], line["result"], line["file"]) == ("published", "new", wheel.name)
    assert line["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert line["token"] == token.split("_")[1]
    assert token not in server.settings.audit.read_text()
    assert list(server.settings.incoming.glob("*/*")) == []


def test_attestations_are_stored_and_served_or_refused_with_the_upload(server: Running, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "in", "leaf", "1.0")
    token = server.token(publish=("leaf",))
    for wrong in ("[]", "{", json.dumps([attest(wheel, sha256="0" * 64)]), " " * (2**20 - 1) + "[]"):
        answer = server.upload(wheel.read_bytes(), NAME, token, {"attestations": wrong})
        assert answer.status in {400, 413}, answer.body
    assert server.stored() == set()

    given = [attest(wheel)]
    assert server.upload(wheel.read_bytes(), NAME, token, {"attestations": json.dumps(given)}).status == 200

    page = server.ask("/simple/leaf/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    (file,) = json.loads(page.body)["files"]
    assert file["provenance"] == f"../../{NAME}.provenance"
    served = server.ask(f"/{NAME}.provenance")
    assert served.headers["content-type"] == "application/vnd.pypi.integrity.v1+json"
    (bundle,) = json.loads(served.body)["attestation_bundles"]
    assert bundle == {
        "publisher": {"kind": "wheelsmith-token", "claims": {"token": token.split("_")[1]}},
        "attestations": given,
    }


NAME = "leaf-1.0-py3-none-any.whl"
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize(
    ("why", "status", "made", "filename", "fields"),
    [
        ("digest", 400, {}, NAME, {"sha256_digest": OTHER}),
        ("digest", 400, {}, NAME, {"sha256_digest": None, "md5_digest": "0" * 32}),
        ("digest", 400, {}, NAME, {"blake2_256_digest": "é"}),
        ("digest", 400, {}, NAME, {"md5_digest": "0" * 32}),
        ("identity", 400, {}, NAME, {"name": "twig"}),
        ("identity", 400, {}, NAME, {"version": "not a version"}),
        ("wheel", 400, {"says": "twig"}, NAME, {}),
        ("wheel", 400, {"tag": "cp312-cp312-linux_x86_64"}, NAME, {}),  # the file was renamed: its WHEEL says so
        ("wheel", 400, {}, "leaf-2.0-py3-none-any.whl", {}),
        ("scope", 403, {"name": "twig"}, "twig-1.0-py3-none-any.whl", {}),
        ("filename", 400, {}, "../leaf-1.0-py3-none-any.whl", {}),
        ("filename", 400, {}, "/tmp/leaf-1.0-py3-none-any.whl", {}),
        ("filename", 400, {}, "leaf-1.0-py3-none-any.whl/..", {"name": "leaf", "version": "1.0"}),
        ("filename", 400, {}, "leaf-1.0.tar.gz", {}),
        ("filename", 400, {}, ".leaf-1.0-py3-none-any.whl", {}),
        ("filetype", 400, {}, NAME, {"filetype": "sdist"}),
        ("form", 400, {}, NAME, {":action": "submit"}),
        ("form", 400, {}, NAME, {"name": "x" * 5000}),
        ("too-large", 400, {"code": "#" * 2**20 * 5}, NAME, {}),
    ],
)
def test_a_lie_is_refused_logged_and_not_kept(
    server: Running, tmp_path: Path, why: str, status: int, made: dict, filename: str, fields: dict
) -> None:
    wheel = make_wheel(tmp_path / "in", **{"name": "leaf", "version": "1.0", **made})
    content = wheel.read_bytes()
    if why == "too-large":
        content = _squeezed(tmp_path, content)
    answer = server.upload(content, filename, server.token(publish=("leaf",)), fields)
    assert answer.status == status, answer.body
    line = server.audit()[-1]
    assert (line["event"], line["why"], line["status"]) == ("refused", why, status)
    assert server.stored() == set()


def _squeezed(tmp_path: Path, content: bytes) -> bytes:
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.namelist():
            target.writestr(member, source.read(member))
    return packed.getvalue()


def test_other_bytes_under_a_published_name_are_409(server: Running, tmp_path: Path) -> None:
    token = server.token(publish=("*",))
    first = make_wheel(tmp_path / "a", "leaf", "1.0").read_bytes()
    server.upload(first, NAME, token)
    answer = server.upload(make_wheel(tmp_path / "b", "leaf", "1.0", code="evil").read_bytes(), NAME, token)
    assert answer.status == 409
    assert b"already exist" in answer.body  # what twine --skip-existing looks for
    assert server.ask(f"/{NAME}").body == first


def test_tokens_end(server: Running, tmp_path: Path) -> None:
    content = make_wheel(tmp_path / "in", "leaf", "1.0").read_bytes()
    revoked, expired, reader = (
        server.token(publish=("leaf",)),
        server.token(publish=("leaf",), days=1e-9),
        server.token(read=True),
    )
    assert server.book.revoke(revoked.split("_")[1]).revoked is not None
    stolen = revoked[:17] + "_" + "A" * 43
    for token, status, why in (
        (None, 401, "token-missing"),
        (revoked, 401, "token-revoked"),
        (expired, 401, "token-expired"),
        (stolen, 401, "token-unknown"),
        (reader, 403, "scope"),
    ):
        assert server.upload(content, NAME, token).status == status
        assert server.audit()[-1]["why"] == why
    assert server.stored() == set()


def test_tokens_are_stored_hashed_and_privately(tmp_path: Path) -> None:
    book = TokenBook(tmp_path / "tokens")
    token, secret = book.create("ci", read=False, publish=("torch-*",), days=None)
    (path,) = book.folder.iterdir()
    assert secret not in path.read_text()
    assert secret.split("_", 2)[2] not in path.read_text()
    assert book.folder.stat().st_mode & 0o777 == 0o700
    assert book.check(secret) == token
    assert book.check(secret[:-1] + "x") is None or secret.endswith("x")
    assert token.may_publish("torch-scatter")
    assert not token.may_publish("pytorch-scatter")
    wrongs: list[dict[str, Any]] = [{"publish": ("Torch",)}, {"publish": ()}, {"publish": ("a",), "days": 0}]
    for wrong in wrongs:
        with pytest.raises(UsageError):
            book.create("x", **{"read": False, "days": 1, **wrong})


def test_sizes_are_limited_before_anything_is_read(server: Running) -> None:
    token = server.token(publish=("leaf",))
    head = f"POST /upload/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    with _connected(server) as connection:
        connection.sendall(f"{head}Content-Length: {2**20 + 1}\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 413"
    with _connected(server) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 411"
    with _connected(server) as connection:  # more than 64 bits
        connection.sendall(f"{head}Content-Length: 99999999999999999999\r\n\r\n".encode())
        assert connection.recv(12) in {b"HTTP/1.1 413", b"HTTP/1.1 400"}


def test_half_an_upload_leaves_nothing(server: Running, tmp_path: Path) -> None:
    head, body = _request(server, tmp_path)
    with _connected(server) as connection:
        connection.sendall(head + body[: len(body) // 2])
    until(lambda: server.audit()[-1].get("why") == "half")
    until(lambda: server.stored() == set())


def test_a_form_that_ends_early_leaves_nothing(server: Running, tmp_path: Path) -> None:
    _, body = _request(server, tmp_path)
    token = server.token(publish=("leaf",))
    for wrong in (body[:-9], body.replace(b"xyz", b"abc"), b"", body.replace(b'"content"', b'"other"')):
        answer = server.ask(
            "/upload/",
            "POST",
            {"Content-Type": "multipart/form-data; boundary=xyz", "Authorization": f"Bearer {token}"},
            wrong,
        )
        assert answer.status == 400, wrong
    assert server.stored() == set()


def test_a_large_upload_and_the_next_request_share_a_connection(tmp_path: Path) -> None:
    """What is left of a body in the last piece is not taken for headers."""
    import http.client
    import random

    noise = random.Random(1).randbytes(2_000_000)
    content = make_wheel(tmp_path / "in", "leaf", "1.0", more={"leaf.bin": noise}).read_bytes()
    with running(tmp_path / "dist") as server:
        token = server.token(publish=("leaf",))
        body, content_type = form(content, NAME)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for _ in range(3):
            headers = {"Content-Type": content_type, "Authorization": f"Bearer {token}"}
            connection.request("POST", "/upload/", body, headers)
            answer = connection.getresponse()
            assert (answer.status, answer.read()[:3]) in {(200, b"Pub"), (200, b"Alr")}
            connection.request("GET", "/simple/leaf/")
            assert connection.getresponse().read().startswith(b"<!DOCTYPE html>")
        connection.close()


def test_an_uploader_who_stalls_is_cut_off(server: Running, tmp_path: Path) -> None:
    head, body = _request(server, tmp_path)
    with _connected(server) as connection:
        connection.sendall(head + body[:-50])
        until(lambda: [entry.get("why") for entry in server.audit()[-1:]] == ["slow"])
    until(lambda: server.stored() == set())


def test_slow_headers_are_cut_off(server: Running) -> None:
    with _connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert _letters_taken(connection) < LETTERS


def test_slow_headers_after_an_answer_are_cut_off(server: Running) -> None:
    with _connected(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        connection.sendall(b"GET /")
        assert _letters_taken(connection) < LETTERS


def test_a_reader_who_takes_nothing_is_cut_off(tmp_path: Path) -> None:
    from wheelsmith.index.publish import publish

    big = make_wheel(tmp_path / "in", "big", "1.0", code="#" * 2**25)
    publish([big], tmp_path / "dist")
    with running(tmp_path / "dist", stall_seconds=1) as server, _connected(server) as connection:
        connection.sendall(b"GET /big-1.0-py3-none-any.whl HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(2.5)
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(2**20):
                taken += len(chunk)
        assert taken < big.stat().st_size


def _request(server: Running, tmp_path: Path) -> tuple[bytes, bytes]:
    body, content_type = form(make_wheel(tmp_path / "in", "leaf", "1.0").read_bytes(), NAME)
    token = server.token(publish=("leaf",))
    head = (
        f"POST /upload/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


#: Ten a second: many times longer than `request_seconds`, on a busy machine, too.
LETTERS = 300


def _letters_taken(connection: socket.socket) -> int:
    """How many letters can be sent, ten a second, before the connection ends."""
    taken = 0
    with contextlib.suppress(OSError):
        while taken < LETTERS:
            connection.sendall(b"a")
            time.sleep(0.1)
            taken += 1
    return taken


def _connected(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)
