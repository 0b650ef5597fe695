"""Sdists from a package index (PEP 503, PEP 691), chosen by the SHA-256 of the plan; nothing of the package is run.

In: an `SdistSource` and the index to ask. Out: a blob in the store. Fails with `NetworkError`, `SourceError` (no such
project, no sdist) and `HashMismatchError`, which names the digests that the index offers.
"""

from __future__ import annotations

import tarfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import InvalidVersion, Version

from wheelsmith.config import NO_MIRRORS
from wheelsmith.errors import HashMismatchError
from wheelsmith.events import ignore
from wheelsmith.fsutil import sha256_of
from wheelsmith.planning.model import SdistSource
from wheelsmith.sources.archive import present
from wheelsmith.sources.http import download, open_session
from wheelsmith.sources.mirrors import ask_places
from wheelsmith.sources.model import AbsentError, Fetched, redact
from wheelsmith.sources.project_page import ListedFile, index_or_default, project_page

if TYPE_CHECKING:
    import requests
    from packaging.specifiers import SpecifierSet

    from wheelsmith.config import Mirrors
    from wheelsmith.events import Listener
    from wheelsmith.store import Store


def fetch(
    source: SdistSource, store: Store, index_url: str | None, listener: Listener, mirrors: Mirrors = NO_MIRRORS
) -> Fetched:
    """Bring the sdist into the store; the index is not asked when the store holds it.

    A mirror of the index is another index, or a directory of this machine with one folder for each project.

    Raises:
        NetworkError: the index or its file host cannot be reached.
        SourceError: the index has no such project, or no sdist of this version.
        HashMismatchError: the index offers other files than the plan pins.
    """
    what = f"{source}"
    if present(source, store):
        return Fetched(what, source.sha256, 0, reused=True)

    def ask(place: str) -> int:
        if place.startswith("file:"):
            return download(_in_folder(source, place), source.sha256, store, listener=listener)
        session, url = open_session(place)
        with session:
            file = _choose(source, _sdists(source, url, session), url)
            return download(file.url, source.sha256, store, listener=listener, session=session)

    size, place = ask_places(index_or_default(index_url), mirrors, ask, listener)
    return Fetched(what, source.sha256, size, reused=False, served_by=place)


def find(project: str, version: str, index_url: str | None = None, mirrors: Mirrors = NO_MIRRORS) -> SdistSource:
    """The sdist of `version` that the index lists, with the SHA-256 that it states: what a recipe may pin.

    Raises:
        NetworkError, SourceError: as `fetch`; also if the index states no SHA-256.
    """

    def ask(place: str) -> SdistSource:
        if place.startswith("file:"):
            folder = _folder(project, place)
            for path in sorted(folder.glob("*")):
                if _is_sdist(path.name, project, version):
                    return SdistSource(project, version, sha256_of(path))
            raise _no_sdist(project, version, place)
        session, url = open_session(place)
        with session:
            listed = _sdists(SdistSource(project, version, ""), url, session)
        for file in listed:
            if file.sha256:
                return SdistSource(project, version, file.sha256)
        raise _no_sdist(project, version, url)

    return ask_places(index_or_default(index_url), mirrors, ask, ignore)[0]


def newest(
    project: str, specifier: SpecifierSet, index_url: str | None = None, mirrors: Mirrors = NO_MIRRORS
) -> SdistSource:
    """The sdist of the newest version that `specifier` admits and the index lists (PEP 592: not a yanked one).

    Raises:
        NetworkError, SourceError: as `find`.
    """

    def ask(place: str) -> str:
        if place.startswith("file:"):
            names = [path.name for path in _folder(project, place).glob("*")]
        else:
            session, url = open_session(place)
            with session:
                names = [file.filename for file in project_page(url, project, session) if not file.yanked]
        versions = [version for name in names for version in _sdist_versions(name, project)]
        for version in specifier.filter(sorted(versions, reverse=True)):
            return str(version)
        wheels = f" It has wheels of it: {names[-1]}." if names else ""
        raise AbsentError(
            f"The index {redact(place)} has no sdist of {project}{specifier}.{wheels}",
            f"Name its repository: `wheelsmith recipes new git+https://…/{project}.git@TAG`.",
        )

    version, _ = ask_places(index_or_default(index_url), mirrors, ask, ignore)
    return find(project, version, index_url, mirrors)


