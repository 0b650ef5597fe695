"""One published file: everything that the pages say about it.

In: the values. Out: `Entry`. Nothing can fail: values were checked when the file was published.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from packaging.version import Version


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
        variant: such as `cu128-torch2.9`, or None for a file that fits every variant.
        provenance_sha256: of the attestations beside the wheel (PEP 740), or None where there are none.
        publication: name of the publication that brought it, or None.
        wheel_variant: `variant.json` of a variant wheel (see `wheelvariant`), or None for a plain one.
        stored_at: key of the wheel relative to the index's root, if that is not its file name.
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
    variant: str | None = None
    provenance_sha256: str | None = None
    publication: str | None = None
    stored_at: str | None = None
    wheel_variant: dict[str, Any] | None = None

    @property
    def path(self) -> str:
        """Key of the wheel relative to the index's root; METADATA is beside it."""
        return self.stored_at or self.filename

    @property
    def order(self) -> tuple[Version, str]:
        """The place of this file on its page: by version, then by file name."""
        return Version(self.version), self.filename
