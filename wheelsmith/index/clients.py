"""Configuration for the programs that install from an index.

In: the index's URL, and the projects that are to come from it. Out: text to paste. The rule in every one: a name
that is ours is asked of our index alone. `--extra-index-url` never appears: with it pip takes the highest version
from anywhere, and whoever publishes our name elsewhere with a higher version wins. Fails with `UsageError`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from wheelsmith.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Client = Literal["pip", "uv", "poetry", "docker"]
CLIENTS: tuple[Client, ...] = get_args(Client)

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def client_config(client: Client, url: str, projects: Sequence[str] = ()) -> str:
    """Return the configuration of a client for the index whose `simple/` folder is at `url`.

    Args:
        client: the program.
        url: http, https or file URL of `simple/`, without credentials.
        projects: normalized names that come from this index, for clients that say so per project.

    Raises:
        UsageError: the URL is none, holds credentials, or a name is no project name.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "file"} or (parts.scheme != "file" and not parts.hostname):
        raise UsageError(f"{url!r} is no URL of an index.", "Give it with its scheme, as in https://host/simple/.")
    if "@" in parts.netloc:
        raise UsageError(
            "The URL holds credentials, which do not belong in a configuration file.",
            "Leave them away and put the token into ~/.netrc (user __token__).",
        )
    if parts.query or parts.fragment or re.search(r"[\s\"'`$\\<>]", url):
        raise UsageError(f"{url!r} is no plain URL.", "Percent-encode special characters, and leave ? and # away.")
    for name in projects:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no normalized project name.", "Use lower case and single dashes (PEP 503).")
    url = urlunsplit(parts).rstrip("/") + "/"
    writers: dict[Client, Callable[[str, Sequence[str]], str]] = {
        "pip": _pip,
        "uv": _uv,
        "poetry": _poetry,
        "docker": _docker,
    }
    return writers[client](url, projects or ("NAME",)) + _credentials(url)


def _pip(url: str, projects: Sequence[str]) -> str:
    return f"""\
# pip.conf (~/.config/pip/pip.conf, or $VIRTUAL_ENV/pip.conf)
# pip asks one index only. What this one does not own, it must redirect by allow-list:
#   wheelsmith index serve --upstream URL --allow NAME ...
# Without that, install what comes from elsewhere first, then ours with: pip install --index-url {url} {projects[0]}
[global]
index-url = {url}
"""


def _uv(url: str, projects: Sequence[str]) -> str:
    sources = "\n".join(f'{name} = {{ index = "wheelsmith" }}' for name in projects)
    return f"""\
# pyproject.toml; `explicit` keeps every other project away from this index, and `sources` these on it
[[tool.uv.index]]
name = "wheelsmith"
url = "{url}"
explicit = true

[tool.uv.sources]
{sources}
"""


def _poetry(url: str, projects: Sequence[str]) -> str:
    lines = "\n".join(f'{name} = {{ version = "*", source = "wheelsmith" }}' for name in projects)
    return f"""\
# pyproject.toml; `explicit` keeps every other project away from this index
[[tool.poetry.source]]
name = "wheelsmith"
url = "{url}"
priority = "explicit"

[tool.poetry.dependencies]
{lines}
"""


def _docker(url: str, projects: Sequence[str]) -> str:
    names = " ".join(projects)
    return f"""\
# Dockerfile; the token comes as a build secret and stays in no layer:
#   docker build --secret id=netrc,src=$HOME/.netrc .
# --no-deps: what {names} need from elsewhere is installed before, from its own index.
RUN --mount=type=secret,id=netrc \\
    NETRC=/run/secrets/netrc pip install --no-deps --index-url {url} {names}
"""


def _credentials(url: str) -> str:
    host = urlsplit(url).hostname
    if host is None:
        return ""
    return f"""\

# Where reading needs a token, ~/.netrc (mode 600); pip and uv both read it:
#   machine {host} login __token__ password TOKEN
"""
