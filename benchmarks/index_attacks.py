"""The attack table: what a hostile client sends to the server, what it is answered, and what it costs.

    python -m benchmarks.index_attacks

In: nothing. Out: tables of attacks on an index with one wheel that `wheelsmith index serve` serves on loopback: uploads
(the answer, the word in the audit log, and the wheels that are stored afterwards: always the one), requests (the
answer, how many there are, and how long `/health` takes then), and floods (memory of the server before and at the most,
and how long `/health` takes meanwhile). The tests hold most of these against literal values; this table is for people.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import io
import json
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import wheelsmith
from wheelsmith.server.settings import Settings
from wheelsmith.server.tokens import TokenBook

NAME = "leaf-1.0-py3-none-any.whl"
ELF = b"\x7fELF\2\1\1" + bytes(9) + b"\3\0" + (183).to_bytes(2, "little") + bytes(44)


def wheel(
    name: str = "leaf",
    tag: str = "py3-none-any",
    inside: str | None = None,
    metadata: bytes = b"",
    version: str = "1.0",
    **more: bytes,
) -> bytes:
    """The bytes of a wheel; `more` are members, with `/` written as `__`, `metadata` further lines of METADATA."""
    target, info = io.BytesIO(), f"leaf-{version}.dist-info"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in more.items():
            archive.writestr(member.replace("leaf_i", info).replace("__", "/").replace("_dot_", "."), data)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode() + metadata
        )
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {inside or tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return target.getvalue()


def bomb() -> bytes:
    """A wheel with a member that says it unpacks to 2 GiB."""
    data = bytearray(wheel())
    entry = data.index(b"PK\1\2")
    data[entry + 24 : entry + 28] = (2**31 - 1).to_bytes(4, "little")
    return bytes(data)


def huge_directory() -> bytes:
    """An archive whose directory would take gigabytes in memory."""
    entries = (b"PK\1\2" + bytes(42)) * 600_000
    return entries + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entries), 0, 0)


def attacks() -> dict[str, tuple[bytes, str, dict[str, str | None]]]:
    """Content, file name and form fields by what they are."""
    good, other = wheel(), "0" * 64
    foreign = "leaf-1.0-cp311-cp311-linux_x86_64.whl"
    other_09, twice = wheel(version="0.9", leaf__x=b"evil"), "py2.py3-none-any"
    lie = json.dumps([{"version": 1, "verification_material": {}, "envelope": {}}])
    return {
        "wrong digest": (good, NAME, {"sha256_digest": other}),
        "only an MD5": (good, NAME, {"sha256_digest": None, "md5_digest": hashlib.md5(good).hexdigest()}),
        "wrong name in METADATA": (wheel("twig"), NAME, {}),
        "wrong name in the form": (good, NAME, {"name": "twig"}),
        "another project": (good, "twig-1.0-py3-none-any.whl", {"name": "twig"}),
        "path in the file name": (good, "../leaf-1.0-py3-none-any.whl", {}),
        "path in the archive": (wheel(___dot__dot___evil_dot_py=b"x"), NAME, {}),
        "tags other than the name's": (wheel(), "leaf-1.0-py2-none-any.whl", {}),
        "library in a wheel for any platform": (wheel(leaf___C_dot_so=ELF), NAME, {}),
        "library for another processor": (wheel(tag=foreign[9:-4], leaf___C_dot_so=ELF), foreign, {}),
        "zip bomb": (bomb(), NAME, {}),
        "huge zip directory": (huge_directory(), NAME, {}),
        "half a wheel": (good[: len(good) // 2], NAME, {}),
        "false attestations": (good, NAME, {"attestations": lie}),
        "other bytes, name in capitals": (other_09, "Leaf-0.9-py3-none-any.whl", {"name": "Leaf", "version": "0.9"}),
        "other bytes, 0.9.0 for 0.9": (other_09, "leaf-0.9.0-py3-none-any.whl", {"version": "0.9.0"}),
        "other bytes, the same name": (other_09, "leaf-0.9-py3-none-any.whl", {"version": "0.9"}),
        "tags served twice": (wheel(version="0.9", tag=twice), f"leaf-0.9-{twice}.whl", {"version": "0.9"}),
        "the next build number": (other_09, "leaf-0.9-1-py3-none-any.whl", {"version": "0.9"}),
        "METADATA in latin-1": (wheel(metadata=b"Summary: caf\xe9\n"), NAME, {}),
        "a line that hides a requirement": (wheel(metadata=b"rubbish\nRequires-Dist: x\n"), NAME, {}),
        "NUL in METADATA": (wheel(metadata=b"Summary: \0\n"), NAME, {}),
        "unreadable requirement": (wheel(metadata=b"Requires-Dist: a >=\n"), NAME, {}),
        "unreadable Requires-Python": (wheel(metadata=b"Requires-Python: new\n"), NAME, {}),
        "5 MB of METADATA": (wheel(metadata=b"\n" + bytes(5 << 20)), NAME, {}),
        "script outside of bin": (wheel(leaf_i__entry_points_dot_txt=b"[console_scripts]\n../x = a:b\n"), NAME, {}),
        "1,000 times larger unpacked": (wheel(leaf__big=bytes(1 << 31)), NAME, {}),
        "sdist": (good, "leaf-1.0.tar.gz", {"filetype": "sdist"}),
        "too large": (bytes(33 << 20), NAME, {}),
    }


def form(content: bytes, filename: str, changes: dict[str, str | None]) -> bytes:
    """The body of an upload."""
    values: dict[str, str | None] = {
        ":action": "file_upload",
        "protocol_version": "1",
        "name": "leaf",
        "version": "1.0",
    }
    values |= {"filetype": "bdist_wheel", "sha256_digest": hashlib.sha256(content).hexdigest(), **changes}
    parts = [
        f'--xyz\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in values.items()
        if value is not None
    ]
    head = f'--xyz\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n\r\n'.encode()
    return b"".join([*parts, head, content, b"\r\n--xyz--\r\n"])


HOST = b"Host: x\r\n"
REQUESTS: dict[str, bytes] = {
    "128 kB in one header": b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * (1 << 17) + b"\r\n\r\n",
    "40,000 headers": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 40_000 + b"\r\n",
    "URL of 9 kB": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "no Host": b"GET /health HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "Host of somebody else": b"GET /project/leaf/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    "chunked GET": b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "smuggling: CL and TE": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
    "smuggling: TE with a tab": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
    "smuggling: two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "smuggling: length +4": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +4\r\n\r\nabcd",
    "smuggling: space before colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "smuggling: bare LF": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\nContent-Length: 5\r\n\r\n",
    "smuggling: folded header": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "smuggling: GET with a body": b"GET / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 44\r\n\r\nGET /x HTTP/1.1\r\n"
    + HOST,
    "NUL in a header": b"GET / HTTP/1.1\r\n" + HOST + b"X: \0\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    "TLS to the plain port": b"\x16\x03\x01\x02\x00\x01\x00" + bytes(100),
    "10,000 requests at once": (b"GET /simple/leaf/ HTTP/1.1\r\n" + HOST + b"\r\n") * 10_000,
    "path out of the index": b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "path out, encoded": b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "tokens": b"GET /.wheelsmith/tokens/ HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "records": b"GET /records/catalog.json HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "method DELETE": b"DELETE /simple/leaf/ HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "ranges without end": b"GET /leaf-0.9-py3-none-any.whl HTTP/1.1\r\n"
    + HOST
    + b"Connection: close\r\nRange: bytes="
    + b",".join(b"%d-" % number for number in range(2000))
    + b"\r\n\r\n",
}


def main() -> None:
    """Attack and print."""
    with tempfile.TemporaryDirectory() as folder:
        root, first = Path(folder) / "dist", Path(folder) / "leaf-0.9-py3-none-any.whl"
        first.write_bytes(wheel(version="0.9"))
        wheelsmith.publish([first], index=root)
        command = [sys.executable, "-m", "wheelsmith", "index", "serve", "--index", str(root), "--port", "0"]
        process = subprocess.Popen([*command, "--max-upload", "32"], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
            assert found is not None
            port = int(found[1])
            table(root, port)
            requests(port)
            floods(port, process.pid)
        finally:
            process.terminate()
            process.wait(30)


def requests(port: int) -> None:
    """One line for each request that is none."""
    print(f"\n{'request':<38}{'answer':>7}  answers  health")
    for name, data in REQUESTS.items():
        answer = said(port, data)
        status = answer[9:12].decode() if answer.startswith(b"HTTP/1.1 ") else "closed"
        if b"evil" in answer:
            status += " LEAKS"
        print(f"{name:<38}{status:>7}  {answer.count(b'HTTP/1.1 '):>7}  {health(port) * 1000:.0f} ms", flush=True)


def said(port: int, data: bytes) -> bytes:
    """What is answered to these bytes, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        with contextlib.suppress(OSError):
            for start in range(0, len(data), 1 << 16):
                connection.sendall(data[start : start + (1 << 16)])
        answer = b""
        with contextlib.suppress(OSError):
            while len(answer) < 64 << 20 and (chunk := connection.recv(1 << 16)):
                answer += chunk
        return answer


