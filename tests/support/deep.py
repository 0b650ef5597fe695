"""Directories that are a test for who must read or remove them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def deep(top: Path, levels: int = 3000) -> Iterator[None]:
    """Below `top`: directories deeper than a path can name (4096 bytes), a function can call itself, or a process can
    have files open. A file is in the last one. What of it is left is removed in the end: pytest cannot."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("deep", dir_fd=here)
        there = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    yield
    subprocess.run(["rm", "-rf", top], check=True)