def _sdist_versions(filename: str, project: str) -> list[Version]:
    try:
        name, version = parse_sdist_filename(filename)
    except (InvalidSdistFilename, InvalidVersion):
        return []
    return [version] if name == canonicalize_name(project) else []


def versions(project: str, index_url: str | None = None, mirrors: Mirrors = NO_MIRRORS) -> dict[str, str]:
    """Every version that the index has an sdist of, with its SHA-256 (empty: the index states none).

    Raises:
        NetworkError, SourceError: as `fetch`.
    """

    def ask(place: str) -> dict[str, str]:
        if place.startswith("file:"):
            paths = sorted(_folder(project, place).glob("*"))
            named = ((path, _version_of(path.name, project)) for path in paths)
            return {version: sha256_of(path) for path, version in named if version is not None}
        session, url = open_session(place)
        with session:
            listed = project_page(url, project, session)
        found = {}
        for file in listed:
            if file.kind == "sdist" and not file.yanked and _is_version(file.version):
                found[str(Version(str(file.version)))] = file.sha256 or ""
        return found

    return ask_places(index_or_default(index_url), mirrors, ask, ignore)[0]


def stored(project: str, store: Store) -> dict[str, str]:
    """The versions whose sdist the store holds, with its SHA-256: by the folder that each archive has at its top."""
    found: dict[str, str] = {}
    for path in sorted(store.place("blobs", "").glob("[0-9a-f]*")):
        with suppress(OSError, tarfile.TarError, EOFError, zlib.error, ValueError):
            with path.open("rb") as file:
                if file.read(2) != b"\x1f\x8b":
                    continue
            with tarfile.open(path, "r:gz") as archive:
                first = archive.next()
            top = first.name.partition("/")[0] if first else ""
            if (version := _version_of(f"{top}.tar.gz", project)) is not None:
                found[version] = path.name
    return found


def _version_of(filename: str, project: str) -> str | None:
    try:
        name, version = parse_sdist_filename(filename)
    except InvalidSdistFilename:
        return None
    return str(version) if name == canonicalize_name(project) else None


def _is_version(text: str | None) -> bool:
    try:
        return text is not None and bool(Version(text))
    except InvalidVersion:
        return False


def _folder(project: str, place: str) -> Path:
    return Path(url2pathname(urlsplit(place).path), canonicalize_name(project))


def _is_sdist(filename: str, project: str, version: str) -> bool:
    found = _version_of(filename, project)
    return found is not None and Version(found) == Version(version)


def _in_folder(source: SdistSource, place: str) -> str:
    """The file of a directory laid out as an index (PEP 503) that has the digest of the plan."""
    folder = _folder(source.project, place)
    for path in sorted(folder.glob("*")):
        if path.is_file() and sha256_of(path) == source.sha256:
            return path.as_uri()
    raise AbsentError(f"{folder} has no file with the SHA-256 {source.sha256}.", "Copy the sdist there.")


def _sdists(source: SdistSource, url: str, session: requests.Session) -> list[ListedFile]:
    """Every sdist of this version that the index lists."""
    files = project_page(url, source.project, session)
    return [file for file in files if file.kind == "sdist" and _is(file.version, source.version)]


def _is(found: str | None, wanted: str) -> bool:
    try:
        return found is not None and Version(found) == Version(wanted)
    except InvalidVersion:
        return False


def _choose(source: SdistSource, sdists: list[ListedFile], url: str) -> ListedFile:
    if not sdists:
        raise _no_sdist(source.project, source.version, url)
    for file in sdists:
        if file.sha256 == source.sha256:
            return file
    for file in sdists:
        if file.sha256 is None:  # PEP 503 allows it; the download is checked
            return file
    if len(set(source.sha256)) == 1:
        raise HashMismatchError(
            f"The recipe's SHA-256 of {source.project} {source.version} is a placeholder.",
            f"Write the one that the index states, if you trust it: {sdists[0].sha256}",
        )
    offered = "\n".join(f"{file.sha256}  {file.filename}" for file in sdists)
    raise HashMismatchError(
        f"The index {redact(url)} offers no sdist of {source.project} {source.version} with the SHA-256"
        f" {source.sha256}.",
        "Ask the project which file is right before changing the recipe; the index may serve a rebuilt one.",
        detail=f"offered:\n{offered}",
    )


def _no_sdist(project: str, version: str, url: str) -> AbsentError:
    return AbsentError(
        f"The index {redact(url)} has no sdist of {project} {version}.",
        "Choose an index that has it (--index-url), or give the recipe a git source.",
    )
