"""What of the caller's own settings goes along into a container, so that a build there means what it means here.

In: the caller's environment, and the files that settings name. Out: `Carried`: variables, and what is mounted for
them. Values may hold credentials (of a proxy, an index, a bucket): they reach the container in one file, which is gone
as soon as it is read (`wheelsmith.container.inside`), and no command line, image or `inspect` has them. Fails with
`UsageError` where authorities are named that are not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wheelsmith.trust import authorities

#: What a build may ask over the network, how long it waits, what its logs look like, and its own settings.
_VALUES = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("UV_HTTP_TIMEOUT", "UV_INSECURE_HOST", "UV_PYTHON_INSTALL_MIRROR"),
    *("GITHUB_ACTIONS", "GITLAB_CI", "NO_COLOR"),
    *("WHEELSMITH_CACHE_KEY", "WHEELSMITH_TORCH_INDEX"),
)
#: What logs in to a compile cache, by the scheme of its URL: the vendors' own variables.
_VENDORS = {"s3": ("AWS_",), "gs": ("GOOGLE_",), "az": ("AZURE_", "AZURITE_")}
#: Variables that name a file with a key in it.
_KEY_FILES = (
    "WHEELSMITH_CACHE_KEY_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_FEDERATED_TOKEN_FILE",
)
_PROXIES = _VALUES[:8]
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Carried:
    """What goes along.

    Attributes:
        variables: names and values, with paths of this machine.
        read: files and directories that they name.
        written: a directory that they name and that the build writes to.
        urls: all that it may ask.
    """

    variables: Mapping[str, str]
    read: tuple[Path, ...] = ()
    written: tuple[Path, ...] = ()
    urls: tuple[str, ...] = ()

    @property
    def on_loopback(self) -> tuple[str, ...]:
        """Host and port of what of that listens on this machine only."""
        places = map(urlsplit, self.urls)
        return tuple(dict.fromkeys(url.netloc.rpartition("@")[2] for url in places if url.hostname in _LOOPBACK))

    @property
    def cloud(self) -> bool:
        """Whether the compile cache is one that needs the extra `cloud`."""
        return "://" in self.variables.get("WHEELSMITH_CACHE", "")


def carry(
    paths: Mapping[str, Sequence[Path]],
    *,
    cache: str | None = None,
    readonly: bool = False,
    urls: tuple[str | None, ...] = (),
    environment: Mapping[str, str] = os.environ,
) -> Carried:
    """Gather it.

    Args:
        paths: files and directories of settings, by the variable that names them; what is missing stays here.
        cache: directory or URL of the compile cache; None: the store's own.
        readonly: the cache is only read.
        urls: what else is asked: indexes, and mirrors of sources.
        environment: of the caller.
    """
    named = _VALUES + (_vendors(cache, environment) if cache else ())
    variables = {name: environment[name] for name in named if environment.get(name)}
    found = {name: [path.absolute() for path in several if path.exists()] for name, several in paths.items()}
    read = [path for several in found.values() for path in several]
    variables |= {name: os.pathsep.join(map(str, several)) for name, several in found.items() if several}
    for name in _KEY_FILES:
        if (value := environment.get(name)) and (name in variables or name == "WHEELSMITH_CACHE_KEY_FILE"):
            variables[name] = os.path.abspath(value)  # noqa: PTH100 - a link may lead elsewhere tomorrow
            read.append(Path(variables[name]))
    written: list[Path] = []
    if cache:
        place = Path(unquote(urlsplit(cache).path)) if cache.startswith("unix:") else Path(cache).absolute()
        variables["WHEELSMITH_CACHE"] = cache if "://" in cache else str(place)
        if "://" not in cache or cache.startswith("unix:"):
            (read if readonly or cache.startswith("unix:") else written).append(place)
    asked = [url for url in (*urls, cache) if url and "://" in url]
    asked += [value for name, value in variables.items() if name.lower().endswith(("_proxy", "_mirror", "_url"))]
    read += [Path(unquote(urlsplit(url).path)) for url in asked if url.startswith("file:")]
    return Carried(variables, tuple(path.absolute() for path in read if path.exists()), tuple(written), tuple(asked))


def _vendors(cache: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    prefixes = _VENDORS.get(cache.partition("://")[0], ())
    return tuple(sorted(name for name in environment if prefixes and name.startswith(prefixes)))


def bundle() -> bytes | None:
    """The authorities that the caller trusts, as one PEM file; None: only those that a Python knows by itself.

    Raises:
        UsageError: a variable names what is not there.
    """
    place = authorities()
    if place is None:
        return None
    files = sorted(Path(place).iterdir()) if Path(place).is_dir() else [Path(place)]
    return b"".join(_certificates(files)) or None


def _certificates(files: list[Path]) -> Iterator[bytes]:
    """The content of those that can be read and hold certificates, each once."""
    seen = set()
    for path in files:
        try:
            data = path.read_bytes() if path.is_file() else b""
        except OSError:
            continue
        if b"-----BEGIN CERTIFICATE-----" in data and data not in seen:
            seen.add(data)
            yield data if data.endswith(b"\n") else data + b"\n"


def proxies(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The names of the variables with proxies that are set."""
    return tuple(name for name in _PROXIES if environment.get(name))


def netrc(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The credentials that pip and uv would use here."""
    path = Path(environment.get("NETRC") or Path.home() / ".netrc")
    return path.absolute() if path.is_file() else None
