"""What keeps a wheel out of its index is known before the first compiler starts, and so is a key in a build's reach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import wheelsmith
from tests.support import pure_build
from wheelsmith.compile.sandbox import isolation_here
from wheelsmith.errors import IndexConflictError, StoreError, UsageError, WheelsmithError


class Ground:
    """A project, a toolkit, and builds of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.toolkit = pure_build.toolkit(root / "cuda")
        self.recipes = pure_build.project(root / "p")
        self.said: list[str] = []

    def build(self, **more):
        where = {"recipes": [self.recipes], "store": self.root / "store", "index": self.root / "dist"}
        return wheelsmith.build(
            "toycuda",
            environment="current",
            **{**where, "toolkit": str(self.toolkit), "listener": lambda event: self.said.append(str(event)), **more},
        )

    def refused(self, kind: type[WheelsmithError], match: str, **more) -> WheelsmithError:
        """The error of a build that is refused before anything is fetched or compiled."""
        with pytest.raises(kind, match=match) as caught:
            self.build(**more)
        assert not any("jobs, as memory allows" in text for text in self.said)
        assert not list(self.root.glob("store/logs/*.log"))
        return caught.value


@pytest.fixture
def ground(tmp_path):
    return Ground(tmp_path)


def test_an_index_that_is_a_file(ground, tmp_path):
    (tmp_path / "dist").write_text("mine")
    error = ground.refused(StoreError, "dist is not a directory")
    assert "--index" in error.remedy
    assert (tmp_path / "dist").read_text() == "mine"


def test_an_index_below_a_file(ground, tmp_path):
    (tmp_path / "file").write_text("")
    ground.refused(StoreError, "file is not a directory", index=tmp_path / "file/dist")


def test_an_index_that_dangles(ground, tmp_path):
    (tmp_path / "dist").symlink_to(tmp_path / "nowhere")
    ground.refused(StoreError, "is not a directory")


def test_an_index_nobody_knows(ground):
    ground.refused(UsageError, "no location of an index", index="ftp://host/x")


def test_a_build_that_is_refused_makes_no_index(ground, tmp_path):
    ground.refused(StoreError, "is not a directory", store=tmp_path / "cuda/bin/nvcc")
    assert not (tmp_path / "dist").exists()


READ_ONLY = """
mount -t tmpfs none {root}/ro; mkdir {root}/ro/dist; mount -o remount,ro {root}/ro
exec {python} -m wheelsmith build toycuda --env current --recipes {root}/p/recipes --toolkit {root}/cuda \
  --store {root}/{store} --index {root}/{index} --container none
"""


@pytest.mark.e2e
@pytest.mark.skipif(os.geteuid() != 0 or not isolation_here().confined, reason="mounting a file system needs root")
@pytest.mark.parametrize(
    ("store", "index", "says"),
    [
        ("store", "ro/dist", "The index {root}/ro/dist cannot be read or written"),
        ("store", "ro/new", "The index {root}/ro/new cannot be written: {root}/ro: Read-only file system."),
        ("ro/store", "dist", "The store {root}/ro/store cannot be written: Read-only file system."),
    ],
)
def test_file_systems_that_are_read_only(ground, tmp_path, store, index, says):
    (tmp_path / "ro").mkdir()
    script = READ_ONLY.format(root=tmp_path, python=sys.executable, store=store, index=index)
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", script], capture_output=True, text=True, check=False)
    assert says.format(root=tmp_path) in done.stderr.replace("\n", " ")
    assert done.returncode not in (0, 1)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("store/logs/*.log"))


@pytest.mark.e2e
def test_a_version_that_another_build_took_is_known_before_and_the_remedy_works(ground, tmp_path):
    """What the message says is done, as it says it."""
    first = ground.build()
    recipe = tmp_path / "p/recipes/toycuda.toml"
    recipe.write_text(recipe.read_text().replace("[build.config_settings]", "[build.config_settings]\na='b'"))
    ground.said.clear()
    for log in tmp_path.glob("store/logs/*"):
        log.unlink()
    error = ground.refused(IndexConflictError, "which is not of this build")
    assert first.wheel.name in error.cause
    assert f"wheelsmith index rm --force 'toycuda==1.0+cu130' --index {tmp_path}/dist" in error.remedy
    command = [sys.executable, "-m", "wheelsmith", "index", "rm", "--force", "toycuda==1.0+cu130"]
    command += ["--index", str(tmp_path / "dist")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ground.build().published.filename == first.published.filename


@pytest.mark.e2e
def test_the_same_build_in_an_empty_store_is_no_conflict(ground, tmp_path):
    ground.build()
    if isolation_here().canonical:
        assert ground.build(store=tmp_path / "second").published.already_there


def a_key(path: Path, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604])
def test_a_key_that_others_can_read_is_refused(ground, tmp_path, mode):
    key = a_key(tmp_path / "key", mode)
    error = ground.refused(UsageError, f"can be read or changed by others .mode {mode:04o}", sign=key)
    assert error.remedy.startswith(f"`chmod 600 {key}`")


def test_a_link_to_a_key_is_a_key_and_what_it_leads_to_counts(ground, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(a_key(tmp_path / "key", 0o644))
    ground.refused(UsageError, "can be read or changed by others", sign=link)
    link.unlink()
    link.symlink_to(a_key(tmp_path / "store/key"))
    ground.refused(UsageError, "which builds can see", sign=link)


@pytest.mark.parametrize("kind", ["pipe", "directory", "missing", "device"])
def test_what_is_no_file_is_no_key(ground, tmp_path, kind):
    path = {"device": Path("/dev/zero")}.get(kind, tmp_path / "key")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    ground.refused(UsageError, "is not a regular file|cannot be read", sign=path)


@pytest.mark.parametrize("place", ["store/key", "cuda/key"])
def test_a_key_where_builds_can_see_is_refused(ground, tmp_path, place):
    error = ground.refused(UsageError, "which builds can see", sign=a_key(tmp_path / place))
    assert "install -m 600" in error.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's file")
def test_a_key_of_another_user_is_refused(ground, tmp_path):
    key = a_key(tmp_path / "key")
    os.chown(key, 1234, 1234)
    ground.refused(UsageError, "belongs to user 1234", sign=key)


@pytest.mark.e2e
def test_a_key_that_only_its_owner_can_read_signs(ground, tmp_path):
    assert ground.build(sign=a_key(tmp_path / "key")).wheel.is_file() or not isolation_here().confined


@pytest.mark.e2e
def test_a_home_that_is_not_there_is_no_matter(ground, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "nobody/home"))
    assert ground.build().wheel.is_file()
