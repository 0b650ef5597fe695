"""What a package index lists of one project (PEP 503, PEP 691).

In: a project, and a session for the index. Out: `ListedFile`s. Fails with `NetworkError`, `AbsentError` (no such
project) and `SourceError` (what answers is no index, or its page costs too much to read). A page is a stranger's: it is
read by `page_reader.py`, in a process with limits of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from wheelsmith.children import start_child
from wheelsmith.errors import SourceError
from wheelsmith.sources.http import network_errors
from wheelsmith.sources.model import AbsentError, redact
from wheelsmith.sources.patience import TIMEOUT

if TYPE_CHECKING:
    import requests

_CPU_SECONDS = 60  # the largest page of a public index, 30 MB of HTML, takes 20
_MEMORY = 4 << 30  # bytes; parsed HTML takes fifty times its size
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_HEADERS = ("content-type", "last-modified", "x-pypi-last-serial")
_REMEDY = "Give the address of its simple API (it often ends in /simple/) with --index-url."


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A wheel or sdist on an index's page. `kind`: `wheel` or `sdist`; `version`: as its name says; `sha256`: if the
    page states one."""

    filename: str
    url: str
    kind: str
    version: str | None
    sha256: str | None
    requires_python: str | None
    yanked: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    files: tuple[ListedFile, ...] = ()
    problem: str = ""


def index_or_default(url: str | None) -> str:
    """The index at `url`; without one, the default of everybody's clients."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    return url or PYPI_SIMPLE_ENDPOINT


def project_page(index: str, project: str, session: requests.Session) -> tuple[ListedFile, ...]:
    """The files that the index at the URL `index` lists.

    Raises:
        NetworkError: it does not answer.
        AbsentError: it has no such project.
        SourceError: it does not answer as a package index.
    """
    url = f"{index.rstrip('/')}/{canonicalize_name(project)}/"
    with network_errors(index):
        response = session.get(url, timeout=TIMEOUT, headers={"Accept": _ACCEPT})
        if response.status_code == 404:
            raise AbsentError(
                f"The index {redact(index)} has no project {project}.", "Choose an index that has it: --index-url."
            )
        response.raise_for_status()
    head = {
        "project": project,
        "url": response.url,
        "headers": {name: response.headers[name] for name in _HEADERS if name in response.headers},
        "cpu_seconds": _CPU_SECONDS,
        "memory": _MEMORY,
    }
    answer = _read(json.dumps(head).encode() + b"\n" + response.content)
    if answer.problem:
        raise SourceError(
            f"{redact(index)} does not answer as a package index.", _REMEDY, detail=redact(answer.problem)
        )
    return answer.files


def _read(page: bytes) -> _Answer:
    import msgspec

    program = [sys.executable, "-I", str(Path(__file__).with_name("page_reader.py"))]
    with start_child(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        output, _ = process.communicate(page)
    if process.returncode:
        return _Answer(problem=f"its page takes more than {_CPU_SECONDS} s or {_MEMORY >> 30} GiB to read")
    try:
        return msgspec.json.decode(output, type=_Answer)
    except msgspec.ValidationError as error:
        return _Answer(problem=str(error))
