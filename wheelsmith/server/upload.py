"""POST: one wheel from `twine upload` or `uv publish` into the index, or nothing at all.

In: a request of the legacy upload API, as bytes come. Out: `Published`. The body goes to a file of its own while
three digests are counted; only when they agree with the form, the name with the token, and the wheel with its
name, is it handed to `publish`. Fails with `Refusal`: 400 what was sent is wrong, 403 the token does not
cover it, 408 too slow, 409 the name holds other bytes, 411/413 length, 503 too many, 507 no space.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import hmac
import logging
import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING, BinaryIO, Protocol

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from starlette.requests import ClientDisconnect

from wheelsmith.attest.pep740 import provenance_of
from wheelsmith.errors import DiskFullError, IndexConflictError, InvalidWheelError, WheelsmithError
from wheelsmith.fsutil import sha256_of
from wheelsmith.index import keys
from wheelsmith.index.metadata import parse_filename
from wheelsmith.index.publish import Published, publish
from wheelsmith.index.record import OverlapError
from wheelsmith.index.web.site import render
from wheelsmith.server.auth import Refusal
from wheelsmith.server.multipart import UploadForm
from wheelsmith.wheel.zip_directory import open_wheel_archive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request

    from wheelsmith.server.metrics import Metrics
    from wheelsmith.server.settings import Settings
    from wheelsmith.server.tokens import Token

_LOG = logging.getLogger(__name__)
_BATCH = 1 << 20


class Uploads:
    """The uploads of one server, in a folder of its own that is removed when the server dies."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._running = 0
        _sweep(settings.incoming)
        self._folder = settings.incoming / secrets.token_hex(8)
        self._folder.mkdir(mode=0o700)
        self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    async def take(self, request: Request, token: Token) -> Published:
        """Read one upload and publish it.

        Raises:
            Refusal: it is not published, and nothing of it is kept.
            DiskFullError, StoreError: the index cannot be written.
        """
        length = self._length(request)
        if self._running >= self._settings.max_uploads:
            raise Refusal(503, "Too many uploads are running; try again in a minute.", "busy")
        folder = self._folder / secrets.token_hex(8)
        self._running += 1
        try:
            with self._metrics.uploads_running.track_inprogress(), self._metrics.upload_seconds.time():
                folder.mkdir()
                wheel, attestations = await self._receive(request, token, folder, length)
                return await asyncio.to_thread(self._publish, wheel, attestations, token)
        finally:
            self._running -= 1
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _length(self, request: Request) -> int:
        stated = request.headers.get("content-length", "")
        if not stated.isdecimal():
            raise Refusal(411, "An upload must state its Content-Length.", "length")
        length = int(stated)
        if length > self._settings.max_upload:
            raise Refusal(
                413, f"The upload has {length} bytes; this index takes {self._settings.max_upload}.", "too-large"
            )
        free = shutil.disk_usage(self._settings.incoming).free
        if 2 * length > free:  # once as it comes, once in the staging folder
            raise Refusal(507, f"The index has no space for {length} bytes.", "no-space")
        return length

    async def _receive(self, request: Request, token: Token, folder: Path, length: int) -> tuple[Path, str]:
        """Store the body's file under its own name; return its path and attestations when the form agrees with it."""

        def start(filename: str) -> None:
            try:
                project, _ = parse_filename(filename)
            except InvalidWheelError as error:
                raise Refusal(400, f"{error.cause} {error.remedy}", "filename") from error
            if not token.may_publish(project):
                raise Refusal(403, f"The token {token.id} may not publish {project}.", "scope", token.id)

        pending: list[bytes] = []
        form = UploadForm(request.headers.get("content-type", ""), start, pending.append)
        with (folder / "body").open("xb") as stream:
            sink = _Sink(stream)
            waiting = 0
            async for chunk in self._timely(request, length):
                self._metrics.upload_bytes.inc(len(chunk))
                form.write(chunk)
                waiting += len(chunk)
                if waiting >= _BATCH:
                    await asyncio.to_thread(sink.write, b"".join(pending))
                    pending.clear()
                    waiting = 0
            await asyncio.to_thread(sink.write, b"".join(pending))
        filename = form.finish()
        _check_fields(form.fields, filename)
        sink.check(form.fields)
        return (folder / "body").rename(folder / filename), form.fields.get("attestations", "")

    async def _timely(self, request: Request, length: int) -> AsyncIterator[bytes]:
        """The body's chunks; a client that stalls, or is too slow as a whole, is refused."""
        settings = self._settings
        deadline = time.monotonic() + settings.stall_seconds + length / settings.upload_rate
        stream = aiter(request.stream())
        while True:
            patience = min(settings.stall_seconds, deadline - time.monotonic())
            try:
                async with asyncio.timeout(max(patience, 0)):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise Refusal(408, "The upload is too slow, or has stopped.", "slow") from None
            except ClientDisconnect:
                raise Refusal(400, "The upload ended before it was complete.", "half") from None
            yield chunk

    def _publish(self, wheel: Path, attestations: str, token: Token) -> Published:
        try:
            self._check_size(wheel)
            if attestations:
                provenance = provenance_of(attestations, wheel.name, sha256_of(wheel), {"token": token.id})
                wheel.with_name(keys.provenance(wheel.name)).write_bytes(provenance)
            (published,) = publish([wheel], self._settings.root)
        except InvalidWheelError as error:
            raise Refusal(400, f"{error.cause} {error.remedy}", "wheel") from error
        except OverlapError as error:  # not 409: twine and uv may be told to pass by what exists already
            remedy = "Give it another version or local version, or publish it on the server with --overlap."
            raise Refusal(400, f"{error.cause} {remedy}", "overlap") from error
        except IndexConflictError as error:
            raise Refusal(409, f"File already exists. {error.cause} {error.remedy}", "conflict") from error
        except DiskFullError as error:
            raise Refusal(507, f"{error.cause}", "no-space") from error
        try:  # the wheel is published; its pages for people are made again with the next one
            if (directory := self._settings.directory) is not None:
                render(directory, projects=[parse_filename(wheel.name)[0]], url=self._settings.public_url)
        except WheelsmithError:
            _LOG.exception("pages for people")
        return published

    def _check_size(self, wheel: Path) -> None:
        """Refuse what would take too long to unpack; `publish` holds the members against these sizes."""
        with open_wheel_archive(wheel) as archive:
            total = sum(member.file_size for member in archive.members)
        if total > self._settings.max_unpacked:
            allowed = self._settings.max_unpacked
            raise Refusal(400, f"{wheel.name} unpacks to {total} bytes; {allowed} are allowed.", "too-large")


