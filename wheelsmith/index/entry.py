"""One published file: everything that the pages say about it.

In: a record (JSON bytes) or the values themselves. Out: `Entry`, and its record. The record is the file's
sidecar in the index: it keeps what the wheel alone does not tell (when it was published, whether it is
yanked) next to what would be slow to compute again (the digests). Fails with `StoreError` on a damaged
record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Literal

from packaging.version import Version
from pydantic import TypeAdapter, ValidationError

from wheelsmith.errors import StoreError


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the index.

    Attributes:
        filename: the wheel's file name, not encoded.
        project: normalized project name (PEP 503).
        version: normalized version (PEP 440).
        sha256: of the wheel, 64 hexadecimal digits.
        size: of the wheel, in bytes (PEP 700).
        metadata_sha256: of the METADATA file beside the wheel (PEP 714).
        requires_python: `Requires-Python` of the wheel, or None.
        upload_time: when it was first published, in UTC (PEP 700).
        yanked: None, or the reason why it is yanked, which may be empty (PEP 592).
        schema: version of the record's format.
    """

    filename: str
    project: str
    version: str
    sha256: str
    size: int
    metadata_sha256: str
    requires_python: str | None
    upload_time: datetime
    yanked: str | None = None
    schema: Literal[1] = 1

    @property
    def order(self) -> tuple[Version, str]:
        """The place of this file on its page: by version, then by file name."""
        return Version(self.version), self.filename

    def to_record(self) -> bytes:
        """Return the record that `from_record` reads."""
        return _adapter().dump_json(self, indent=2) + b"\n"

    @classmethod
    def from_record(cls, record: bytes, where: str) -> Entry:
        """Read a record; `where` names it in errors.

        Raises:
            StoreError: the record is damaged.
        """
        try:
            return _adapter().validate_json(record)
        except ValidationError as error:
            raise StoreError(
                f"The index record {where} is damaged ({error.error_count()} errors).",
                "Restore it from a backup, or delete it and publish its wheel again.",
                detail=str(error),
            ) from error


@cache
def _adapter() -> TypeAdapter[Entry]:
    return TypeAdapter(Entry)