def health(port: int) -> float:
    """Seconds that /health takes."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()
    return time.monotonic() - started


def memory(pid: int) -> int:
    """MB of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) // 1024


def floods(port: int, pid: int) -> None:
    """One line for each flood."""
    kinds: dict[str, tuple[int, Callable[[int], bytes]]] = {
        "2,000 half-open requests": (2000, lambda _: b"GET / HTTP/1.1\r\nX: "),
        "2,000 silent connections": (2000, lambda _: b""),
        "200 endless headers, 1 MB each": (200, lambda _: b"GET / HTTP/1.1\r\nX: " + b"a" * (1 << 20)),
        "200 endless URLs, 1 MB each": (200, lambda _: b"GET /" + b"a" * (1 << 20)),
        "500 uploads without a token, 1 MB each": (
            500,
            lambda _: b"POST /upload/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n" + bytes(1 << 20),
        ),
        "500 who ask and do not read": (500, lambda _: b"GET /simple/leaf/ HTTP/1.1\r\nHost: x\r\n\r\n" * 10),
        "300 uploads that stop": (
            300,
            lambda _: b"POST /upload/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n--x",
        ),
    }
    print(f"\n{'flood':<42}{'MB before':>10}{'MB most':>9}   /health: median, worst")
    for name, (count, make) in kinds.items():
        before, most, times = memory(pid), 0, []
        with contextlib.ExitStack() as held:
            for number in range(count):
                with contextlib.suppress(OSError):
                    one = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                    one.settimeout(0.5)
                    one.sendall(make(number))
                if number % 50 == 49:
                    times.append(health(port))
                    most = max(most, memory(pid))
            times += [health(port) for _ in range(20)]
            most = max(most, memory(pid))
        times.sort()
        print(
            f"{name:<42}{before:>10}{most:>9}   {times[len(times) // 2] * 1000:.0f} ms, {times[-1] * 1000:.0f} ms",
            flush=True,
        )


