"""Crates by the checksums of a Cargo.lock, from registries of the test's own, as a directory for cargo."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.source_servers import Server, plan_of, serving
from wheelsmith.config import Mirrors
from wheelsmith.errors import HashMismatchError, NetworkError, OfflineError, SourceError
from wheelsmith.planning.model import ArchiveSource, CrateLock, GitSource, Plan
from wheelsmith.sources.crates import read_lock
from wheelsmith.sources.fetch import fetch
from wheelsmith.sources.stage import lay_out
from wheelsmith.store import Store

DEFAULT = "registry+https://github.com/rust-lang/crates.io-index"


def crate(name: str, version: str = "1.0.0") -> bytes:
    """The archive of a crate, as cargo packs it."""
    files = {"Cargo.toml": f'[package]\nname = "{name}"\nversion = "{version}"\n', "src/lib.rs": ""}
    return archive(f"{name}-{version}", files)


def archive(top: str, files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{top}/{path}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def lock_of(*packages: tuple[str, str, bytes]) -> str:
    tables = [
        f'[[package]]\nname = "{name}"\nversion = "1.0.0"\nsource = "{origin}"\n'
        f'checksum = "{hashlib.sha256(data).hexdigest()}"\n'
        for name, origin, data in packages
    ]
    return "\n".join(["version = 4\n", '[[package]]\nname = "own"\nversion = "0.1.0"\n', *tables])


def plan_with(directory: Path, lock: str) -> Plan:
    packed = archive("demo-1.0", {"rust/Cargo.lock": lock, "setup.py": ""})
    place = directory / "demo.tar.gz"
    place.write_bytes(packed)
    made = plan_of(ArchiveSource(place.as_uri(), hashlib.sha256(packed).hexdigest()))
    return replace(made, crates=(CrateLock("rust/Cargo.lock"),))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.mark.parametrize(
    ("root", "file"),
    [
        ("{url}/files", "/files/abcd/1.0.0/download"),
        ("{url}/{{prefix}}/{{crate}}-{{version}}.crate", "/ab/cd/abcd-1.0.0.crate"),
    ],
)
def test_a_registry_says_where_its_files_are(tmp_path, server, root, file):
    data = crate("abcd")
    plan = plan_with(tmp_path, lock_of(("abcd", f"sparse+{server.url}/index/", data)))
    server.pages["/index/config.json"] = ("application/json", json.dumps({"dl": root.format(url=server.url)}).encode())
    server.pages[file] = ("application/gzip", data)
    store = Store(tmp_path / "store")
    _, fetched = fetch(plan, store)
    assert (fetched.digest, fetched.reused) == (hashlib.sha256(data).hexdigest(), False)
    assert server.asked == ["/index/config.json", file]
    assert fetch(plan, store, offline=True)[1].digest == fetched.digest
    assert server.asked == ["/index/config.json", file]


def test_crates_are_laid_out_for_cargo_and_nothing_is_fetched_from_elsewhere(tmp_path, server):
    one, two = crate("one"), crate("two")
    other = f"sparse+{server.url}/index/"
    plan = plan_with(tmp_path, lock_of(("one", DEFAULT, one), ("two", other, two)))
    server.pages["/mirror/one/1.0.0/download"] = ("application/gzip", one)
    server.pages["/mirror2/two/1.0.0/download"] = ("application/gzip", two)
    mirrors = Mirrors(
        (
            (f"{DEFAULT.removeprefix('registry+')}/", (f"{server.url}/mirror/",)),
            (f"{server.url}/index/", (f"{server.url}/mirror2/",)),
        )
    )
    store = Store(tmp_path / "store")
    fetch(plan, store, mirrors=mirrors)
    assert server.asked == ["/mirror/one/1.0.0/download", "/mirror2/two/1.0.0/download"]
    lay_out(plan, store, tmp_path / "room")
    home = tmp_path / "room/cargo"
    config = tomllib.loads((home / "config.toml").read_text())
    assert config["source"] == {
        "crates-io": {"replace-with": "wheelsmith"},
        other: {"registry": other, "replace-with": "wheelsmith"},
        "wheelsmith": {"directory": "cargo/crates"},
    }
    assert sorted(path.name for path in (home / "crates").iterdir()) == ["one-1.0.0", "two-1.0.0"]
    said = json.loads((home / "crates/one-1.0.0/.cargo-checksum.json").read_text())
    assert said == {"files": {}, "package": hashlib.sha256(one).hexdigest()}


def test_other_bytes_than_the_lock_says_are_not_kept(tmp_path, server):
    plan = plan_with(tmp_path, lock_of(("one", f"sparse+{server.url}/", crate("one"))))
    server.pages["/config.json"] = ("application/json", json.dumps({"dl": server.url}).encode())
    server.pages["/one/1.0.0/download"] = ("application/gzip", crate("evil"))
    with pytest.raises(HashMismatchError):
        fetch(plan, Store(tmp_path / "store"))


def test_an_index_that_names_no_place_or_answers_nothing_is_said(tmp_path, server):
    plan = plan_with(tmp_path, lock_of(("one", f"sparse+{server.url}/", crate("one"))))
    with pytest.raises(NetworkError, match="404"):
        fetch(plan, Store(tmp_path / "store"))
    server.pages["/config.json"] = ("application/json", b"[]")
    with pytest.raises(SourceError, match=r"is no index of crates: its config\.json names no place"):
        fetch(plan, Store(tmp_path / "store"))


def test_offline_the_crates_that_are_missing_are_listed(tmp_path):
    plan = plan_with(tmp_path, lock_of(("one", DEFAULT, crate("one"))))
    store = Store(tmp_path / "store")
    fetch(replace(plan, crates=()), store)
    with pytest.raises(OfflineError, match="1 of 2 sources") as caught:
        fetch(plan, store, offline=True)
    assert "/one/1.0.0/download" in caught.value.detail


def test_a_crate_from_git_is_its_commit():
    commit = "67dcba97559ebe8e8206dab753710d8b9cb07591"
    text = f'[[package]]\nname = "zeromq"\nversion = "0.5.0"\nsource = "git+https://h.example/zmq.rs?tag=v1#{commit}"\n'
    (one,) = read_lock(text, "Cargo.lock")
    assert one.source == GitSource("https://h.example/zmq.rs", commit, "v1")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[package]]\nname = "a"\nversion = "1.0.0"\nsource = "registry+https://h.example/i"\n', "has no checksum"),
        ('[[package]]\nname = "../a"\nversion = "1.0.0"\nsource = "registry+https://h.example/i"\n', "is no crate"),
        ('[[package]]\nname = "a"\nversion = "1/.."\nsource = "registry+https://h.example/i"\n', "is no crate"),
        ('[[package]]\nname = "a"\nversion = "1.0.0"\nsource = "git+https://h.example/i?branch=main"\n', "no commit"),
        ('[[package]]\nname = "a"\nversion = "1.0.0"\nsource = "path+file:///etc"\n', "comes from"),
        ("package = [1]\n", "no Cargo.lock that can be vendored"),
        ("[[package", "no Cargo.lock that can be vendored"),
    ],
)
def test_what_no_lock_says_is_refused(text, why):
    with pytest.raises(SourceError, match=why):
        read_lock(text, "Cargo.lock")


def test_a_plan_whose_source_has_no_such_lock_is_refused(tmp_path):
    plan = replace(plan_with(tmp_path, ""), crates=(CrateLock("Cargo.lock"),))
    with pytest.raises(SourceError, match=r"has no Cargo\.lock"):
        fetch(plan, Store(tmp_path / "store"))
