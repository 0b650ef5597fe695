"""Which bytes name a path of this machine."""

import pytest

from tests.support.wheel_makers import build_wheel
from wheelsmith.wheel.paths import check_paths

NAME = "demo-1.0-cp312-cp312-linux_x86_64.whl"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"/house/x.h\0", True),
        (b"-I/house/include", True),
        (b"file:///house/x", True),
        (b"lib:/house", True),
        (b"/opt/../house/x", True),
        (b"/housefs/x", False),
        (b"/path/to/imagenet/house\n", False),  # from a README, and so from METADATA
        (b"$ORIGIN/../torch/house/lib", False),
        (b"/" + b"a" * 100_000 + b"/house/", True),  # no name of a file is that long
        (b"x/house /house ", True),
    ],
)
def test_a_path_counts_from_its_beginning_to_its_end(tmp_path, text, named):
    wheel = build_wheel(tmp_path / NAME, {"demo/a.txt": text})
    assert check_paths(wheel, ["/house", "/opt/store"]) == (("demo/a.txt",) if named else ())
