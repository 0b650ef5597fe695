"""The attack table: what a hostile client sends to the server, what it is answered, and what is stored of it.

    python -m benchmarks.index_attacks

In: nothing. Out: one line for each attack on an empty index that `wheelsmith index serve` serves on loopback: the
answer, the word in the audit log, and the wheels that are stored afterwards, which must be none. The tests hold each of
these against literal values (`tests/index`); this is the table for people.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import re
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from wheelsmith.server.settings import Settings
from wheelsmith.server.tokens import TokenBook

NAME = "leaf-1.0-py3-none-any.whl"
ELF = b"\x7fELF\2\1\1" + bytes(9) + b"\3\0" + (183).to_bytes(2, "little") + bytes(44)


def wheel(name: str = "leaf", tag: str = "py3-none-any", inside: str | None = None, **more: bytes) -> bytes:
    """The bytes of a wheel; `more` are members, with `/` written as `__`."""
    target, info = io.BytesIO(), "leaf-1.0.dist-info"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in more.items():
            archive.writestr(member.replace("__", "/").replace("_dot_", "."), data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
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


def main() -> None:
    """Attack and print."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "dist"
        command = [sys.executable, "-m", "wheelsmith", "index", "serve", "--index", str(root), "--port", "0"]
        process = subprocess.Popen([*command, "--max-upload", "32"], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
            assert found is not None
            table(root, int(found[1]))
        finally:
            process.terminate()
            process.wait(20)


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
        stored = sum(1 for path in root.rglob("*") if ".whl" in path.name)
        print(f"{name:<38}{status:>7}  {why:<16}{stored}")


if __name__ == "__main__":
    main()
