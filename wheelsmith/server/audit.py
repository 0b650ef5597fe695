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

from wheelsmith.index.files import storage_errors

if TYPE_CHECKING:
    from pathlib import Path

_LOG = logging.getLogger(__name__)


class AuditLog:
    """Appends to the file at `path`; log rotation by rename is noticed at the next start."""

    def __init__(self, path: Path) -> None:
        with storage_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, event: str, **values: str | int | None) -> None:
        """Append one line with the time in UTC, the event, and the values that are not None."""
        told = {key: value for key, value in values.items() if value is not None}
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **told}
        data = json.dumps(line).encode() + b"\n"
        try:
            os.write(self._descriptor, data)
        except OSError as error:
            _LOG.error("audit log: %s: %s", error.strerror, line)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
