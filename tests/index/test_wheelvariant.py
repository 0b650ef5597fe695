"""Variant wheels: shown where they were asked for, taken by uv's preview, and in nobody's way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.support.index_wheels import make_wheel
from tests.support.looking import all_pages, files_on, listed, page
from tests.support.running import running
from wheelsmith.errors import IndexConflictError, InvalidWheelError
from wheelsmith.index.location import open_storage
from wheelsmith.index.manage import remove
from wheelsmith.index.publish import publish
from wheelsmith.index.storage import Storage
from wheelsmith.index.verify import rebuild, verify
from wheelsmith.index.wheelvariant import split_name

SCHEMA = "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json"
PROVIDER = {
    "requires": ["nvidia-variant-provider>=0.0.1,<1.0.0"],
    "plugin-api": "nvidia_variant_provider.plugin:NvidiaVariantPlugin",
}
CUDA = {
    "cu12": {"nvidia": {"cuda_version_lower_bound": ["12.0"]}},
    "cu13": {"nvidia": {"cuda_version_lower_bound": ["13.0"]}},
}


def variant_wheel(folder: Path, label: str, properties: dict | None = None, **changes: object) -> Path:
    info = {
        "$schema": SCHEMA,
        "default-priorities": {"namespace": ["nvidia"]},
        "providers": {"nvidia": PROVIDER},
        "variants": {label: CUDA.get(label, {}) if properties is None else properties},
        **changes,
    }
    data = json.dumps(info).encode()
    plain = make_wheel(
        folder / label, "pkg", "1.0", code=f"label = {label!r}", more={"pkg-1.0.dist-info/variant.json": data}
    )
    return plain.rename(plain.with_name(f"pkg-1.0-py3-none-any-{label}.whl"))


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("pkg-1.0-py3-none-any.whl", ("pkg-1.0-py3-none-any.whl", None)),
        ("pkg-1.0-1abc-py3-none-any.whl", ("pkg-1.0-1abc-py3-none-any.whl", None)),
        ("pkg-1.0-py3-none-any-cu13.whl", ("pkg-1.0-py3-none-any.whl", "cu13")),
        ("pkg-1.0-1-py3-none-any-x86_64_v3.whl", ("pkg-1.0-1-py3-none-any.whl", "x86_64_v3")),
        ("pkg-1.0-py3-none-any-CU13.whl", ("pkg-1.0-py3-none-any-CU13.whl", None)),
        ("pkg-1.0-py3-none-any-cu13-x.whl", ("pkg-1.0-py3-none-any-cu13-x.whl", None)),
    ],
)
def test_a_label_is_what_stands_behind_the_platform(filename: str, expected: tuple[str, str | None]) -> None:
    assert split_name(filename) == expected


@pytest.fixture(name="storage", params=["directory", "memory:///"])
def storage_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    storage = open_storage(tmp_path / "dist" if request.param == "directory" else request.param)
    publish([make_wheel(tmp_path / "in", "pkg", "1.0"), make_wheel(tmp_path / "in", "other", "1.0")], storage)
    return storage


def test_they_are_off_unless_asked_for(storage: Storage, tmp_path: Path) -> None:
    before = set(storage.names())
    with pytest.raises(InvalidWheelError, match=r"pkg-1\.0-py3-none-any-cu13\.whl is a variant wheel"):
        publish([variant_wheel(tmp_path, "cu13")], storage)
    assert set(storage.names()) == before


def test_they_have_a_path_of_their_own_and_the_others_stay_as_they_were(storage: Storage, tmp_path: Path) -> None:
    plain = all_pages(storage)
    publish([variant_wheel(tmp_path, label) for label in ("cu12", "cu13")], storage, accept=["wheel variants"])
    publish([variant_wheel(tmp_path, "null")], storage, accept=["wheel variants"])

    now = all_pages(storage)
    assert {key: now[key] for key in plain} == plain
    assert listed(storage, "variants") == ["other", "pkg"]
    assert [file["filename"] for file in page(storage, "pkg", "variants")["files"]] == [
        "pkg-1.0-py3-none-any-cu12.whl",
        "pkg-1.0-py3-none-any-cu13.whl",
        "pkg-1.0-py3-none-any-null.whl",
        "pkg-1.0-py3-none-any.whl",
        "pkg-1.0-variants.json",
    ]
    document = json.loads(storage.read("variants/simple/pkg/pkg-1.0-variants.json").data)
    assert document == {
        "$schema": SCHEMA,
        "default-priorities": {"namespace": ["nvidia"]},
        "providers": {"nvidia": PROVIDER},
        "variants": {**CUDA, "null": {}},
    }
    assert verify(storage).findings == ()
    storage.delete("records/projects/pkg.json")
    assert verify(storage, repair=True).is_sound
    assert all_pages(storage) == now
    remove(storage, "pkg-1.0-py3-none-any-cu12.whl", force=True)
    remove(storage, "pkg-1.0-py3-none-any-cu13.whl", force=True)
    assert list(json.loads(storage.read("variants/simple/pkg/pkg-1.0-variants.json").data)["variants"]) == ["null"]
    remove(storage, "pkg-1.0-py3-none-any-null.whl", force=True)
    assert all_pages(storage) == plain
    assert rebuild(storage) == ()
    assert files_on(storage, "pkg") == {"pkg-1.0-py3-none-any.whl"}


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"variants": {"cu12": {}}}, "says in variant.json that it is 'cu12', not 'cu13'"),
        ({"variants": {"cu13": {}, "cu12": {}}}, "not 'cu13'"),
        ({"variants": {"cu13": {"NVIDIA": {}}}}, "has no usable variant.json: variants"),
        ({"default-priorities": {}}, "default-priorities.namespace: the key is missing"),
        ({"x": "y" * 70_000}, "has a variant.json of"),
    ],
)
def test_a_label_must_be_what_the_wheel_says(storage: Storage, tmp_path: Path, changes: dict, cause: str) -> None:
    before = set(storage.names())
    with pytest.raises(InvalidWheelError, match=cause):
        publish([variant_wheel(tmp_path, "cu13", **changes)], storage, accept=["wheel variants"])
    renamed = make_wheel(tmp_path, "pkg", "1.0").rename(tmp_path / "pkg-1.0-py3-none-any-cu13.whl")
    with pytest.raises(InvalidWheelError, match=r"has the variant label 'cu13', and no variant\.json"):
        publish([renamed], storage, accept=["wheel variants"])
    assert set(storage.names()) == before


def test_wheels_that_contradict_each_other_are_refused(storage: Storage, tmp_path: Path) -> None:
    publish([variant_wheel(tmp_path, "cu12")], storage, accept=["wheel variants"])
    other = {"nvidia": {**PROVIDER, "requires": ["evil"]}}
    with pytest.raises(IndexConflictError, match=r"of pkg 1\.0 contradict each other: providers\.nvidia differs"):
        publish([variant_wheel(tmp_path, "cu13", providers=other)], storage, accept=["wheel variants"])
    assert verify(storage).findings == ()
    assert [file["filename"] for file in page(storage, "pkg", "variants")["files"]].count("pkg-1.0-variants.json") == 1


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("client", "path", "driver", "expected"),
    [
        ("preview", "variants/simple/", "13.0", "'cu13'"),
        ("preview", "variants/simple/", "12.8", "'cu12'"),
        ("preview", "variants/simple/", None, "'null'"),
        ("preview", "simple/", "13.0", "plain"),
        ("uv", "variants/simple/", "13.0", "plain"),
        ("pip", "variants/simple/", "13.0", "plain"),
    ],
)
def test_uv_with_its_preview_takes_the_variant_and_everybody_else_the_plain_wheel(
    tmp_path: Path, client: str, path: str, driver: str | None, expected: str
) -> None:
    publish([make_wheel(tmp_path / "in", "pkg", "1.0", code="label = plain")], tmp_path / "dist")
    publish(
        [variant_wheel(tmp_path, label) for label in ("cu12", "cu13", "null")],
        tmp_path / "dist",
        accept=["wheel variants"],
    )
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    if driver is not None:
        environment["NV_VARIANT_PROVIDER_FORCE_CUDA_DRIVER_VERSION"] = driver
    if client == "preview":
        environment["UV_PREVIEW_FEATURES"] = "wheel-variants"
    with running(tmp_path / "dist") as server:
        url = f"{server.url}{path}"
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-cache-dir",
            "--disable-pip-version-check",
            "--index-url",
            url,
        ]
        uv = [find_uv_bin(), "pip", "install", "--python", sys.executable, "--no-cache", "--default-index", url]
        command = [*(pip if client == "pip" else uv), "--target", str(tmp_path / "out"), "pkg"]
        subprocess.run(command, env=environment, check=True, stdin=subprocess.DEVNULL)
    assert (tmp_path / "out/pkg.py").read_text() == f"label = {expected}"
