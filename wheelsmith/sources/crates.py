"""Rust crates: what a Cargo.lock names, brought into the store.

In: a plan whose package is in the store. Out: `Crate`s, each an archive with the SHA-256 of the lock or a git commit,
in the store. Fails with `SourceError` (no lock, a crate without a checksum), and as fetching does. Nothing is run.

A crate's URL is that of its index with `/NAME/VERSION/download` behind it: a prefix of it can stand in [mirrors]. Only
where the index itself is asked, its `config.json` says where the files are. Source: The Cargo Book, "Registry Index".
"""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from wheelsmith.errors import SourceError
from wheelsmith.planning.model import ArchiveSource, GitSource
from wheelsmith.sources import archive, git
from wheelsmith.sources.git_process import list_remote
from wheelsmith.sources.http import download, read_url
from wheelsmith.sources.mirrors import ask_places
from wheelsmith.sources.model import Fetched, redact
from wheelsmith.sources.safe_paths import below

if TYPE_CHECKING:
    from wheelsmith.config import Mirrors
    from wheelsmith.documents.table import JsonValue
    from wheelsmith.events import Listener
    from wheelsmith.planning.model import Plan, Source
    from wheelsmith.store import Store

#: How every Cargo.lock calls the registry that cargo knows by itself.
DEFAULT_INDEX = "https://github.com/rust-lang/crates.io-index"
_NAME, _VERSION, _SHA256 = (re.compile(p) for p in (r"[A-Za-z0-9_-]{1,64}", r"[0-9A-Za-z.+-]{1,128}", r"[0-9a-f]{64}"))
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MARKERS = ("{crate}", "{version}", "{prefix}", "{lowerprefix}", "{sha256-checksum}")
_CONFIG = "config.json"  # of an index
_REMEDY = "Commit a Cargo.lock that cargo has written (version 2 or newer), or leave [[crates]] out of the recipe."


@dataclass(frozen=True, slots=True)
class Crate:
    """A package of a Cargo.lock that is not the project's own.

    Attributes:
        name: its name.
        version: its version.
        origin: where it is from, as Cargo.lock has it.
        source: its archive, or its repository and commit.
    """

    name: str
    version: str
    origin: str
    source: ArchiveSource | GitSource

    @property
    def index(self) -> str:
        """The URL of its registry's index, as it is asked; of a repository, its own."""
        return _index(self.origin)


def read_lock(text: str, what: str) -> tuple[Crate, ...]:
    """The crates that a Cargo.lock names, in its order, without the packages of the project itself.

    Raises:
        SourceError: it is none, or a crate has no checksum.
    """
    try:
        packages = tomllib.loads(text).get("package", [])
        return tuple(_crate(item) for item in packages if "source" in item)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise SourceError(f"{what} is no Cargo.lock that can be vendored: {error}.", _REMEDY) from error


def crates_of(plan: Plan, store: Store, source: Path | None = None) -> tuple[Crate, ...]:
    """The crates of a plan, each once. The package's own source must be in the store, or as it is in `source`.

    Raises:
        SourceError, StoreError: the source has no such Cargo.lock, or is not there.
    """
    if not plan.crates:
        return ()
    if source is not None:
        return tuple(_read_locks(plan, source))
    with tempfile.TemporaryDirectory(dir=store.place("", ""), prefix=".crates-") as name:
        root = Path(name, "source")
        if isinstance(plan.source, GitSource):
            git.lay_out(plan.source, store, root)
        else:
            archive.lay_out(plan.source, store, root)
        return tuple(_read_locks(plan, root))


def _read_locks(plan: Plan, root: Path) -> dict[Crate, None]:
    found: dict[Crate, None] = {}
    for item in plan.crates:
        path = below(root, item.lock)
        if not path.is_file():
            raise SourceError(f"{redact(str(plan.source))} has no {item.lock}.", "Correct `lock` of its [[crates]].")
        found |= dict.fromkeys(read_lock(path.read_text("utf-8", "replace"), item.lock))
    return found


