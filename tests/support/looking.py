"""What a client sees of an index in any storage, checked as it is read."""

import hashlib
import json
import posixpath
from urllib.parse import unquote

from wheelsmith.index.keys import is_page
from wheelsmith.index.storage import Storage


def page(storage: Storage, project: str | None, place: str = "") -> dict | None:
    """The JSON page of a project (or the list of all), or None."""
    folder = f"{place}/simple" if place else "simple"
    stored = storage.read(f"{folder}/{project}/index.json" if project else f"{folder}/index.json")
    return None if stored is None else json.loads(stored.data)


def files_on(storage: Storage, project: str, place: str = "") -> set[str]:
    """File names on a project's page, after checking that each is there with its hash and METADATA."""
    document = page(storage, project, place)
    folder = posixpath.join(place, "simple", project)
    names = set()
    for file in document["files"] if document else ():
        key = posixpath.normpath(posixpath.join(folder, unquote(file["url"])))
        wheel, metadata = storage.read(key), storage.read(f"{key}.metadata")
        assert hashlib.sha256(wheel.data).hexdigest() == file["hashes"]["sha256"]
        assert hashlib.sha256(metadata.data).hexdigest() == file["core-metadata"]["sha256"]
        names.add(file["filename"])
    return names


def listed(storage: Storage, place: str = "") -> list[str] | None:
    """Names on the list of all projects, or None if there is none."""
    document = page(storage, None, place)
    return None if document is None else [project["name"] for project in document["projects"]]


def all_pages(storage: Storage) -> dict[str, bytes]:
    """Every page, by key."""
    return {key: storage.read(key).data for key in storage.names() if is_page(key)}
