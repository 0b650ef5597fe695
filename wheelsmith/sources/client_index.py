"""Which package index the user's own clients are configured for: wheelsmith asks the same one.

In: the environment and pip's configuration files. Out: a URL or None. Fails with `UsageError` if they cannot be read.
"""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path

from wheelsmith.errors import UsageError


def configured_index() -> str | None:
    """The index that uv's or pip's variables or pip's configuration files name; None: the clients' built-in one.

    Raises:
        UsageError: pip's configuration cannot be read.
    """
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if value := os.environ.get(name, "").strip():
            head, equals, rest = value.partition("=")  # uv allows NAME=URL
            return rest if equals and "/" not in head else value
    return _pip_configuration()


def _pip_configuration() -> str | None:
    """`global.index-url` as pip reads it: site, user and environment files, then PIP_CONFIG_FILE; the last one wins.

    Source: pip's documentation, "Configuration", section "Location".
    """
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return None
    home = Path.home()
    user = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    site = [Path(d) for d in (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")]
    files = [d / "pip/pip.conf" for d in site] + [Path("/etc/pip.conf"), home / ".pip/pip.conf", user / "pip/pip.conf"]
    files += [Path(sys.prefix, "pip.conf")] + ([Path(named)] if named else [])
    parser = configparser.RawConfigParser()
    try:
        parser.read(files, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UsageError(
            f"pip's configuration cannot be read: {str(error).splitlines()[0]}", "Correct it, or use --index-url."
        ) from error
    return parser.get("global", "index-url", fallback="").strip() or None
