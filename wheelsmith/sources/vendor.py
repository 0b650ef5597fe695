"""Crates from the store as a directory in which cargo finds all that it needs, without network: as `cargo vendor`.

In: a plan whose crates are in the store, and a directory. Out: CARGO_HOME in it: config.toml, and every crate. Fails
with `SourceError` (a repository lacks its package, an archive is unsafe) and `StoreError`. Nothing of a crate is run.
Source: The Cargo Book, "Source Replacement"; .cargo-checksum.json as cargo 1.95 reads it.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from wheelsmith.documents.table import JsonValue
from wheelsmith.errors import SourceError
from wheelsmith.fsutil import remove_tree
from wheelsmith.planning.model import CANONICAL, CARGO_HOME, GitSource
from wheelsmith.sources import archive, git
from wheelsmith.sources.cargo_manifest import inherits, standing_alone, table_of, toml_key, toml_value
from wheelsmith.sources.crates import DEFAULT_INDEX, Crate, crates_of
from wheelsmith.sources.model import redact

if TYPE_CHECKING:
    from wheelsmith.planning.model import Plan
    from wheelsmith.store import Store

_DIRECTORY = Path(CARGO_HOME).relative_to(CANONICAL)


def lay_out(plan: Plan, store: Store, into: Path) -> None:
    """Make the directory for CARGO_HOME below `into`, in which the package is laid out: config.toml, and every crate.

    Raises:
        StoreError: the store does not hold a crate.
        SourceError: a crate's archive is unsafe, or a repository lacks its package.
    """
    if not plan.crates:
        return
    crates, home = crates_of(plan, store, into / "src"), into / _DIRECTORY
    (home / "crates").mkdir(parents=True)
    for number, crate in enumerate(crates):
        place = home / "crates" / f"{crate.name}-{crate.version}"
        if place.exists():
            raise SourceError(f"Two crates are {place.name}, from two sources.", "Leave [[crates]] out of the recipe.")
        checksum = None
        if isinstance(crate.source, GitSource):
            _from_repository(crate, crate.source, store, home / f"git-{number}", place)
        else:
            archive.lay_out(crate.source, store, place)
            checksum = crate.source.sha256
        (place / ".cargo-checksum.json").write_text(json.dumps({"files": {}, "package": checksum}), "utf-8")
    (home / "config.toml").write_text(_config(crates), "utf-8")


def _from_repository(crate: Crate, source: GitSource, store: Store, scratch: Path, place: Path) -> None:
    """One package of a repository, as publishing would write it: on its own, with nothing inherited."""
    git.lay_out(source, store, scratch)
    manifests = {path: _manifest(path) for path in sorted(scratch.rglob("Cargo.toml")) if not path.is_symlink()}
    named = [path for path, said in manifests.items() if table_of(said.get("package")).get("name") == crate.name]
    if len(named) != 1:
        raise SourceError(
            f"{redact(source.url)} at {source.commit} has {len(named)} packages {crate.name}.",
            "Leave [[crates]] out of the recipe.",
        )
    own, workspace = manifests[named[0]], dict[str, JsonValue]()
    if inherits(own):
        above = [path for path in manifests if path.parent in (named[0].parent, *named[0].parent.parents)]
        roots = [said["workspace"] for path in reversed(above) if "workspace" in (said := manifests[path])]
        workspace = table_of(roots[0]) if roots else workspace
    nested = [path.parent for path in manifests if path != named[0] and path.is_relative_to(named[0].parent)]
    for inner in sorted(nested, reverse=True):
        remove_tree(inner)
    named[0].write_text(standing_alone(own, workspace, _repository(crate)), "utf-8")
    named[0].parent.rename(place)
    remove_tree(scratch)


def _manifest(path: Path) -> dict[str, JsonValue]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}  # a test's: if cargo needs it, the package is missing, and that is said


def _repository(crate: Crate) -> dict[str, str]:
    """A crate's repository as a manifest names it."""
    url, _, query = crate.origin.removeprefix("git+").partition("#")[0].partition("?")
    return {"git": url} | {key: values[0] for key, values in parse_qs(query).items()}


def _config(crates: tuple[Crate, ...]) -> str:
    """CARGO_HOME/config.toml: every source is this directory, and there is no network."""
    places: dict[str, dict[str, str]] = {"crates-io": {}}
    for crate in crates:
        kind, _, rest = crate.origin.partition("+")
        if kind == "git":
            places[crate.origin.partition("#")[0]] = _repository(crate)
        elif crate.index != DEFAULT_INDEX:
            places[crate.origin] = {"registry": crate.origin if kind == "sparse" else rest}
    lines = []
    for name, said in places.items():
        lines += [f"[source.{toml_key(name)}]", *(f"{key} = {toml_value(value)}" for key, value in said.items())]
        lines += ['replace-with = "wheelsmith"', ""]
    # A relative directory is below the parent of CARGO_HOME.
    lines += ["[source.wheelsmith]", f'directory = "{_DIRECTORY}/crates"', "", "[net]", "offline = true", ""]
    return "\n".join(lines)
