"""What publish refuses, before anything is stored."""

import hashlib
import json
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from wheelsmith.errors import HashMismatchError, InvalidWheelError, WheelsmithError
from wheelsmith.index import open_storage, publish, verify

from .looking import listed
from .wheels import make_wheel

NAME = "pkg-1.0-py3-none-any.whl"


def _with_member(name: str, mode: int = 0) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = make_wheel(folder, "pkg", "1.0")
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(info, "/etc/passwd")
        return path

    return make


def _half(folder: Path) -> Path:
    path = make_wheel(folder, "pkg", "1.0", code="x = 1\n" * 100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _provenance(text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = make_wheel(folder, "pkg", "1.0")
        path.with_name(f"{path.name}.provenance").write_text(text)
        return path

    return make


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (_half, "not a readable zip archive"),
        (_with_member("../outside.py"), "unsafe path"),
        (_with_member("/absolute.py"), "unsafe path"),
        (_with_member("a\\b.py"), "unsafe path"),
        (_with_member("pkg.py"), "twice"),
        (_with_member("link", stat.S_IFLNK | 0o777), "link or a device"),
        (lambda folder: make_wheel(folder, "pkg", "1.0", says="other"), "says Name: 'other'"),
        (
            lambda folder: make_wheel(folder, "pkg", "1.0", tag="cp312-cp312-linux_x86_64", tag_inside="py3-none-any"),
            "its WHEEL states the tags py3-none-any, its name cp312-cp312-linux_x86_64",
        ),
        (lambda folder: make_wheel(folder, "pkg", "1.0", tag="py2.py3-none-any", tag_inside="py3-none-any"), "states"),
        (_provenance("{"), "no provenance object"),
        (_provenance('{"version": 2, "attestation_bundles": []}'), "no provenance object"),
        (_provenance("[" * 100_000), "no provenance object"),
    ],
)
@pytest.mark.parametrize("where", ["directory", "memory:///"])
def test_a_hostile_wheel_is_refused_and_nothing_is_stored(
    tmp_path: Path, make: Callable[[Path], Path], cause: str, where: str
) -> None:
    storage = open_storage(tmp_path / "dist" if where == "directory" else where)
    with pytest.raises(WheelsmithError, match=cause) as caught:
        publish([make(tmp_path / "in")], storage)
    assert isinstance(caught.value, InvalidWheelError)
    assert list(storage.names()) == []
    assert not (tmp_path / "outside.py").exists()


@pytest.mark.parametrize(
    "name", ["../pkg-1.0-py3-none-any.whl", "pkg-1.0-py3-none-any.whl\n", ".whl", "a b-1-py3-none-any.whl"]
)
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    from wheelsmith.index.metadata import parse_filename

    with pytest.raises(InvalidWheelError, match="is no wheel file name"):
        parse_filename(name)


@pytest.mark.parametrize("where", ["directory", "memory:///"])
def test_a_wrong_digest_is_refused_and_the_right_one_is_not(tmp_path: Path, where: str) -> None:
    storage = open_storage(tmp_path / "dist" if where == "directory" else where)
    wheel = make_wheel(tmp_path / "in", "pkg", "1.0")
    with pytest.raises(HashMismatchError, match=f"has the SHA-256 .*, not {'0' * 64}"):
        publish([wheel], storage, sha256={NAME: "0" * 64})
    assert list(storage.names()) == []
    publish([wheel], storage, sha256={NAME: hashlib.sha256(wheel.read_bytes()).hexdigest().upper()})
    assert listed(storage) == ["pkg"]


def test_provenance_beside_the_wheel_is_published_with_it(tmp_path: Path) -> None:
    text = '{"version": 1, "attestation_bundles": []}'
    wheel = _provenance(text)(tmp_path / "in")
    publish([wheel], tmp_path / "dist")
    (file,) = json.loads((tmp_path / "dist/simple/pkg/index.json").read_bytes())["files"]
    assert file["provenance"] == f"../../{NAME}.provenance"
    stored = tmp_path / "dist" / f"{NAME}.provenance"
    assert stored.read_text() == text

    stored.write_text(text + " ")
    first = verify(tmp_path / "dist", repair=True).findings[0]
    assert (first.kind, first.repaired) == ("provenance", True)
    assert verify(tmp_path / "dist").findings == ()
    (file,) = json.loads((tmp_path / "dist/simple/pkg/index.json").read_bytes())["files"]
    assert "provenance" not in file


def test_a_library_that_needs_a_newer_glibc_than_its_tag_promises(tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    version = '__asm__(".symver new_one,new_one@GLIBC_2.38");\nint new_one(void);\nint g(void) { return new_one(); }\n'
    source.write_text(version)
    stub = tmp_path / "stub.c"
    stub.write_text("int new_one(void) { return 1; }\n")
    script = tmp_path / "stub.map"
    script.write_text("GLIBC_2.38 { global: new_one; };\n")
    flags = ["gcc", "-shared", "-fPIC", "-nostdlib"]
    subprocess.run([*flags, stub, f"-Wl,--version-script={script}", "-o", tmp_path / "libstub.so"], check=True)
    subprocess.run([*flags, source, tmp_path / "libstub.so", "-o", tmp_path / "x.so"], check=True)
    library = {"pkg.libs/x.so": (tmp_path / "x.so").read_bytes()}
    storage = open_storage("memory:///")

    for tag in ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_38_x86_64.manylinux_2_17_x86_64"):
        wheel = make_wheel(tmp_path / "in", "pkg", "1.0", tag=f"py3-none-{tag}", more=library)
        with pytest.raises(InvalidWheelError, match=r"pkg\.libs/x\.so needs glibc 2\.38, and its tag promises 2\."):
            publish([wheel], storage)
    assert list(storage.names()) == []
    for tag in ("manylinux_2_38_x86_64", "linux_x86_64"):
        publish([make_wheel(tmp_path / "in", "pkg", "1.0", tag=f"py3-none-{tag}", more=library)], storage)
    assert len(list(storage.wheels())) == 2
