"""Company networks: a private authority, a proxy, and what is said where there is neither."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import os
import select
import socket
import ssl
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wheelsmith.errors import NetworkError, UsageError
from wheelsmith.events import ignore
from wheelsmith.sources.git_process import list_remote
from wheelsmith.sources.http import download
from wheelsmith.store import Store
from wheelsmith.toolchain.uv import Uv
from wheelsmith.trust import VARIABLES, tls_context

DATA = b"an archive"
DIGEST = hashlib.sha256(DATA).hexdigest()


def certificate(name: str, issuer=None, *, authority: bool):
    """A key, and a certificate for it, by `issuer` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[1].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    return key, builder.sign(issuer[0] if issuer else key, hashes.SHA256())


def pem(item) -> bytes:
    if isinstance(item, x509.Certificate):
        return item.public_bytes(serialization.Encoding.PEM)
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return item.private_bytes(*plain)


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """The URL of an HTTPS server, and the file of the authority that vouches for it."""
    folder = tmp_path_factory.mktemp("company")
    authority = certificate("company", authority=True)
    key, cert = certificate("server", authority, authority=False)
    (folder / "authority.pem").write_bytes(pem(authority[1]))
    (folder / "server.pem").write_bytes(pem(key) + pem(cert))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/a.tar.gz" else 404)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            self.wfile.write(DATA)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}", folder / "authority.pem"
    server.shutdown()


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in (
        *VARIABLES,
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "no_proxy",
        "UV_SYSTEM_CERTS",
    ):
        monkeypatch.delenv(name, raising=False)


def test_a_server_that_nobody_vouches_for_is_named_with_what_to_do(company, tmp_path):
    url, _ = company
    with pytest.raises(NetworkError, match="certificate verify failed") as caught:
        download(f"{url}/a.tar.gz", DIGEST, Store(tmp_path), listener=ignore)
    assert "update-ca-certificates" in caught.value.remedy
    assert "SSL_CERT_FILE" in caught.value.remedy


@pytest.mark.parametrize("variable", VARIABLES)
def test_one_variable_names_the_companys_authority(company, tmp_path, monkeypatch, variable):
    url, authority = company
    place = authority
    if variable == "SSL_CERT_DIR":  # as openssl looks them up: by the hash of the subject
        place = tmp_path / "certs"
        place.mkdir()
        command = ["openssl", "x509", "-hash", "-noout", "-in", authority]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (place / f"{done.stdout.strip()}.0").write_bytes(authority.read_bytes())
    monkeypatch.setenv(variable, str(place))
    assert download(f"{url}/a.tar.gz", DIGEST, Store(tmp_path), listener=ignore) == len(DATA)
    assert isinstance(tls_context(), ssl.SSLContext)


def test_a_variable_that_names_nothing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    with pytest.raises(UsageError, match=r"SSL_CERT_FILE names /nonexistent/ca.pem, which is not there"):
        download("https://127.0.0.1:1/a", DIGEST, Store(tmp_path), listener=ignore)


def test_git_trusts_the_same(company, monkeypatch):
    url, authority = company
    with pytest.raises(NetworkError) as caught:
        list_remote(f"{url}/repository.git")
    assert "SSL_CERT_FILE" in caught.value.remedy
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with pytest.raises(Exception, match=r"no git repository|not found|404"):  # it got as far as the server's answer
        list_remote(f"{url}/repository.git")


def test_uv_trusts_the_same(company, tmp_path, monkeypatch):
    url, authority = company

    def ask():
        Uv(False, f"{url}/simple/", ignore).run(
            "pip", "install", "--target", str(tmp_path / "t"), "--no-cache", "no-such-thing-here", purpose="A test"
        )

    with pytest.raises(NetworkError, match="is not trusted") as caught:
        ask()
    assert "SSL_CERT_FILE" in caught.value.remedy
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with pytest.raises(Exception, match="A test failed") as caught:
        ask()
    assert "not found" in caught.value.detail


@pytest.fixture
def proxy():
    """A proxy for CONNECT; whom it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self):
            asked.append(self.path)
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port))) as far:
                self.send_response(200)
                self.end_headers()
                ends = {self.connection: far, far: self.connection}
                with contextlib.suppress(OSError):
                    while ready := select.select(list(ends), [], [], 20)[0]:
                        for end in ready:
                            data = end.recv(1 << 16)
                            if not data:
                                return
                            ends[end].sendall(data)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()


def test_everything_goes_through_the_proxy_that_one_variable_names(company, proxy, tmp_path, monkeypatch):
    url, authority = company
    address, asked = proxy
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setenv("HTTPS_PROXY", address)
    assert download(f"{url}/a.tar.gz", DIGEST, Store(tmp_path), listener=ignore) == len(DATA)
    with pytest.raises(Exception, match=r"git|repository"):
        list_remote(f"{url}/repository.git")
    with pytest.raises(Exception, match="A test failed"):
        Uv(False, f"{url}/simple/", ignore).run(
            "pip", "install", "--target", str(tmp_path / "t"), "--no-cache", "no-such-thing-here", purpose="A test"
        )
    assert len(asked) >= 3
    assert set(asked) == {url.removeprefix("https://")}
    assert os.environ["HTTPS_PROXY"] == address
