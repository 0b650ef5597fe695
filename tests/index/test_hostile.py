"""What publish refuses, before anything is stored."""

import hashlib
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from packaging.metadata import parse_email

from tests.support.index_wheels import make_wheel
from tests.support.looking import listed
from wheelsmith.errors import HashMismatchError, InvalidWheelError, WheelsmithError
from wheelsmith.index.location import open_storage
from wheelsmith.index.manage import remove
from wheelsmith.index.publish import publish
from wheelsmith.index.verify import verify

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
        (_provenance("{"), "no valid attestations"),
        (_provenance('{"version": 2, "attestation_bundles": []}'), "provenance object: version: Invalid enum value 2"),
        (_provenance("[" * 100_000), "no valid attestations"),
    ],
)
@pytest.mark.parametrize("where", ["directory", "memory:///"])
@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile says so where it writes what is to be refused
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


@pytest.mark.e2e
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


def _library(machine: int = 62, *, kind: int = 2, order: Literal["little", "big"] = "little") -> bytes:
    """An ELF file of 64 bytes: a header without any section."""
    number = machine.to_bytes(2, order)
    ident = b"\x7fELF" + bytes([kind, 1 if order == "little" else 2, 1]) + bytes(9)
    return (ident + (3).to_bytes(2, order) + number).ljust(64, b"\0")


ANY, X86, ARM = "py3-none-any", "cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-musllinux_1_2_aarch64"


@pytest.mark.parametrize(
    ("tag", "member", "data", "cause"),
    [
        (ANY, "pkg/_C.so", _library(), r"it is for any platform, and pkg/_C\.so is a library of one"),
        (ANY, "pkg/data.bin", _library(), r"it is for any platform, and pkg/data\.bin is a library of one"),
        (ANY, "pkg/libx.so.1.2", b"\xcf\xfa\xed\xfe", r"it is for any platform, and pkg/libx\.so\.1\.2 is a library"),
        ("cp311-none-any", "pkg/_C.so", _library(), "it is for any platform"),
        (f"{ANY}.linux_x86_64", "pkg/_C.so", _library(), "it is for any platform"),
        (X86, "pkg/_C.so", _library(183), r"pkg/_C\.so is for aarch64, and its tag says x86_64"),
        (X86, "pkg/tool", _library(3), "pkg/tool is for i386 or i486 or i586 or i686, and its tag says x86_64"),
        ("py3-none-linux_x86_64", "pkg/_C.so", _library(183), "is for aarch64"),
        (ARM, "pkg/_C.so", _library(62), r"pkg/_C\.so is for x86_64, and its tag says aarch64"),
        (X86, "pkg/_C.so", _library(22, order="big"), "is for s390x"),
        (X86, "pkg/_C.so", _library(4711), "is for the unknown processor 4711"),
        (X86, "pkg/_C.so", b"\x7fELF", "is for the unknown processor 0"),
    ],
)
def test_a_wheel_that_lies_about_its_platform_is_refused(
    tmp_path: Path, tag: str, member: str, data: bytes, cause: str
) -> None:
    storage = open_storage("memory:///")
    with pytest.raises(InvalidWheelError, match=cause):
        publish([make_wheel(tmp_path, "pkg", "1.0", tag=tag, more={member: data})], storage)
    assert list(storage.names()) == []


@pytest.mark.parametrize(
    ("tag", "member", "data"),
    [
        ("cp311-cp311-linux_x86_64", "pkg/_C.so", _library()),
        (ARM, "pkg/_C.so", _library(183)),
        ("py3-none-linux_x86_64.linux_aarch64", "pkg/_C.so", _library(183)),
        ("py3-none-linux_i686", "pkg/_C.so", _library(3, kind=1)),
        (ANY, "pkg/kernel.cubin", _library(190)),
        (X86, "pkg/kernel.cubin", _library(190)),
        (ANY, "pkg/empty.so", b""),
        (ANY, "pkg/also.so.py", b"x = 1"),
    ],
)
def test_a_wheel_that_says_what_it_holds_is_not(tmp_path: Path, tag: str, member: str, data: bytes) -> None:
    storage = open_storage("memory:///")
    publish([make_wheel(tmp_path, "pkg", "1.0", tag=tag, more={member: data})], storage)
    assert listed(storage) == ["pkg"]


@pytest.mark.parametrize(
    ("tag", "line", "accepted"),
    [
        (ANY, "Root-Is-Purelib: true", True),
        (X86, "Root-Is-Purelib: false", True),
        (X86, "Root-Is-Purelib: true", True),  # pip and uv unpack it into the other of two folders, mostly the same one
        (ANY, "Root-Is-Purelib: maybe", False),
        (ANY, "X: y", False),
        (ANY, "Root-Is-Purelib: true\nRoot-Is-Purelib: false", False),
    ],
)
def test_root_is_purelib_must_be_one_of_two_words(tmp_path: Path, tag: str, line: str, accepted: bool) -> None:
    wheel = make_wheel(tmp_path, "pkg", "1.0", tag=tag, purelib=line)
    if accepted:
        publish([wheel], open_storage("memory:///"))
    else:
        with pytest.raises(InvalidWheelError, match="its WHEEL states Root-Is-Purelib"):
            publish([wheel], open_storage("memory:///"))


