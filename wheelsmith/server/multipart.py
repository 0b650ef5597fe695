"""The form of an upload, read as it comes.

In: chunks of a `multipart/form-data` body (RFC 7578) and a sink for the file's bytes. Out: the few short fields
that matter. Memory is bounded whatever is sent: the file goes to the sink, long fields are dropped as they pass.
Fails with `Refusal` 400 when the form is malformed, has two files, or a file name that is no wheel's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from wheelsmith.attest.pep740 import MAX_BYTES
from wheelsmith.server.auth import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

FIELDS = frozenset(
    {":action", "protocol_version", "name", "version", "filetype", "md5_digest", "sha256_digest", "blake2_256_digest"}
    | {"attestations"}
)
_MAX_VALUE = 1024
_MAX_PARTS = 2000


class UploadForm:
    """A parser that is fed with `write` and finished with `finish`.

    Args:
        content_type: the request's header.
        start: called once with the file's name, before its first byte; may raise `Refusal`.
        data: called with each piece of the file.
    """

    def __init__(self, content_type: str, start: Callable[[str], None], data: Callable[[bytes], None]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise _malformed("it is no multipart/form-data")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.finished = False
        self._start, self._data = start, data
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._field: str | None = None
        self._parts = 0
        self._current = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def write(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def finish(self) -> str:
        """Return the file's name, after checking that form and file are complete."""
        if not self.finished:
            raise _malformed("it ends in the middle")
        if self.filename is None:
            raise _malformed("it has no file in the field 'content'")
        return self.filename

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise _malformed(f"it has more than {_MAX_PARTS} fields")
        self._disposition, self._field = b"", None
        self._current.clear()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        try:
            self._field = options.get(b"name", b"").decode()
            filename = options[b"filename"].decode() if b"filename" in options else None
        except UnicodeDecodeError as error:
            raise _malformed("a field name is not UTF-8") from error
        if self._field == "content":
            if filename is None or self.filename is not None:
                raise _malformed("it must have exactly one file in the field 'content'")
            self.filename = filename
            self._start(filename)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "content":
            self._data(data[start:end])
        elif self._field in FIELDS:
            self._current += data[start:end]
            most = MAX_BYTES if self._field == "attestations" else _MAX_VALUE
            if len(self._current) > most:
                raise _malformed(f"the field {self._field!r} is longer than {most} bytes")

    def _on_part_end(self) -> None:
        if self._field in FIELDS:
            if self._field in self.fields:
                raise _malformed(f"the field {self._field!r} comes twice")
            self.fields[self._field] = self._current.decode(errors="replace").strip()

    def _on_end(self) -> None:
        self.finished = True


def _malformed(what: str) -> Refusal:
    return Refusal(400, f"The upload's form cannot be used: {what}.", "form")
