"""The user's configuration file, and the mirrors that it names.

In: a TOML file (`WHEELSMITH_CONFIG`, else `config.toml` in the user's configuration directory). Out: a `Config`, an
empty one if there is no file. Fails with `UsageError`, which names file and key. A mirror says where bytes come from,
never which bytes: the commits and hashes of the recipe decide, and a plan is the same with and without mirrors.

    require_isolation = true

    [mirrors]
    "https://github.com/" = ["/srv/mirror/github.com/", "https://git.example.org/github/"]
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wheelsmith.errors import UsageError

CONFIG_NAME = "config.toml"
#: What the file may hold, and what it does.
KEYS = {
    "mirrors": "a table: beginnings of upstream URLs, and the place or the list of places that stand for them",
    "require_isolation": "`true`: builds that cannot be confined are refused, as with `--require-isolation`",
}
#: Set inside a container that `wheelsmith build` runs in, to the name of its base image.
IMAGE_VARIABLE = "WHEELSMITH_CONTAINER_IMAGE"
_SCHEMES = ("https", "http", "ssh", "git", "file")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:")  # git's short form of ssh, which no URL parser understands


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Prefixes of upstream URLs, each with the places (URLs) that stand for it, the first choice first.

    `closed`: upstream is never asked where no prefix fits, for who is offline.
    """

    places: tuple[tuple[str, tuple[str, ...]], ...] = ()
    closed: bool = False

    def of(self, url: str) -> tuple[str, ...]:
        """Where to ask for `url`, in order: the places of the longest prefix that fits, or `url` itself.

        A prefix ends where a part of the path ends: `https://host/nv` does not stand for `https://host/nvidia`, but
        for `https://host/nv.git`, which is the same repository. Upstream is asked only if no prefix fits, or if it is
        listed among the places.
        """
        whole = _bare(url)
        for prefix, places in sorted(self.places, key=lambda item: -len(item[0])):
            base = prefix.rstrip("/")
            if whole == _bare(prefix):
                return places
            if url.startswith(f"{base}/"):
                rest = url[len(base) :].strip("/")
                return tuple(f"{place.rstrip('/')}/{rest}" for place in places)
        return () if self.closed and not url.startswith("file:") else (url,)

    @property
    def local(self) -> Mirrors:
        """Those places alone that are directories of this machine, and nothing beside them."""
        kept = ((prefix, tuple(one for one in places if one.startswith("file:"))) for prefix, places in self.places)
        return Mirrors(tuple(kept), closed=True)


def _bare(url: str) -> str:
    return url.rstrip("/").removesuffix(".git")


NO_MIRRORS = Mirrors()


@dataclass(frozen=True, slots=True)
class Config:
    """What the configuration file says. `origin` is the file; None: there is none."""

    mirrors: Mirrors = NO_MIRRORS
    origin: Path | None = None
    require_isolation: bool = False  # builds that cannot be confined are refused


def config_path() -> Path:
    """Where the configuration file is looked for: `WHEELSMITH_CONFIG`, else the user's configuration directory."""
    from platformdirs import user_config_path

    named = os.environ.get("WHEELSMITH_CONFIG")
    return Path(named) if named else user_config_path("wheelsmith") / CONFIG_NAME


def load_config(path: Path | None = None) -> Config:
    """Read the configuration file at `path`; None: the one of `config_path`, which need not be there.

    Raises:
        UsageError: a file that was named is missing, it is no TOML, has an unknown key or a place that is no location.
    """
    named = path is not None or bool(os.environ.get("WHEELSMITH_CONFIG"))
    path = path or config_path()
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        if named:
            raise UsageError(f"There is no configuration file {path}.", "Correct WHEELSMITH_CONFIG.") from error
        return Config()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"The configuration file {path} cannot be read: {error}.", "Correct the file.") from error
    unknown = sorted(data.keys() - KEYS.keys())
    if unknown:
        raise UsageError(f"{path}: unknown key {unknown[0]!r}.", f"Valid here are {' and '.join(KEYS)}.")
    required = data.get("require_isolation", False)
    if not isinstance(required, bool):
        raise UsageError(f"{path}: require_isolation is {required!r}.", "It is true or false.")
    table = data.get("mirrors", {})
    if not isinstance(table, dict):
        raise _wrong(path, "mirrors", "is not a table")
    mirrors = Mirrors(tuple((prefix, _places(path, prefix, value)) for prefix, value in table.items()))
    return Config(mirrors, path, required)


def _places(path: Path, prefix: str, value: object) -> tuple[str, ...]:
    if not urlsplit(prefix).scheme:
        raise _wrong(path, prefix, "is not the beginning of a URL")
    places = [value] if isinstance(value, str) else value
    if not isinstance(places, list) or not places or not all(isinstance(place, str) and place for place in places):
        raise _wrong(path, prefix, "needs one location or a list of them")
    return tuple(_location(path, prefix, place) for place in places)


def _location(path: Path, prefix: str, place: str) -> str:
    """The place as a URL. A path is relative to the configuration file, so that both can be carried together."""
    parts = urlsplit(place)
    if _SCP.match(place):
        raise _wrong(path, prefix, f"{place!r} is not a URL; write ssh://user@host/path")
    if not parts.scheme:
        # Absolute, but not resolved: what a symbolic link names may change between runs.
        return Path(os.path.abspath(path.parent / Path(place).expanduser())).as_uri()  # noqa: PTH100
    if parts.scheme not in _SCHEMES:
        raise _wrong(path, prefix, f"{parts.scheme!r} is none of {', '.join(_SCHEMES)}")
    if parts.password or (parts.username and parts.scheme != "ssh"):
        raise _wrong(path, prefix, "a location must not hold credentials; put them into ~/.netrc, or use ssh")
    return place


def _wrong(path: Path, key: str, what: str) -> UsageError:
    shown = re.sub(r"//[^/@\s]*@", "//", key)
    return UsageError(
        f"{path}: mirrors.{shown!r}: {what}.", 'Write it as in "https://github.com/" = "/srv/mirror/github.com/".'
    )
