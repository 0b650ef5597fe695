"""Run uv, and say in our words why it failed.

In: arguments. Out: what it printed. Fails with `NetworkError`, `OfflineError`, `HashMismatchError`, `DiskFullError`,
`StoreError` (uv's cache) or `EnvironmentBuildError`. uv keeps its own configuration (indexes, credentials, proxies):
those are the user's.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from wheelsmith.children import run_child
from wheelsmith.errors import (
    DiskFullError,
    EnvironmentBuildError,
    HashMismatchError,
    NetworkError,
    OfflineError,
    StoreError,
    WheelsmithError,
)
from wheelsmith.events import Listener, ToolLine
from wheelsmith.trust import TLS_REMEDY, is_tls, tool_variables

_NO_WHEELS = re.compile(r"\b([\w.-]+)(?:[=<>!~]\S*)? has no usable wheels")
_CREDENTIALS = re.compile(r"//[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Uv:
    """How to run uv: whether it may use the network, which index it asks (None: its own configuration's), and which
    other index has torch's nightly builds."""

    offline: bool
    index_url: str | None
    listener: Listener
    torch_index: str | None = None

    @property
    def origin(self) -> str:
        """Where packages come from, in words that may be published: no credentials, no path of this machine."""
        if self.index_url is None:
            return "the index of uv's own configuration"
        return "files" if self.index_url.startswith("file:") else _CREDENTIALS.sub("//", self.index_url)

    def run(self, *arguments: str | Path, purpose: str) -> str:
        """Run `uv ARGUMENTS` and return what it prints. `purpose` is a phrase for messages.

        Raises:
            WheelsmithError: one of the classes above, with uv's words as detail.
        """
        command = [find_uv_bin(), *map(str, arguments), "--quiet", "--no-progress", "--no-python-downloads"]
        if self.offline:
            command.append("--offline")
        if self.index_url is not None and arguments[0] == "pip":
            command += ["--default-index", self.index_url]
        # In the root directory: an index that the current directory's project names is not the user's choice.
        done = run_child(command, cwd=os.path.sep, env=os.environ | tool_variables())
        words = _CREDENTIALS.sub("//***@", done.stderr)
        for line in words.splitlines():
            self.listener(ToolLine("toolchain", line))
        if done.returncode != 0:
            raise _why(words, purpose, self.offline)
        return done.stdout


def _why(words: str, purpose: str, offline: bool) -> WheelsmithError:  # noqa: PLR0911 - a table of answers
    detail = "\n".join(words.strip().splitlines()[-12:])
    if "No space left on device" in words or "os error 28" in words:
        return DiskFullError(f"The disk is full: {purpose} failed.", "Free some space, then run again.", detail=detail)
    if "Hash mismatch" in words or "hash mismatch" in words:
        return HashMismatchError(
            f"{purpose} failed: a downloaded file is not the one that the lock pins.",
            "Check the index or mirror that served it; the lock must not be changed to make this pass.",
            detail=detail,
        )
    if offline and re.search(r"offline|not found in the cache|network was disabled", words, re.IGNORECASE):
        return OfflineError(
            f"{purpose} failed: something is not in uv's cache, and --offline was given.",
            "Run once without --offline (`wheelsmith fetch` is enough).",
            detail=detail,
        )
    if is_tls(words):
        return NetworkError(f"{purpose} failed: the package index is not trusted.", TLS_REMEDY, detail=detail)
    if re.search(r"dns error|error sending request|Could not connect|timed? ?out|tcp connect", words, re.IGNORECASE):
        return NetworkError(
            f"{purpose} failed: the package index cannot be reached.",
            "Check the connection and proxy, or name a mirror with --index-url.",
            detail=detail,
        )
    if found := re.search(r"Failed to initialize cache at `([^`]+)`", words):
        cause, remedy = (
            f"uv's cache {found[1]} cannot be written",
            "Set UV_CACHE_DIR to a directory that you may write to.",
        )
        return StoreError(f"{purpose} failed: {cause}.", remedy, detail=detail)
    if names := sorted(set(_NO_WHEELS.findall(words))):
        return EnvironmentBuildError(
            f"{purpose} failed: the index has {' and '.join(names)} as source only, and a build wants wheels.",
            "Make its wheel first (`wheelsmith build`, `pip wheel`); UV_FIND_LINKS=DIR says where it lies.",
            detail=detail,
        )
    return EnvironmentBuildError(f"{purpose} failed.", "uv's words above say what does not fit.", detail=detail)
