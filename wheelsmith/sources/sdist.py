"""Sdists from a package index (PEP 503, PEP 691), chosen by the SHA-256 of the plan; nothing of the package is run.

In: an `SdistSource` and the index to ask. Out: a blob in the store. Fails with `NetworkError`, `SourceError` (no such
project, no sdist) and `HashMismatchError`, which names the digests that the index offers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version
from pypi_simple import (
    PYPI_SIMPLE_ENDPOINT,
    NoSuchProjectError,
    PyPISimple,
    UnsupportedRepoVersionError,
)

from wheelsmith.errors import HashMismatchError, SourceError
from wheelsmith.sources.archive import present
from wheelsmith.sources.model import Fetched, redact
from wheelsmith.sources.transfer import TIMEOUT, download, network_errors, open_session

if TYPE_CHECKING:
    import requests
    from pypi_simple import DistributionPackage

    from wheelsmith.events import Listener
    from wheelsmith.plan import SdistSource
    from wheelsmith.store import Store


def fetch(source: SdistSource, store: Store, index_url: str | None, listener: Listener) -> Fetched:
    """Bring the sdist into the store; the index is not asked when the store holds it.

    Raises:
        NetworkError: the index or its file host cannot be reached.
        SourceError: the index has no such project, or no sdist of this version.
        HashMismatchError: the index offers other files than the plan pins.
    """
    what = f"{source}"
    if present(source, store):
        return Fetched(what, source.sha256, 0, reused=True)
    session, url = open_session(index_url or PYPI_SIMPLE_ENDPOINT)
    with session:
        file = _choose(source, _sdists(source, url, session), url)
        size = download(file.url, source.sha256, store, listener=listener, session=session)
    return Fetched(what, source.sha256, size, reused=False)


def _sdists(source: SdistSource, url: str, session: requests.Session) -> list[DistributionPackage]:
    """Every sdist of this version that the index lists."""
    try:
        with network_errors(url):
            page = PyPISimple(url, session=session).get_project_page(source.project, timeout=TIMEOUT)
    except NoSuchProjectError as error:
        raise SourceError(
            f"The index {redact(url)} has no project {source.project}.", "Choose an index that has it: --index-url."
        ) from error
    except (ValueError, UnsupportedRepoVersionError) as error:  # another content type, or JSON of another shape
        raise SourceError(
            f"{redact(url)} does not answer as a package index.",
            "Give the address of its simple API (it often ends in /simple/) with --index-url.",
            detail=redact(str(error)),
        ) from error
    return [file for file in page.packages if file.package_type == "sdist" and _is(file.version, source.version)]


def _is(found: str | None, wanted: str) -> bool:
    try:
        return found is not None and Version(found) == Version(wanted)
    except InvalidVersion:
        return False


def _choose(source: SdistSource, sdists: list[DistributionPackage], url: str) -> DistributionPackage:
    if not sdists:
        raise SourceError(
            f"The index {redact(url)} has no sdist of {source.project} {source.version}.",
            "Choose an index that has it (--index-url), or give the recipe a git source.",
        )
    for file in sdists:
        if file.digests.get("sha256") == source.sha256:
            return file
    for file in sdists:
        if "sha256" not in file.digests:  # PEP 503 allows it; the download is checked
            return file
    offered = "\n".join(f"{file.digests['sha256']}  {file.filename}" for file in sdists)
    raise HashMismatchError(
        f"The index {redact(url)} offers no sdist of {source.project} {source.version} with the SHA-256"
        f" {source.sha256}.",
        "Ask the project which file is right before changing the recipe; the index may serve a rebuilt one.",
        detail=f"offered:\n{offered}",
    )
