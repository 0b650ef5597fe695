"""The licences of everything that was compiled into a wheel: the project's own, and those of the trees beside it.

In: a plan, the laid-out sources, and the backend's wheel. Out: `Licence`s, and the files that go into the wheel's
`.dist-info/licenses/` (PEP 639). Nothing fails: what cannot be read is left out. A text that the backend has put into
`.dist-info` is not put there twice.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.attest.sbom import LicenceFile, spdx_id
from wheelsmith.fsutil import entries_below, read_plain
from wheelsmith.planning.model import CANONICAL

if TYPE_CHECKING:
    from wheelsmith.planning.model import Plan

_NAME = re.compile(r"(?:LICEN[CS]E|COPYING|NOTICE|COPYRIGHT)(?:[._-].*)?", re.IGNORECASE)
_CODE = (".py", ".pyc", ".h", ".cpp", ".cu")
_LARGEST, _MOST = 1 << 20, 400  # bytes of one, and how many
_FOLDER = "licenses/"


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence file of a source.

    Attributes:
        source: the name of the tree, or of the package.
        file: where it is in the wheel, below `.dist-info/`, and its SPDX identifier.
        text: its bytes.
        added: whether it is to be added: the backend's wheel does not have it.
    """

    source: str
    file: LicenceFile
    text: bytes
    added: bool


def licences(plan: Plan, root: Path, wheel: Path) -> tuple[Licence, ...]:
    """Each licence file of the trees, of the source's own top, and of what the source vendors.

    Args:
        plan: what was built.
        root: the directory that stands for the canonical path.
        wheel: what the build backend made.
    """
    present = _in_wheel(wheel)
    places = [(tree.name, f"trees/{tree.name}", root / Path(tree.path).relative_to(CANONICAL)) for tree in plan.trees]
    found: list[Licence] = []
    for source, label, directory in [*places, (plan.name, "source", root / "src")]:
        for name, path in _files(directory):
            if len(found) >= _MOST or (text := _text(path)) is None:
                continue
            where = present.get(text, f"{_FOLDER}{label}/{name}")
            found.append(Licence(source, LicenceFile(where, spdx_id(text)), text, text not in present))
    return tuple(found)


def to_add(found: tuple[Licence, ...]) -> dict[str, bytes]:
    """What the wheel lacks: text by path below `.dist-info`."""
    return {item.file.path: item.text for item in found if item.added}


def _in_wheel(wheel: Path) -> dict[bytes, str]:
    """The licence files that a wheel has in its `.dist-info`: path below it by text."""
    present: dict[bytes, str] = {}
    with zipfile.ZipFile(wheel) as archive:
        for item in archive.infolist():
            top, _, below = item.filename.partition("/")
            if top.endswith(".dist-info") and _NAME.fullmatch(below.rpartition("/")[2]) and item.file_size <= _LARGEST:
                present.setdefault(archive.read(item), below)
    return present


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    if not directory.is_dir():
        return
    paths = sorted(Path(entry.path) for entry in entries_below(directory) if _NAME.fullmatch(entry.name))
    for path in paths:
        name = path.relative_to(directory).as_posix()
        if path.suffix not in _CODE and not name.startswith((".git/", "build/")) and ".egg-info/" not in name:
            yield name, path


def _text(path: Path) -> bytes | None:
    try:
        return read_plain(path, _LARGEST)
    except OSError:  # a link, a pipe, no permission
        return None
