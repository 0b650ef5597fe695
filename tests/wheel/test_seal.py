from __future__ import annotations

import base64
import csv
import hashlib
import subprocess
import sys
import zipfile
from email.parser import HeaderParser

import pytest

from tests.support.wheel_makers import build_wheel
from wheelsmith.errors import ContractError, InvalidWheelError, UsageError
from wheelsmith.wheel.requirements import RequirementEdits
from wheelsmith.wheel.seal import seal

EPOCH = 1_700_000_000  # 2023-11-14 22:13:20 UTC
NAME = "demo-1.0-py3-none-any.whl"
FILES = {
    "demo/__init__.py": b"VALUE = 42\n",
    "demo/a,b.txt": b"comma",
    "demo-1.0.data/scripts/run": b"#!python\nprint('ran')\n",
    "zlast.py": b"",
}
METADATA = "Metadata-Version: 2.1\r\nName: demo\r\nVersion: 1.0\r\nSummary: Version 1.0\r\n\r\nVersion: 1.0\r\n"


def test_same_content_gives_same_bytes(tmp_path):
    one = build_wheel(tmp_path / "one" / NAME, FILES)
    two = build_wheel(tmp_path / "two" / NAME, FILES, reverse=True, when=(2020, 1, 1, 0, 0, 0))
    assert one.read_bytes() != two.read_bytes()
    (tmp_path / "out1").mkdir()
    (tmp_path / "out2").mkdir()
    sealed = seal(one, tmp_path / "out1", local_version="cu130", epoch=EPOCH)
    again = seal(two, tmp_path / "out2", local_version="cu130", epoch=EPOCH)
    assert sealed.read_bytes() == again.read_bytes()
    resealed = seal(sealed, tmp_path, local_version="cu130", epoch=EPOCH)
    assert resealed.read_bytes() == sealed.read_bytes()


def test_the_archive_is_canonical(tmp_path):
    wheel = build_wheel(tmp_path / "in" / NAME, FILES, metadata=METADATA, executable=["demo-1.0.data/scripts/run"])
    sealed = seal(wheel, tmp_path, local_version="CU-130", epoch=EPOCH)
    assert sealed == tmp_path / "demo-1.0+cu.130-py3-none-any.whl"
    assert sorted(path.name for path in tmp_path.iterdir()) == [sealed.name, "in"]
    with zipfile.ZipFile(sealed) as archive:
        assert archive.testzip() is None
        members = archive.infolist()
        content = {name: archive.read(name) for name in archive.namelist()}
    assert [(m.filename, oct(m.external_attr >> 16)) for m in members] == [
        ("demo-1.0+cu.130.data/scripts/run", "0o100755"),
        ("demo/__init__.py", "0o100644"),
        ("demo/a,b.txt", "0o100644"),
        ("zlast.py", "0o100644"),
        ("demo-1.0+cu.130.dist-info/METADATA", "0o100644"),
        ("demo-1.0+cu.130.dist-info/WHEEL", "0o100644"),
        ("demo-1.0+cu.130.dist-info/RECORD", "0o100644"),
    ]
    assert {m.date_time for m in members} == {(2023, 11, 14, 22, 13, 20)}
    assert (
        content["demo-1.0+cu.130.dist-info/METADATA"]
        == METADATA.replace("Name: demo\r\nVersion: 1.0", "Name: demo\r\nVersion: 1.0+cu.130").encode()
    )
    *rows, last = csv.reader(content["demo-1.0+cu.130.dist-info/RECORD"].decode().splitlines())
    assert last == ["demo-1.0+cu.130.dist-info/RECORD", "", ""]
    assert [row[0] for row in rows] == [m.filename for m in members[:-1]]
    for name, digest, size in rows:
        expected = base64.urlsafe_b64encode(hashlib.sha256(content[name]).digest()).decode().rstrip("=")
        assert (digest, size) == (f"sha256={expected}", str(len(content[name])))


def _sealed_requirements(tmp_path, *requires):
    lines = "".join(f"Requires-Dist: {text}\r\n" for text in requires)
    wheel = build_wheel(tmp_path / "in" / NAME, FILES, metadata=METADATA.replace("Summary", f"{lines}Summary"))
    sealed = seal(wheel, tmp_path, local_version="cu130", epoch=EPOCH, requires=RequirementEdits({"torch": "2.11.0"}))
    with zipfile.ZipFile(sealed) as archive:
        headers = archive.read("demo-1.0+cu130.dist-info/METADATA").decode().splitlines()
    return [line.removeprefix("Requires-Dist: ") for line in headers if line.startswith("Requires-Dist")]


def test_open_requirements_are_pinned_and_the_same_pin_stays(tmp_path):
    requires = ("Torch", "torch>=2; extra == 'x'", "torchaudio==2.11.0", "torch == 2.11.0")
    assert _sealed_requirements(tmp_path, *requires) == [
        "Torch==2.11.0",
        'torch==2.11.0; extra == "x"',
        "torchaudio==2.11.0",
        "torch == 2.11.0",
    ]


