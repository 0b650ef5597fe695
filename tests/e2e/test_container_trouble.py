"""Images that do not serve, and a disk that is full, with real engines: cause, remedy and exit code, in seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import toyproject
from tests.support.real_engines import SLIM, must, needs_engines, own_storage, wheelsmith

pytestmark = [pytest.mark.e2e, pytest.mark.images, needs_engines, pytest.mark.timeout(600)]

#: Nothing listens there: none of this comes so far that an index is asked.
NOWHERE = "http://127.0.0.1:9/simple/"


@pytest.fixture(scope="module", autouse=True)
def storage() -> Iterator[None]:
    """podman and buildah with the tests' own storage."""
    with own_storage():
        yield


def odd(name: str, folder: Path) -> str:
    """An image that no build can use: for another architecture, with nothing but a file, without Python and apt-get."""
    tag = f"localhost/wheelsmith-odd:{name}"
    container = must("buildah", "from", "--pull-never", "scratch" if name == "empty" else SLIM).strip()
    if name == "arm":
        must("buildah", "config", "--arch", "arm64", container)
    elif name == "empty":
        (folder / "file").write_text("x")
        must("buildah", "copy", container, folder / "file", "/file")
    else:
        must("buildah", "run", "--isolation", "oci", "--network", "host", container, "rm", "/usr/bin/apt-get")
    must("buildah", "commit", "--rm", container, tag)
    return tag


def words(folder: Path, engine: str, image: str) -> list[str | Path]:
    recipes = toyproject.make(folder, toyproject.files())
    what: list[str | Path] = [
        "build",
        "toycuda",
        "--recipes",
        recipes,
        "--cuda",
        "12.4",
        "--gpu",
        "A40",
        "--index-url",
        NOWHERE,
    ]
    where: list[str | Path] = [
        "--container",
        engine,
        "--container-image",
        image,
        "--store",
        folder / "store",
        "--index",
        folder / "dist",
    ]
    return [*what, *where]


@pytest.mark.parametrize("engine", ["podman", "buildah"])
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("arm", "localhost/wheelsmith-odd:arm is for linux/arm64, and this machine is linux/amd64."),
        ("empty", "localhost/wheelsmith-odd:empty has no shell, so nothing can be built in it."),
        ("bare", "localhost/wheelsmith-odd:bare lacks one of g++, git, make and a Python with venv and Python.h, and"),
        ("missing", "localhost/wheelsmith-odd:missing is not among the images of"),
    ],
)
def test_an_image_that_does_not_serve_says_why(engine, name, cause, tmp_path):
    image = "localhost/wheelsmith-odd:missing" if name == "missing" else odd(name, tmp_path)
    done = wheelsmith(*words(tmp_path, engine, image))
    assert done.returncode == 37, done.stderr[-3000:]
    assert f"wheelsmith: {cause}" in done.stderr
    assert "what to do:" in done.stderr
    assert not list((tmp_path / "store/orders").glob("*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: root only")
@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_a_full_disk_of_the_engine_is_told_with_its_place(engine, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    must("podman", "save", "--quiet", "--output", tmp_path / "slim.tar", SLIM)
    must("mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", disk)
    try:
        places = f'graphroot = "{disk}/storage"\nrunroot = "{disk}/run"\n'
        (tmp_path / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\n{places}')
        monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
        must("podman", "load", "--quiet", "--input", tmp_path / "slim.tar")
        (disk / "fill").write_bytes(b"\0" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - (2 << 20)))
        done = wheelsmith(*words(tmp_path, engine, SLIM))
        assert done.returncode == 70, done.stderr[-3000:]
        assert f"wheelsmith: The disk that {engine} " in done.stderr
        assert f"works on is full ({disk}/storage)" in done.stderr
    finally:
        (disk / "fill").unlink(missing_ok=True)
        for command in (["podman", "rm", "--all"], ["buildah", "rm", "--all"], ["podman", "rmi", "--all", "--force"]):
            must(*command)
        must("umount", "--recursive", "--lazy", disk)
