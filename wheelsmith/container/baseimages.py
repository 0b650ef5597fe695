"""Which images there are to start from: the table beside this file.

In: a CUDA release. Out: the name of an image. Fails with `EngineError` for a release without one.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from wheelsmith.errors import EngineError


def devel_image(cuda: str) -> str:
    """The image with the CUDA toolkit `major.minor`, compilers and headers.

    Raises:
        EngineError: none is known.
    """
    known: dict[str, str] = _table()["devel"]
    if cuda not in known:
        raise EngineError(
            f"No devel image with CUDA {cuda} and Python 3.11 or newer is known.",
            f"Choose --cuda {' or '.join(known)}, or name an image of your own with --container-image.",
        )
    return known[cuda]


def is_named_here(image: str) -> bool:
    """Whether the name of an image comes from the table."""
    return image in _table()["devel"].values()


def runtime_image() -> str:
    """The image that consumers start from."""
    return str(_table()["runtime"])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("images.toml").read_text("utf-8"))
