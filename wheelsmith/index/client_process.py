"""Running pip and its like for a try-out: heard line by line, and quoted when they fail.

In: a command and its whole environment. Out: the lines that it printed. Fails with `InstallError`.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from wheelsmith.children import start_child
from wheelsmith.errors import InstallError
from wheelsmith.events import Listener, ToolLine, ignore
from wheelsmith.trust import tool_variables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TAIL = 40  # lines of a tool's output that an error quotes

_PLAIN = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
_NETWORK = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NETRC")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
_XDG = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME")
_PIP = (
    "PIP_CACHE_DIR",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_CONFIG_FILE",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_INDEX_URL",
    "PIP_KEYRING_PROVIDER",
    "PIP_NO_INDEX",
    "PIP_PROXY",
    "PIP_RETRIES",
    "PIP_TRUSTED_HOST",
)
_UV = (
    "UV_CACHE_DIR",
    "UV_CONFIG_FILE",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_OFFLINE",
)


def clean_environment() -> dict[str, str]:
    """Return what a program needs to start, and nothing that changes what it finds (PYTHONPATH, LD_*)."""
    return _allowed(_PLAIN)


def client_environment() -> dict[str, str]:
    """Return `clean_environment` and the caller's own settings for pip's and uv's indexes and network."""
    proxies = (*_PROXIES, *(name.upper() for name in _PROXIES))
    return tool_variables() | _allowed((*_PLAIN, *_NETWORK, *proxies, *_XDG, *_PIP, *_UV))


def run_tool(
    command: Sequence[str],
    *,
    what: str,
    remedy: str,
    environment: dict[str, str],
    cwd: Path,
    listener: Listener = ignore,
) -> list[str]:
    """Run a tool to its end, and return the lines of its stdout and stderr together.

    Args:
        command: the program and its arguments.
        what: what it does, in words that follow "could not", for the error.
        remedy: what to do if it fails.
        environment: its whole environment.
        cwd: its working directory.
        listener: hears each line as `ToolLine` of the stage `index`.

    Raises:
        InstallError: it does not start, or ends with another code than 0.
    """
    lines: list[str] = []
    try:
        process = start_child(
            command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise InstallError(f"Could not {what}: {command[0]}: {error.strerror}.", remedy) from error
    with process:
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                listener(ToolLine("index", lines[-1]))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        ended = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        raise InstallError(f"Could not {what} ({ended}).", remedy, detail="\n".join(lines[-_TAIL:]))
    return lines


def _allowed(names: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}
