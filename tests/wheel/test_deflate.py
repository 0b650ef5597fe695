"""Deflate on many processors: one stream for who unpacks it, and the same one for any number of processors."""

import random
import zipfile
import zlib

import pytest

from tests.support.wheel_makers import build_wheel
from wheelsmith.wheel.archive import open_archive
from wheelsmith.wheel.deflate import Deflate
from wheelsmith.wheel.rewrite import Changes, repack_as_before, write_wheel

MIB = 1 << 20
WORDS = b"".join(b"%06d" % number for number in random.Random(5).choices(range(40_000), k=600_000))  # 3.6 MB


def stream(data: bytes, piece: int, threads: int, level: int = 1) -> bytes:
    one = Deflate(level, threads)
    return b"".join(one.compress(data[at : at + piece]) for at in range(0, len(data), piece)) + one.flush()


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, len(WORDS)])
def test_one_stream_whatever_the_pieces_and_the_processors(size):
    data = WORDS[:size]
    made = stream(data, 1 << 16, 1)
    assert zlib.decompress(made, -15) == data
    assert made == stream(data, 3 * MIB, 4) == stream(data, 777_777, 3)


def test_what_was_said_in_the_block_before_is_not_said_again():
    block = random.Random(7).randbytes(MIB)
    twice = block + block[-20_000:]
    assert len(stream(twice, MIB, 2)) < MIB + 2_000
    assert stream(twice, MIB, 2, level=0).count(block[-20_000:]) == 2


def test_a_wheel_is_written_so(tmp_path):
    words = WORDS[: MIB + 1000]
    wheel = build_wheel(tmp_path / "in" / "demo-1.0-py3-none-any.whl", {"demo/words.txt": words})
    with open_archive(wheel) as archive:
        made = write_wheel(archive, tmp_path / "out.whl", Changes(), epoch=1_700_000_000)
    with zipfile.ZipFile(made) as archive:
        assert archive.testzip() is None
        (member,) = (one for one in archive.infolist() if one.filename == "demo/words.txt")
        assert member.compress_size == len(stream(words, MIB, 2, level=6))
        assert archive.read(member) == words


def test_a_wheel_of_before_there_were_blocks_comes_out_again(tmp_path):
    """As zipfile itself compresses it: wheels that an older version made are repeated with their own bytes."""
    words = WORDS[: MIB + 1000]
    wheel = build_wheel(tmp_path / "in" / "demo-1.0-py3-none-any.whl", {"demo/words.txt": words})
    with open_archive(wheel) as archive:
        made = write_wheel(archive, tmp_path / "demo-1.0-py3-none-any.whl", Changes(), epoch=1_700_000_000)
    before = repack_as_before(made, tmp_path / "before")
    one = zlib.compressobj(6, zlib.DEFLATED, -15)
    plain = one.compress(words) + one.flush()
    assert (plain in before.read_bytes(), plain in made.read_bytes()) == (True, False)
    with zipfile.ZipFile(made) as new, zipfile.ZipFile(before) as old:
        assert [(i.filename, i.date_time, i.external_attr, new.read(i)) for i in new.infolist()] == [
            (i.filename, i.date_time, i.external_attr, old.read(i)) for i in old.infolist()
        ]
