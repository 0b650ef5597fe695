"""A zip directory is bounded before it is read."""

import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.index_wheels import make_wheel
from wheelsmith.errors import InvalidWheelError
from wheelsmith.index.publish import publish
from wheelsmith.wheel.zip_directory import check_directory

NAME = "pkg-1.0-py3-none-any.whl"


def _archive(path: Path, directory: bytes, *, before: bytes = b"", count: int = 0) -> Path:
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(before), 0)
    path.write_bytes(before + directory + end)
    return path


@pytest.mark.parametrize(
    ("directory", "cause"),
    [
        (b"PK\1\2" + bytes(42) + b"PK\1\2" * 10_000_000, "has 40000046 bytes, and 33554432 are allowed"),
        ((b"PK\1\2" + bytes(42)) * 200_001, "it has more than 200000 members"),
        (bytes(100), "its directory holds something else"),
        (b"PK\1\2" + bytes(24) + b"\xff\xff" + bytes(16), "its directory ends in an entry"),
    ],
)
def test_a_hostile_directory_costs_bounded_memory(tmp_path: Path, directory: bytes, cause: str) -> None:
    wheel = _archive(tmp_path / NAME, directory, count=min(0xFFFF, len(directory) // 46))
    del directory
    tracemalloc.start()
    try:
        with pytest.raises(InvalidWheelError, match=cause):
            publish([wheel], "memory:///")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 << 20


def test_a_zip64_directory_is_bounded_too(tmp_path: Path) -> None:
    wheel = tmp_path / NAME
    directory = bytes(40 << 20)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    wheel.write_bytes(directory + record + locator + end)
    with pytest.raises(InvalidWheelError, match="has 41943040 bytes, and 33554432 are allowed"):
        check_directory(wheel)
    moved = locator.replace(struct.pack("<Q", len(directory)), struct.pack("<Q", 5))
    wheel.write_bytes(directory + record + moved + end)
    with pytest.raises(InvalidWheelError, match="its zip64 end record is not where it should be"):
        check_directory(wheel)


def test_what_two_readers_could_read_differently_is_refused(tmp_path: Path) -> None:
    good = make_wheel(tmp_path, "pkg", "1.0").read_bytes()
    wheel = tmp_path / NAME
    for data, cause in (
        (b"#!/bin/sh\n" + good, "its directory does not end where its end record begins"),
        (good + b"x", "its end record contradicts itself"),
        (good + good[-22:], "its directory does not end where its end record begins"),
        (b"", "it has no end record"),
    ):
        wheel.write_bytes(data)
        with pytest.raises(InvalidWheelError, match=cause):
            publish([wheel], "memory:///")


def test_ordinary_archives_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commented, large = tmp_path / "a.whl", tmp_path / "b.whl"
    with zipfile.ZipFile(commented, "w") as archive:
        archive.writestr("x", "y")
        archive.comment = b"a comment with PK\5\6 in it, and more behind it"
    with monkeypatch.context() as patch, zipfile.ZipFile(large, "w") as archive:
        patch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)  # zip64 without 65,536 members
        for number in range(5):
            archive.writestr(str(number), "")
        archive.close()
    assert b"PK\6\6" in large.read_bytes()
    check_directory(large)
    with pytest.raises(InvalidWheelError, match="end record contradicts itself"):
        check_directory(commented)
    with zipfile.ZipFile(commented, "a") as archive:
        archive.comment = b"a plain comment"
    check_directory(commented)


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_any_bytes_are_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, tail: bytes
) -> None:
    wheel = tmp_path_factory.getbasetemp() / NAME
    for data in (head, head + b"PK\5\6" + tail, head + b"PK\6\7" + bytes(16) + b"PK\5\6" + tail):
        wheel.write_bytes(data)
        try:
            check_directory(wheel)
        except InvalidWheelError as error:
            assert "is not a valid wheel" in error.cause