class _Digest(Protocol):
    """What hashlib's hashes have in common."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Sink:
    """A file that counts what goes in."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digests: dict[str, _Digest] = {
            "md5_digest": hashlib.md5(usedforsecurity=False),
            "sha256_digest": hashlib.sha256(),
            "blake2_256_digest": hashlib.blake2b(digest_size=32),
        }

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        for digest in self._digests.values():
            digest.update(data)

    def check(self, fields: dict[str, str]) -> None:
        """Hold the counted digests against every stated one; a strong one must be stated."""
        stated = {field: fields[field].lower() for field in self._digests if fields.get(field)}
        if not stated.keys() & {"sha256_digest", "blake2_256_digest"}:
            raise Refusal(400, "The form states neither sha256_digest nor blake2_256_digest.", "digest")
        for field, value in stated.items():
            if not hmac.compare_digest(self._digests[field].hexdigest().encode(), value.encode()):
                raise Refusal(400, f"The file that arrived has another {field} than the form states.", "digest")


def _check_fields(fields: dict[str, str], filename: str) -> None:
    if fields.get(":action") != "file_upload" or fields.get("protocol_version", "1") != "1":
        raise Refusal(400, "Only :action=file_upload with protocol_version=1 is understood.", "form")
    if fields.get("filetype", "bdist_wheel") != "bdist_wheel":
        raise Refusal(400, f"Only wheels are published here, no {fields['filetype']}.", "filetype")
    project, version = parse_filename(filename)
    name, stated = fields.get("name", ""), fields.get("version", "")
    try:
        agrees = canonicalize_name(name) == project and Version(stated) == version
    except InvalidVersion:
        agrees = False
    if not agrees:
        raise Refusal(400, f"The form says {name!r} {stated!r}, the file is {filename}.", "identity")


def _sweep(incoming: Path) -> None:
    """Remove the folders of dead servers: those whose lock is free."""
    incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in incoming.iterdir():
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
