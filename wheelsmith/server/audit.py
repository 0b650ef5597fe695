"""The audit log: one JSON object per line, for everything that was changed or refused.

In: an event and its values. Out: a line, appended in one `write` to a file that only its owner reads, so that
several processes can share it. Secrets never come here. Fails with `StoreError` when the file cannot be
opened; a line that cannot be written (a full disk) goes to the program's own log instead.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wheelsmith.index.files import locked, storage_errors

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = 5
_LOG = logging.getLogger(__name__)


class AuditLog:
    """Appends to the file at `path`, or to the program's own log where nothing may be written (None).

    A file that has become longer than `most` bytes is renamed to `audit.jsonl.1`, that one to `.2`, and so on to `.5`.
    A rename by somebody else is noticed too.
    """

    def __init__(self, path: Path | None, most: int = 64 << 20) -> None:
        self._path, self._most = path, most
        self._descriptor = -1
        if path is not None:
            with storage_errors(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._open(path)

    def write(self, event: str, **values: str | int | None) -> None:
        """Append one line with the time in UTC, the event, and the values that are not None."""
        told = {key: value for key, value in values.items() if value is not None}
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **told}
        if self._path is None:
            _LOG.warning("%s", json.dumps(line))
            return
        try:
            self._turn(self._path)
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")
        except OSError as error:
            _LOG.error("audit log: %s: %s", error.strerror, line)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _open(self, path: Path) -> None:
        new = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.close()
        self._descriptor = new

    def _turn(self, path: Path) -> None:
        """Go on in a new file if this one is full, or no longer under its name; one process does it for all."""
        ours = os.fstat(self._descriptor)
        if ours.st_size < self._most and ours.st_nlink and path.exists() and os.path.samestat(ours, path.stat()):
            return
        with locked(path.with_name(f"{path.name}.lock")):
            if path.exists() and path.stat().st_size >= self._most:
                for number in range(_KEPT, 0, -1):
                    older = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
                    if older.exists():
                        older.rename(path.with_name(f"{path.name}.{number}"))
            self._open(path)
