"""A whole build whose program cargo compiles: crates from a registry and a repository of the test's own, offline."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

import wheelsmith
from tests.sources.test_crates import DEFAULT, archive
from tests.support import pure_build, toyproject
from tests.support.shared_object import shared_object
from tests.support.source_servers import Upstream, serving
from tests.support.wheel_makers import SASS, entry, region
from wheelsmith.errors import ContractError

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("cargo") is None, reason="needs cargo"),
]

INNER = {
    "Cargo.toml": '[package]\nname = "inner"\nversion = "1.0.0"\nedition = "2021"\n',
    "src/lib.rs": 'pub fn word() -> &\'static str { "inner" }\npub fn fail() { panic!("no") }\n',
}
DEEP = {
    "Cargo.toml": b'[workspace]\nmembers = ["crates/*"]\nresolver = "2"\n'
    b'[workspace.package]\nversion = "0.2.0"\nedition = "2021"\n'
    b'[workspace.dependencies]\ninner = { version = "1", default-features = false }\n',
    "crates/deep/Cargo.toml": b'[package]\nname = "deep"\nversion.workspace = true\nedition.workspace = true\n'
    b'[dependencies]\ninner.workspace = true\nnear = { path = "../near" }\n',
    "crates/deep/src/lib.rs": b'pub fn word() -> String { format!("{}-{}", near::WORD, inner::word()) }\n',
    "crates/near/Cargo.toml": b'[package]\nname = "near"\nversion.workspace = true\nedition.workspace = true\n',
    "crates/near/src/lib.rs": b'pub const WORD: &str = "deep";\n',
}
MAIN = 'fn main() { if std::env::args().count() > 1 { inner::fail() } println!("{}", deep::word()) }\n'
INSIDE = """
import subprocess
if not pathlib.Path("skip").exists():
    subprocess.run(["cargo", "build", "--release", "--locked", "--offline"], cwd="rust", check=True)
    files["toycuda/tool"] = pathlib.Path("rust/target/release/tool").read_bytes()
"""
RECIPE = pure_build.RECIPE.replace("SETTINGS", "").replace(
    "[[library]]",
    '[[crates]]\nlock = "rust/Cargo.lock"\nrust = "1.70"\nenv = { TOY_RUST = "1" }\n\n'
    '[[library]]\npath = "toycuda/tool"\ncode = "none"\n\n[[library]]',
    1,
)


def project(root: Path, upstream: Upstream, commit: str, inner: bytes, *, skip: bool = False) -> Path:
    import base64

    url = upstream.path.as_uri()
    git = f"git+{url}?rev={commit}#{commit}"
    manifest = f"""
[package]
name = "tool"
version = "0.1.0"
edition = "2021"
[dependencies]
inner = "1"
deep = {{ git = "{url}", rev = "{commit}" }}
"""
    lock = f"""
version = 3

[[package]]
name = "deep"
version = "0.2.0"
source = "{git}"
dependencies = ["inner", "near"]

[[package]]
name = "inner"
version = "1.0.0"
source = "{DEFAULT}"
checksum = "{hashlib.sha256(inner).hexdigest()}"

[[package]]
name = "near"
version = "0.2.0"
source = "{git}"

[[package]]
name = "tool"
version = "0.1.0"
dependencies = ["deep", "inner"]
"""
    library = shared_object(region(*(entry(SASS, arch) for arch in (86, 120))))
    content = {
        "pyproject.toml": pure_build.PYPROJECT,
        "backend.py": pure_build.BACKEND,
        "inside.py": INSIDE,
        "lib.b64": base64.b64encode(library).decode(),
        "rust/Cargo.toml": manifest,
        "rust/Cargo.lock": lock,
        "rust/rust-toolchain.toml": '[toolchain]\nchannel = "1.2.3"\n',
        "rust/src/main.rs": MAIN,
    }
    if skip:
        content["skip"] = ""
    root.mkdir()
    return toyproject.make(root, content, RECIPE)


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "deep.git")


def test_cargo_compiles_crates_from_the_closure_without_network(tmp_path, monkeypatch, upstream):
    inner = archive("inner-1.0.0", INNER)
    commit = upstream.commit(DEEP)
    toolkit, store = str(pure_build.toolkit(tmp_path / "cuda")), tmp_path / "store"
    recipes = project(tmp_path / "p", upstream, commit, inner)
    config = tmp_path / "config.toml"
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(config))
    with serving() as server:
        server.pages["/inner/1.0.0/download"] = ("application/gzip", inner)
        config.write_text(f'[mirrors]\n"{DEFAULT.removeprefix("registry+")}/" = "{server.url}/"\n')
        made = wheelsmith.plan("toycuda", recipes=[recipes])
        wheelsmith.fetch(made, store=store, toolkit=toolkit)
    copied = wheelsmith.recipe_mirror("toycuda", tmp_path / "stick", offline=True, store=store, recipes=[recipes])
    assert {item.what.partition(" ")[0] for item in copied} == {"archive", "git"}

    result = wheelsmith.build(made, store=store, index=tmp_path / "dist", toolkit=toolkit, offline=True)
    with zipfile.ZipFile(result.wheel) as wheel:
        tool = Path(wheel.extract("toycuda/tool", tmp_path / "unpacked"))
        (name,) = [name for name in wheel.namelist() if name.endswith("wheelsmith.cdx.json")]
        sbom = json.loads(wheel.read(name))
    tool.chmod(0o755)
    assert subprocess.run([tool], capture_output=True, text=True, check=True).stdout == "deep-inner\n"
    assert b"/tmp/wheelsmith-build" not in tool.read_bytes()
    parts = {item["name"]: item for item in sbom["components"]}
    assert parts["inner"]["purl"] == "pkg:cargo/inner@1.0.0"
    assert parts["inner"]["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(inner).hexdigest()}]
    assert parts["deep"]["pedigree"] == {"commits": [{"uid": commit}]}
    assert parts["rustc"]["scope"] == "excluded"
    assert result.record["toolchain"]["rust"].startswith("rustc ")
    assert {item["digest"] for item in result.record["sources"]} >= {hashlib.sha256(inner).hexdigest(), commit}

    monkeypatch.setenv("WHEELSMITH_CONFIG", str(tmp_path / "stick/config.toml"))
    again = wheelsmith.build(made, store=tmp_path / "other", index=tmp_path / "dist2", toolkit=toolkit)
    assert again.wheel.read_bytes() == result.wheel.read_bytes()


def test_a_promised_program_that_cargo_did_not_make_fails_the_contract(tmp_path, monkeypatch, upstream):
    inner = archive("inner-1.0.0", INNER)
    commit = upstream.commit(DEEP)
    recipes = project(tmp_path / "p", upstream, commit, inner, skip=True)
    place = tmp_path / "registry/inner/1.0.0"
    place.mkdir(parents=True)
    (place / "download").write_bytes(inner)
    (tmp_path / "config.toml").write_text(f'[mirrors]\n"{DEFAULT.removeprefix("registry+")}/" = "registry/"\n')
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(tmp_path / "config.toml"))
    made = wheelsmith.plan("toycuda", recipes=[recipes])
    with pytest.raises(ContractError, match="toycuda/tool"):
        wheelsmith.build(
            made, store=tmp_path / "store", index=tmp_path / "dist", toolkit=str(pure_build.toolkit(tmp_path / "cuda"))
        )
    assert not list(tmp_path.glob("dist/*.whl"))
