"""What strangers hand over as the result of a build."""

import json
import os

import pytest

from wheelsmith.compile.result import RESULT_FILE, read_outcome, take_wheel
from wheelsmith.errors import CompileError


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a result that cannot be read"),
        (b"\xff{]", "a result that cannot be read"),
        (b"[" * 500_000, "a result that cannot be read"),
        (b"9" * 500_000, "a result that cannot be read"),
        (json.dumps({"wheel": 7}).encode(), "a result that cannot be read"),
        (json.dumps({"unmet": {}}).encode(), "a result that cannot be read"),
        (json.dumps({"failed": "x" * 5000}).encode(), "x" * 1000),
    ],
)
def test_a_result_without_sense_is_a_failure(tmp_path, content, words):
    (tmp_path / RESULT_FILE).write_bytes(content)
    assert read_outcome(tmp_path, 0).failed.endswith(words)


def test_a_huge_result_is_not_read(tmp_path):
    (tmp_path / RESULT_FILE).touch()
    os.truncate(tmp_path / RESULT_FILE, 10**13)
    with pytest.raises(CompileError, match=r"10,000,000,000,000 bytes, and 1,048,576 are believed"):
        read_outcome(tmp_path, 0)


@pytest.mark.parametrize("name", ["/etc/passwd", "a" * 5000 + "-1-py3-none-any.whl", "a\n-1-py3-none-any.whl", "x.whl"])
def test_a_name_that_no_wheel_has(tmp_path, name):
    (tmp_path / "out").mkdir()
    with pytest.raises(CompileError):
        take_wheel(tmp_path / "out", name, tmp_path / "taken")
