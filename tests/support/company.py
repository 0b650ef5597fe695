"""A company's network on the loopback interface: servers with certificates of its own authority, and a proxy."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DATA = b"an archive"


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
        # Python 3.13 and newer: a certificate names its authority's key, an authority says that it signs.
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer[0] if issuer else key).public_key()),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=authority,
                crl_sign=authority,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    return key, builder.sign(issuer[0] if issuer else key, hashes.SHA256())


def pem(item) -> bytes:
    if isinstance(item, x509.Certificate):
        return item.public_bytes(serialization.Encoding.PEM)
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return item.private_bytes(*plain)


def make_authority(folder: Path) -> ssl.SSLContext:
    """Write `authority.pem` there; a context for servers on 127.0.0.1 for which it vouches."""
    authority = certificate("company", authority=True)
    key, cert = certificate("server", authority, authority=False)
    (folder / "authority.pem").write_bytes(pem(authority[1]))
    (folder / "server.pem").write_bytes(pem(key) + pem(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


@contextlib.contextmanager
def serving(context: ssl.SSLContext) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The URL of an HTTPS server, and its files by path; it also takes files, as a bucket does."""
    files: dict[str, bytes] = {"/a.tar.gz": DATA}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = files.get(self.path.partition("?")[0])
            kind = "application/vnd.pypi.simple.v1+json" if self.path.endswith("/") else "application/octet-stream"
            self.answer(404 if data is None else 200, data or b"", kind)

        def do_PUT(self) -> None:
            files[self.path.partition("?")[0]] = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(200, b"", "text/plain")

        def answer(self, status: int, data: bytes, kind: str) -> None:
            self.send_response(status)
            head = {"Content-Length": str(len(data)), "Content-Type": kind, "ETag": '"x"'}
            head["Last-Modified"] = "Mon, 01 Jan 2024 00:00:00 GMT"
            for name, value in head.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}", files
    server.shutdown()


@contextlib.contextmanager
def proxying():
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
