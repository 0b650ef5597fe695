"""What a wheel, a folder or a single library holds.

In: a path. Out: a frozen `WheelReport`, ready for JSON. Fails with `InvalidWheelError` on anything unsound,
and with `UsageError` on a path that is none of the three. A wheel is read in place, two libraries at a time; a large
library passes through an unnamed temporary file, never through memory.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.metadata import parse_email
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.binary.window import Window
from wheelsmith.contract import CHOICES_FILE, Choice, choices_from_bytes
from wheelsmith.errors import InvalidWheelError, UsageError
from wheelsmith.fsutil import entries_below, sha256_of
from wheelsmith.wheel.archive import MAX_LIBRARY, Archive, PackedSizes, invalid, open_archive
from wheelsmith.wheel.contents import LIBRARY_MAGICS, Allowance, Unjudged, read_contents
from wheelsmith.wheel.manylinux import beyond_glibc, manylinux
from wheelsmith.wheel.report import LibraryReport, WheelReport

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable, Iterator, Mapping


_AT_ONCE = 2
_SMALL = 1 << 18
_BATCH = 64


@dataclass(frozen=True, slots=True)
class _Read:
    """What one or several files hold."""

    libraries: tuple[LibraryReport, ...]
    unjudged: tuple[Unjudged, ...]

    @classmethod
    def of(cls, parts: Iterable[_Read]) -> _Read:
        """All of them together, by path."""
        read = list(parts)
        return cls(
            tuple(sorted((x for part in read for x in part.libraries), key=lambda library: library.path)),
            tuple(sorted((x for part in read for x in part.unjudged), key=lambda item: item.path)),
        )


def inspect_path(path: Path) -> WheelReport:
    """Read a wheel, a single file, or all files below a folder, and the wheels in it (links are not followed).

    Raises:
        InvalidWheelError: the wheel is not safe to unpack or contradicts itself, or a library is malformed.
        UsageError: there is nothing at this path, or a file that holds nothing of interest.
    """
    if path.is_dir():
        found = _Read.of(_contents_below(path))
        return _unnamed("folder", path.name, None, sum(library.size for library in found.libraries), found)
    if path.suffix == ".whl":
        return _inspect_wheel(path)
    if not path.is_file():
        raise UsageError(f"There is nothing to inspect at {str(path)!r}.", "Give a wheel, a library or a folder.")
    found = _read_file(path, path.name)
    if not found.libraries and not found.unjudged:
        raise UsageError(
            f"{path.name!r} is neither a wheel nor a library, and holds no GPU code.",
            "Give a wheel, a library or a folder of them.",
        )
    return _unnamed("library", path.name, sha256_of(path), path.stat().st_size, found)


def inspect_files(title: str, files: Mapping[str, Path]) -> WheelReport:
    """Look into the files of a distribution that is installed.

    Args:
        title: what the report is called.
        files: where they are, by the path that they had in the wheel; those that are not there are left out.
    """
    allowance = Allowance()
    there = ((name, path) for name, path in sorted(files.items()) if path.is_file() and not path.is_symlink())
    found = _Read.of(_read_file(path, name, allowance) for name, path in there)
    return _unnamed("folder", title, None, sum(library.size for library in found.libraries), found)


def _unnamed(
    kind: Literal["folder", "library"], filename: str, sha256: str | None, size: int, found: _Read
) -> WheelReport:
    platform, because = manylinux(found.libraries), beyond_glibc(found.libraries)
    return WheelReport(
        kind, filename, sha256, size, None, None, (), (), found.libraries, platform, because, unjudged=found.unjudged
    )


def _inspect_wheel(path: Path) -> WheelReport:
    with open_archive(path) as archive, ThreadPoolExecutor(1) as aside:
        digest = aside.submit(sha256_of, path)
        found = _Read.of(_contents_of(archive))
        return WheelReport(
            kind="wheel",
            filename=path.name,
            sha256=digest.result(),
            size=path.stat().st_size,
            name=archive.name,
            version=str(archive.version),
            tags=archive.tags,
            requires_dist=_requirements(archive),
            libraries=found.libraries,
            platform=manylinux(found.libraries),
            platform_because=beyond_glibc(found.libraries),
            unjudged=found.unjudged,
            choices=_choices(archive),
        )


def _choices(archive: Archive) -> tuple[Choice, ...]:
    name = f"{archive.dist_info}/{CHOICES_FILE}"
    if not any(member.filename == name for member in archive.members):
        return ()
    try:
        return choices_from_bytes(archive.text(CHOICES_FILE))
    except ValueError as error:
        raise invalid(archive.path.name, f"its {CHOICES_FILE} is not wheelsmith's ({error})") from error


def _requirements(archive: Archive) -> tuple[str, ...]:
    """`Requires-Dist`, after checking that METADATA and the file name speak of one release."""
    raw, _ = parse_email(archive.text("METADATA"))
    name, version = raw.get("name", ""), raw.get("version", "")
    try:
        same = canonicalize_name(name) == archive.name and Version(version) == archive.version
    except InvalidVersion:
        same = False
    if not same:
        raise invalid(archive.path.name, f"its METADATA is of {name!r} {version!r}")
    return tuple(raw.get("requires_dist", ()))


def _contents_of(archive: Archive) -> Iterator[_Read]:
    members = [member for member in archive.members if member.file_size]
    members.sort(key=lambda member: member.compress_size, reverse=True)  # the longest first, so that none is last
    allowance = Allowance()
    large = [[member] for member in members if member.file_size > _SMALL]
    small = [member for member in members if member.file_size <= _SMALL]
    tasks = large + [small[start : start + _BATCH] for start in range(0, len(small), _BATCH)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(_read_members, archive, task, allowance) for task in tasks]
        try:
            for future in futures:
                yield from future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read_members(archive: Archive, members: list[zipfile.ZipInfo], allowance: Allowance) -> list[_Read]:
    found = (_read_member(archive, member, allowance) for member in members)
    return [read for read in found if read.libraries or read.unjudged]


def _read_member(archive: Archive, member: zipfile.ZipInfo, allowance: Allowance) -> _Read:
    if member.file_size > MAX_LIBRARY and not archive.starts_with(member, *LIBRARY_MAGICS):
        return _Read((), (Unjudged(member.filename, f"a file of {member.file_size} bytes, which is too large"),))
    with archive.opened(member) as (window, sizes):
        return _report(member.filename, window, allowance, (member.compress_size, sizes))


def _contents_below(folder: Path) -> Iterator[_Read]:
    """Each file, and each library of each wheel; what vanishes or may not be read is not judged."""
    allowance = Allowance()
    for path in sorted(Path(entry.path) for entry in entries_below(folder) if entry.is_file(follow_symlinks=False)):
        name = path.relative_to(folder).as_posix()
        try:
            yield _read_wheel(path, name) if path.suffix == ".whl" else _read_file(path, name, allowance)
        except OSError as error:
            yield _Read((), (Unjudged(name, f"a file that cannot be read: {error.strerror or error}"),))


def _read_wheel(path: Path, name: str) -> _Read:
    try:
        wheel = _inspect_wheel(path)
    except InvalidWheelError:  # it is judged as any other file is
        return _read_file(path, name)
    return _Read(
        tuple(replace(library, path=f"{name}({library.path})") for library in wheel.libraries),
        tuple(replace(item, path=f"{name}({item.path})") for item in wheel.unjudged),
    )


def _read_file(path: Path, name: str, allowance: Allowance | None = None) -> _Read:
    with path.open("rb") as file:
        return _report(name, Window.of_file(file.fileno()), allowance or Allowance())


def _report(
    path: str, data: Window, allowance: Allowance, stored: tuple[int, PackedSizes | None] | None = None
) -> _Read:
    """What a file holds; `stored`: the bytes that it takes in its wheel, and those of its parts."""
    packed, sizes = stored or (None, None)
    contents = read_contents(path, data, allowance)
    return _Read(
        tuple(
            LibraryReport(
                item.path,
                item.size,
                item.facts,
                packed if item.path == path else None,
                tuple(sizes.of(code.offset, code.size) for code in item.facts.device_code)
                if sizes and item.path == path
                else (),
            )
            for item in contents.items
        ),
        contents.unjudged,
    )