@dataclass(slots=True)
class Registries:
    """Fetches crates; asks each index once where its files are."""

    store: Store
    mirrors: Mirrors
    listener: Listener
    _roots: dict[str, str] = field(default_factory=dict)

    def fetch(self, crate: Crate) -> Fetched:
        """Bring a crate into the store.

        Raises:
            NetworkError, HashMismatchError, SourceError: as fetching an archive or a commit.
        """
        source = crate.source
        if isinstance(source, GitSource):
            return git.fetch(source, self.store, self.listener, self.mirrors)
        what = f"crate {crate.name} {crate.version}, sha256 {source.sha256}"
        if archive.present(source, self.store):
            return Fetched(what, source.sha256, 0, reused=True)

        def ask(place: str) -> int:
            url = self._file(crate, source.sha256) if place == source.url else place
            return download(url, source.sha256, self.store, listener=self.listener)

        size, place = ask_places(source.url, self.mirrors, ask, self.listener)
        return Fetched(what, source.sha256, size, reused=False, served_by=place)

    def _file(self, crate: Crate, sha256: str) -> str:
        """Where the registry has the file of a crate."""
        if crate.origin not in self._roots:
            self._roots[crate.origin] = self._root(crate)
        root = self._roots[crate.origin]
        if not any(marker in root for marker in _MARKERS):
            return f"{root.rstrip('/')}/{crate.name}/{crate.version}/download"
        prefix = _prefix(crate.name)
        values = (crate.name, crate.version, prefix, prefix.lower(), sha256)
        for marker, value in zip(_MARKERS, values, strict=True):
            root = root.replace(marker, value)
        return root

    def _root(self, crate: Crate) -> str:
        index = crate.index
        if crate.origin.startswith("sparse+"):
            text = read_url(f"{index}/{_CONFIG}").decode("utf-8", "replace")
        else:
            text = self._from_git(index)
        try:
            root = json.loads(text)["dl"]
            if urlsplit(root).scheme in {"http", "https", "file"}:
                return str(root)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise SourceError(f"{redact(index)} is no index of crates: its {_CONFIG} names no place.", "Ask its keeper.")

    def _from_git(self, index: str) -> str:
        def head(place: str) -> str:
            return list_remote(place, "HEAD").get("HEAD", "")

        commit, _ = ask_places(index, self.mirrors, head, self.listener)
        if not commit:
            raise SourceError(f"{redact(index)} has no HEAD.", "Correct the registry in Cargo.lock.")
        source = GitSource(index, commit, None, (_CONFIG,))
        git.fetch(source, self.store, self.listener, self.mirrors)
        with tempfile.TemporaryDirectory(dir=self.store.place("", ""), prefix=".index-") as name:
            git.lay_out(source, self.store, Path(name, "index"))
            return Path(name, "index", _CONFIG).read_text("utf-8", "replace")


def sources_of(plan: Plan, store: Store) -> Iterator[Source]:
    """Every source of a plan, each once; its crates last, see `crates_of`."""
    crates = (crate.source for crate in crates_of(plan, store))
    yield from dict.fromkeys((plan.source, *(tree.source for tree in plan.trees), *crates))


def _crate(item: Mapping[str, JsonValue]) -> Crate:
    name, version, origin = str(item["name"]), str(item["version"]), str(item["source"])
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise ValueError(f"{name} {version} is no crate")
    kind, _, rest = origin.partition("+")
    if kind == "git":
        url, _, commit = rest.partition("#")
        if not _COMMIT.fullmatch(commit):
            raise ValueError(f"{name} {version} names no commit")
        base, _, query = url.partition("?")
        tag = parse_qs(query).get("tag")
        return Crate(name, version, origin, GitSource(base, commit, tag[0] if tag else None))
    if kind not in {"registry", "sparse"}:
        raise ValueError(f"{name} {version} comes from {redact(origin)}")
    checksum = str(item.get("checksum", ""))
    if not _SHA256.fullmatch(checksum):
        raise ValueError(f"{name} {version} has no checksum")
    return Crate(name, version, origin, ArchiveSource(f"{_index(origin)}/{name}/{version}/download", checksum))


def _index(origin: str) -> str:
    return origin.partition("+")[2].partition("#")[0].partition("?")[0].rstrip("/")


def _prefix(name: str) -> str:
    """The folder of a crate in an index (The Cargo Book, "Index files")."""
    if len(name) < 3:
        return str(len(name))
    return f"3/{name[0]}" if len(name) == 3 else f"{name[:2]}/{name[2:4]}"