def table(root: Path, port: int) -> None:
    """One line for each attack."""
    settings = Settings(root=root)
    book = TokenBook(settings.tokens)
    secrets = {
        name: book.create(name, read=False, publish=("leaf",), days=days)[1]
        for name, days in (("valid", 1.0), ("expired", 1e-9), ("revoked", 1.0))
    }
    book.revoke(secrets["revoked"].split("_")[1])
    secrets["guessed"] = secrets["valid"][:17] + "_" + "A" * 43
    tries = {name: (*values, secrets["valid"]) for name, values in attacks().items()}
    tries |= {f"{name} token": (wheel(), NAME, {}, secret) for name, secret in secrets.items() if name != "valid"}
    print(f"{'attack':<38}{'answer':>7}  {'audit log':<16}stored")
    for name, (content, filename, changes, secret) in tries.items():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        login = base64.b64encode(f"__token__:{secret}".encode()).decode()
        headers = {"Content-Type": "multipart/form-data; boundary=xyz", "Authorization": f"Basic {login}"}
        connection.request("POST", "/upload/", form(content, filename, changes), headers)
        status = connection.getresponse().status
        connection.close()
        time.sleep(0.05)
        why = json.loads(settings.audit.read_text().splitlines()[-1]).get("why", "-")
        stored = sum(1 for path in root.rglob("*") if path.name.endswith(".whl") or path.name == "body")
        print(f"{name:<38}{status:>7}  {why:<16}{stored}", flush=True)


if __name__ == "__main__":
    main()
