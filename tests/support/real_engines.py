"""Real engines, real base images: what the tests marked as such share. See `engines.sh`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests/container/engines.sh"
#: CUDA 12.4 as Debian has it, in /usr; as NVIDIA lays it out, in /usr/local; and that where its headers do not fit.
DEVEL, NVIDIA, UNFIT = (f"localhost/standin-{name}" for name in ("devel:12.4", "devel-nv:12.4", "devel-nv:12.4-new"))
SLIM = "localhost/standin-slim:13"
PACKAGE, CUDA = "cuvec==6.0.1", "12.4"

#: For tests that build images: minutes, and a gigabyte of disk.
needs_engines = pytest.mark.skipif(
    os.environ.get("WHEELSMITH_IMAGES") != "1", reason="builds images: set WHEELSMITH_IMAGES=1 (make test-images)"
)


def prepare() -> Mapping[str, str]:
    """The variables that make podman and buildah use the tests' storage, with the base images in it."""
    if missing := [name for name in ("podman", "buildah", "runc", "mmdebstrap") if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed: as root, tests/container/engines.sh install")
    told = subprocess.run([SCRIPT, "env"], capture_output=True, text=True, check=True).stdout
    subprocess.run([SCRIPT, "bases"], check=True)
    return dict(line.split("=", 1) for line in told.splitlines())


@contextlib.contextmanager
def own_storage() -> Iterator[None]:
    """podman and buildah with the tests' own storage, for what is started meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in prepare().items():
            patch.setenv(name, value)
        yield


def run(*command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command, with its words captured."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **more)


def must(*command: str | Path, **more: object) -> str:
    """What a command says; it must not fail."""
    done = run(*command, **more)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def wheelsmith(*words: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    """The command line of the wheelsmith that is tested."""
    return run(sys.executable, "-m", "wheelsmith", *words, **more)


def arguments(index_url: str, **more: str) -> list[str]:
    """Build arguments of our Dockerfile for the stand-ins."""
    pairs = {"BASE_IMAGE": DEVEL, "RUNTIME_IMAGE": SLIM, "REQUIREMENT": PACKAGE, "PIP_INDEX_URL": index_url}
    pairs |= {"GPUS": "RTX 4090,A40", "OPTIONS": f"--cuda {CUDA}", **more}
    return [word for name, value in pairs.items() for word in ("--build-arg", f"{name}={value}")]


def dockerd(folder: Path) -> Iterator[str]:
    """A Docker daemon of the test's own, without a network of its own; the address of its socket."""
    address = f"unix://{folder}/docker.sock"
    command = ["dockerd", "--host", address, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    command += ["--pidfile", f"{folder}/pid", "--iptables=false", "--ip6tables=false", "--bridge=none"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(600):
                if run("docker", "--host", address, "info", "--format", "{{.ServerVersion}}").stdout.strip():
                    break
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait(60)
            run("umount", "--lazy", folder / "exec/netns/default")  # the daemon leaves it
            shutil.rmtree(folder / "data", ignore_errors=True)
