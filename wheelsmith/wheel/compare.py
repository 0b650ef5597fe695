"""Where two wheels differ: which member, and inside a library which ELF section.

In: two wheels. Out: `Difference`s, none if they are the same bytes. Fails with `InvalidWheelError` on a wheel that is
not sound; an ELF file that pyelftools cannot read differs as a whole. Sections are compared by digest, so memory stays
at one chunk and the wheels may be large.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from wheelsmith.wheel.archive import Archive, open_archive

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator
    from pathlib import Path

    from wheelsmith.documents.builds import DifferenceFacts

_CHUNK = 1 << 20
_MAX_SECTIONS = 10_000
_IN_MEMORY = 8 << 20
_RECORD = "RECORD"  # follows from the other members


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a library that differs: its name and its sizes in bytes (None: absent)."""

    name: str
    before: int | None
    after: int | None

    def __str__(self) -> str:
        before, after = ("absent" if size is None else f"{size:,} bytes" for size in (self.before, self.after))
        return f"{self.name} ({before})" if before == after else f"{self.name} ({before} → {after})"


@dataclass(frozen=True, slots=True)
class Difference:
    """A member that differs; for a library with the sections that do. `archive`: only the packing differs."""

    member: str
    kind: Literal["content", "only before", "only after", "archive"]
    sections: tuple[Section, ...] = ()

    def to_dict(self) -> DifferenceFacts:
        """JSON-ready form."""
        return {
            "member": self.member,
            "kind": self.kind,
            "sections": [{"name": s.name, "before": s.before, "after": s.after} for s in self.sections],
        }

    def __str__(self) -> str:
        if self.kind == "archive":
            return (
                f"{self.member}: every file in it is the same, byte for byte; the zip around them differs"
                " (compressed by another zlib, or written by another version)"
            )
        if self.kind != "content":
            return f"{self.member}: {self.kind}"
        return f"{self.member}: {', '.join(map(str, self.sections)) or 'content'}"


def compare(before: Path, after: Path) -> tuple[Difference, ...]:
    """Compare two wheels, member by member.

    RECORD is left out where another member differs: it must then differ as well.

    Raises:
        InvalidWheelError: one is not sound.
        UsageError: one is not there.
    """
    with open_archive(before) as old, open_archive(after) as new:
        found = tuple(_differences(old, new))
        if found or _digest(before) == _digest(after):
            return found
    return (Difference(after.name, "archive"),)


def _differences(old: Archive, new: Archive) -> Iterator[Difference]:
    ours = {member.filename: member for member in old.members}
    theirs = {member.filename: member for member in new.members}
    differing: list[Difference] = []
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in theirs:
            differing.append(Difference(name, "only before"))
        elif name not in ours:
            differing.append(Difference(name, "only after"))
        elif _member_digest(old, ours[name]) != _member_digest(new, theirs[name]):
            with _spooled(old, ours[name]) as one, _spooled(new, theirs[name]) as two:
                differing.append(Difference(name, "content", tuple(_sections(one, two))))
    records = {f"{archive.dist_info}/{_RECORD}" for archive in (old, new)}
    others = [difference for difference in differing if difference.member not in records]
    yield from others or differing


def _sections(before: IO[bytes], after: IO[bytes]) -> Iterator[Section]:
    ours, theirs = _section_digests(before), _section_digests(after)
    if not ours or not theirs:
        return
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        one, two = ours.get(key), theirs.get(key)
        if one != two:
            name, number = key
            yield Section(f"{name}#{number}" if number else name, one and one[0], two and two[0])


def _section_digests(stream: IO[bytes]) -> dict[tuple[str, int], tuple[int, str]]:
    """Size and digest of every section by name and, for names that come again, number. Empty: no readable ELF file."""
    stream.seek(0, 2)
    end = stream.tell()
    stream.seek(0)
    if stream.read(4) != b"\x7fELF":
        return {}
    stream.seek(0)
    found: dict[tuple[str, int], tuple[int, str]] = {}
    again: Counter[str] = Counter()
    try:
        elf = ELFFile(stream)
        if elf.num_sections() > _MAX_SECTIONS:
            return {}
        for section in elf.iter_sections():
            # Where sections lie follows from their sizes: only flags and content say what really changed.
            facts = f"{section['sh_type']} {section['sh_flags']}"
            size = 0 if section["sh_type"] == "SHT_NOBITS" else section["sh_size"]
            if section["sh_offset"] + size > end:
                return {}
            digest = hashlib.sha256(facts.encode())
            stream.seek(section["sh_offset"])
            left = size
            while left:
                chunk = stream.read(min(left, _CHUNK))
                digest.update(chunk)
                left -= len(chunk)
            name = section.name or "(unnamed)"
            found[name, again[name]] = section["sh_size"], digest.hexdigest()
            again[name] += 1
    except (ELFError, UnicodeDecodeError):
        return {}
    return found


@contextmanager
def _spooled(archive: Archive, member: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        file.writelines(archive.chunks(member))
        yield file


def _member_digest(archive: Archive, member: zipfile.ZipInfo) -> bytes:
    digest = hashlib.sha256()
    for chunk in archive.chunks(member):
        digest.update(chunk)
    return digest.digest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