def test_a_pin_of_another_torch_gives_way_to_the_one_it_was_compiled_against(tmp_path):
    requires = (
        "torch==2.9.1",
        "torchaudio==2.9.1",
        "torchvision == 0.24.1 # why",
        "torchvision==0.24.1",
        "numba==0.61.2",
    )
    assert _sealed_requirements(tmp_path, *requires) == [
        "torch==2.11.0",
        "torchaudio",
        "torchvision == 0.24.1 # why",
        "torchvision",
        "numba==0.61.2",
    ]


def test_times_before_1980_become_1980(tmp_path):
    sealed = seal(build_wheel(tmp_path / "in" / NAME, FILES), tmp_path, local_version=None, epoch=0)
    assert sealed.name == NAME
    with zipfile.ZipFile(sealed) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_another_local_version_is_refused(tmp_path):
    wheel = build_wheel(tmp_path / "in" / "demo-1.0+cu128-py3-none-any.whl", FILES)
    with pytest.raises(ContractError, match=r"already has the local version \+cu128, and \+cu130"):
        seal(wheel, tmp_path, local_version="cu130", epoch=EPOCH)
    with pytest.raises(UsageError, match="'not valid!' is not a local version"):
        seal(wheel, tmp_path, local_version="not valid!", epoch=EPOCH)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_damaged_wheel_leaves_nothing_behind(tmp_path):
    wheel = build_wheel(tmp_path / "in" / NAME, FILES)
    data = wheel.read_bytes()
    wheel.write_bytes(data.replace(b"VALUE = 42", b"VALUE = 43"))
    with pytest.raises(InvalidWheelError, match="cannot be unpacked"):
        seal(wheel, tmp_path, local_version="cu130", epoch=EPOCH)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.e2e
def test_pip_installs_the_result(tmp_path):
    wheel = build_wheel(tmp_path / "in" / NAME, FILES, executable=["demo-1.0.data/scripts/run"])
    sealed = seal(wheel, tmp_path, local_version="cu130", epoch=EPOCH)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--no-index", sealed], check=True)
    code = "import demo, importlib.metadata as m; print(demo.VALUE, m.version('demo'))"
    run = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "42 1.0+cu130\n"
    script = subprocess.run([python.with_name("run")], check=True, capture_output=True, text=True)
    assert script.stdout == "ran\n"


def test_licence_files_are_named_in_the_metadata(tmp_path):
    extra = {
        "licenses/trees/cutlass/LICENSE.txt": b"BSD",
        "licenses/source/boost/LICENSE_1_0.txt": b"BSL",
        "sboms/x": b"",
    }
    found = {}
    for case, metadata in {
        "old": METADATA,
        "spelled": METADATA.replace("Summary", "Provides-Extra: Some_Extra\r\nSummary"),
        "own": METADATA.replace("Summary", "License-File: LICENSE\r\nSummary"),
        "new": METADATA.replace("2.1", "2.5").replace("Summary", "License-File: LICENSE\r\nSummary"),
        "bare": METADATA.partition("\r\n\r\n")[0] + "\r\n",
    }.items():
        wheel = build_wheel(tmp_path / case / NAME, FILES, metadata=metadata)
        with zipfile.ZipFile(seal(wheel, tmp_path, local_version=None, epoch=EPOCH, extra=extra)) as archive:
            text = archive.read("demo-1.0.dist-info/METADATA").decode()
            assert archive.read("demo-1.0.dist-info/licenses/trees/cutlass/LICENSE.txt") == b"BSD"
        headers = HeaderParser().parsestr(text)
        assert (headers.get_payload() == "Version: 1.0\r\n") == (case != "bare"), case
        found[case] = (headers["Metadata-Version"], headers.get_all("License-File"))
    added = ["source/boost/LICENSE_1_0.txt", "trees/cutlass/LICENSE.txt"]
    assert found == {
        "old": ("2.4", added),
        "spelled": ("2.1", added),  # 2.3 would ask for another spelling of the extra
        "own": ("2.1", ["LICENSE", *added]),  # 2.4 would look for it in licenses/
        "new": ("2.5", ["LICENSE", *added]),
        "bare": ("2.4", added),
    }


def test_licence_files_that_the_backend_put_there_and_did_not_name_are_named(tmp_path):
    files = {**FILES, "demo-1.0.dist-info/licenses/LICENCE": b"MPL", "demo-1.0.dist-info/licenses/NOTICE": b""}
    named = METADATA.replace("2.1", "2.4").replace("Summary", "License-File: NOTICE\r\nSummary")
    for case, metadata, version, names in (
        ("no", METADATA, "2.4", ["LICENCE", "NOTICE"]),
        ("one", named, "2.4", ["NOTICE", "LICENCE"]),
    ):
        wheel = build_wheel(tmp_path / case / NAME, files, metadata=metadata)
        with zipfile.ZipFile(seal(wheel, tmp_path, local_version="cu130", epoch=EPOCH)) as archive:
            headers = HeaderParser().parsestr(archive.read("demo-1.0+cu130.dist-info/METADATA").decode())
        assert (headers["Metadata-Version"], headers.get_all("License-File")) == (version, names), case
