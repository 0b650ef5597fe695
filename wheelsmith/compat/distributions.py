"""The C++ library that a machine or an image has: which symbol versions its libstdc++.so.6 defines.

In: an image's name, or this machine. Out: `Distribution` or `CxxLibrary`; None where nothing is known. A table that
breaks is a fault of ours, and raises `KeyError`; it is checked by the tests. It runs inside images too: the standard
library and `wheelsmith.compat.model` are all that it imports.
"""

from __future__ import annotations

import platform
import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from wheelsmith.compat.model import CxxLibrary

_LIBRARY = "libstdc++.so.6"
_DEFINED = re.compile(rb"\0(GLIBCXX|CXXABI)_(\d{1,4}(?:\.\d{1,4}){1,3})(?=\0)")
_LARGEST = 64 << 20
_LDCONFIG = ("ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig")


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution that images are made of.

    Attributes:
        name: such as `Ubuntu 24.04`.
        glibc: version of its C library.
        cxx: of its libstdc++.
    """

    name: str
    glibc: str
    cxx: CxxLibrary


def distribution_of(image: str) -> Distribution | None:
    """The distribution that an image's name tells; None: it tells none, or one that is not in the table."""
    for name, row in _table().items():
        for word in row["names"]:
            if re.search(rf"(?<![\w.]){re.escape(word)}(?![\w]|\.\d)", image):
                return Distribution(name, row["glibc"], CxxLibrary(row["glibcxx"], row["cxxabi"]))
    return None


def known_distributions() -> tuple[str, ...]:
    """One name of an image of each."""
    return tuple(row["names"][0] for row in _table().values())


def cxx_library_here() -> CxxLibrary | None:
    """The one that the loader of this machine finds; None: none, or it cannot be read."""
    path = next(_candidates(), None)
    return None if path is None else cxx_library(path)


def cxx_library(path: Path) -> CxxLibrary | None:
    """The newest versions that a libstdc++ defines; None: it cannot be read."""
    newest: dict[bytes, tuple[int, ...]] = {}
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST)
    except OSError:
        return None
    for found in _DEFINED.finditer(data):  # libstdc++ needs none of its own versions: what it names, it defines
        newest[found[1]] = max(newest.get(found[1], ()), tuple(map(int, found[2].split(b"."))))
    texts = {name: ".".join(map(str, number)) for name, number in newest.items()}
    return CxxLibrary(texts.get(b"GLIBCXX"), texts.get(b"CXXABI")) if texts else None


def _candidates() -> Iterator[Path]:
    """Where it may be: as the loader's cache says, else where distributions have it."""
    wide = platform.architecture()[0] == "64bit"
    for program in _LDCONFIG:
        try:
            told = subprocess.run([program, "-p"], capture_output=True, text=True, timeout=30, check=False).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        for line in told.splitlines():
            name, arrow, place = line.strip().partition(" => ")
            if arrow and name.startswith(f"{_LIBRARY} ") and ("64" in name) == wide:
                yield Path(place)
        break
    for folder in (f"/usr/lib/{platform.machine()}-linux-gnu", "/usr/lib64", "/usr/lib"):
        if (path := Path(folder, _LIBRARY)).is_file():
            yield path


@cache
def _table() -> dict[str, dict[str, str]]:
    text = files(__package__).joinpath("distributions.toml").read_text("utf-8")
    table: dict[str, dict[str, str]] = tomllib.loads(text)["distribution"]
    return table
