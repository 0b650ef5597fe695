"""Archives that are cut or have a wrong byte: never unpacked in part, and called damaged."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile

import pytest

from wheelsmith.errors import SourceError
from wheelsmith.sources.archive import unpack

FILES = {f"x-1/{number}.py": random.Random(number).randbytes(3000).hex().encode() for number in range(5)}


def _tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


def _zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return made.getvalue()


def _wrong(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


TAR, ZIP = _tar(), _zip()
GZ = gzip.compress(TAR, mtime=0)
SECOND = 512 + 6144  # where the header of the second member lies


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (GZ[:9000], "a gzip file", "ended before"),
        (_wrong(GZ, -6), "a gzip file", "CRC check failed"),
        (gzip.compress(_wrong(TAR, SECOND + 150)), "a gzip file", "the header after 1 members cannot be read"),
        (_wrong(TAR, SECOND + 150), "a tar archive", "the header after 1 members cannot be read"),
        (TAR[:9000], "a tar archive", "unexpected end"),
        (_wrong(TAR, 20), "a tar archive", "bad checksum"),
        (lzma.compress(TAR)[:9000], "an xz file", "ended before"),
        (bz2.compress(TAR)[:-9], "a bzip2 file", "ended before"),
        (ZIP[:9000], "a zip archive", "not a zip file"),
        (_wrong(ZIP, 9000), "a zip archive", ""),
    ],
)
def test_what_is_damaged_is_called_so_and_leaves_nothing(tmp_path, data, kind, said):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(SourceError) as caught:
        unpack(tmp_path / "file", tmp_path / "out", "sdist of x 1")
    assert caught.value.cause.startswith(f"The sdist of x 1 is damaged: it begins as {kind}, and then: ")
    assert said in caught.value.cause
    assert caught.value.remedy.startswith("Fetch it again")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(SourceError) as caught:
        unpack(tmp_path / "file", tmp_path / "out", "sdist of x 1", pinned=True)
    assert "pin the SHA-256 of a sound copy" in caught.value.remedy


@pytest.mark.parametrize("data", [b"<html>404</html>" * 90, b"", gzip.compress(b"no tar at all, " * 99)])
def test_what_is_no_archive_is_not_called_damaged(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(SourceError, match="cannot be unpacked") as caught:
        unpack(tmp_path / "file", tmp_path / "out", "sdist of x 1")
    assert caught.value.remedy.startswith("Supported are")


@pytest.mark.parametrize("data", [TAR, GZ, TAR[: 5 * SECOND], GZ + b"and something else", lzma.compress(TAR), ZIP])
def test_sound_ones_are_unpacked_whole(tmp_path, data):
    """Also without the blocks that end a tar archive, and with something behind a gzip file."""
    (tmp_path / "file").write_bytes(data)
    unpack(tmp_path / "file", tmp_path / "out", "sdist of x 1")
    assert {f"x-1/{path.name}": path.read_bytes() for path in (tmp_path / "out").iterdir()} == FILES