def _poison(metadata: str | bytes = "", **more: bytes) -> Callable[[Path], Path]:
    """A wheel whose METADATA goes on with `metadata`, or whose .dist-info files are `more` (`__` for a dot)."""

    def make(folder: Path) -> Path:
        source = make_wheel(folder / "plain", "pkg", "1.0")
        target = folder / NAME
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name.endswith("/METADATA"):
                    data += metadata.encode() if isinstance(metadata, str) else metadata
                stem = name.rpartition("/")[2]
                new.writestr(name, more.get(stem, data) if ".dist-info/" in name else data)
            if "scripts" in more:
                new.writestr("pkg-1.0.dist-info/entry_points.txt", more["scripts"])
        return target

    return make


POISONS = {
    "latin-1": (_poison("Summary: caf\xe9\n".encode("latin-1")), "METADATA that is not UTF-8"),
    "utf-16": (_poison(METADATA="Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n".encode("utf-16")), "not UTF-8"),
    "byte order mark": (
        _poison(METADATA=b"\xef\xbb\xbfMetadata-Version: 2.1\nName: pkg\nVersion: 1.0\n"),
        "a line that is no field",
    ),
    "hidden requirement": (_poison("rubbish\nRequires-Dist: evil\n"), "a line that is no field"),
    "two names": (_poison("Name: other\n"), "doubled 'name'"),
    "NUL": (_poison("Summary: a\0b\n"), "control character in 'Summary'"),
    "requirement": (_poison("Requires-Dist: a >=\n"), "unreadable Requires-Dist"),
    "marker": (_poison("Requires-Dist: a; sys_platform ~= 'linux'\n"), "unreadable Requires-Dist"),
    "requires-python": (_poison("Requires-Python: >=three\n"), "unreadable Requires-Python"),
    "extra": (_poison("Provides-Extra: a b/c\n"), "unreadable Provides-Extra"),
    "metadata version": (_poison(METADATA=b"Metadata-Version: 9.0\nName: pkg\nVersion: 1.0\n"), "nobody knows"),
    "no metadata version": (_poison(METADATA=b"Name: pkg\nVersion: 1.0\n"), "nobody knows"),
    "five MB": (_poison("\n" + "x" * (5 << 20)), "METADATA of 5242"),
    "wheel version": (_poison(WHEEL=b"Wheel-Version: 9.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"), "9.0"),
    "WHEEL in latin-1": (_poison(WHEEL=b"Wheel-Version: 1.0\nGenerator: \xe9\n"), "WHEEL that is not UTF-8"),
    "RECORD in latin-1": (_poison(RECORD=b"caf\xe9,,\n"), "RECORD that is not UTF-8"),
    "script outside bin": (_poison(scripts=b"[console_scripts]\n../../x = a:b\n"), "script that installers refuse"),
    "script of nothing": (_poison(scripts=b"[console_scripts]\nx = a\n"), "script that installers refuse"),
    "no section": (_poison(scripts=b"x = a:b\n"), "unreadable entry_points.txt"),
}


@pytest.mark.parametrize("name", POISONS)
def test_what_clients_cannot_read_is_refused(tmp_path: Path, name: str) -> None:
    make, cause = POISONS[name]
    with pytest.raises(InvalidWheelError, match=cause):
        publish([make(tmp_path)], tmp_path / "dist")
    assert not list((tmp_path / "dist").rglob("*.whl"))


def test_what_clients_cannot_read_is_found_where_it_is_in_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = POISONS["hidden requirement"][0](tmp_path)
    with monkeypatch.context() as earlier:
        earlier.setattr("wheelsmith.index.metadata.read_fields", lambda data, name: parse_email(data)[0])
        publish([wheel], tmp_path / "dist")
    for repair in (False, True):  # its bytes are what was published: people decide
        (found,) = verify(tmp_path / "dist", repair=repair).findings
        assert (found.kind, found.key, found.repaired) == ("refused", NAME, False)
        assert f"wheelsmith index rm {NAME}" in found.text
    remove(tmp_path / "dist", NAME, force=True)
    assert verify(tmp_path / "dist").findings == ()


def test_what_packages_really_say_is_accepted(tmp_path: Path) -> None:
    said = (
        "Requires-Python: >=3.9\nLicense-File: LICENSE\nLicense: a\n b\nX-Own: 1\n"
        'Provides-Extra: a.b_C\nRequires-Dist: x[y]>=1; extra == "a.b_C"\nSummary: caf\xe9\n\nRequires-Dist: >='
    )
    scripts = b"[console_scripts]\nx-1.y = a.b:c.d\nold = a:b [extra]\n[other.group]\nname with = anything\n"
    publish([_poison(said, scripts=scripts)(tmp_path)], tmp_path / "dist")
    assert listed(open_storage(tmp_path / "dist")) == ["pkg"]
