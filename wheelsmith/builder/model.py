"""What a build takes and gives: how to build, what was made, what came of it.

In: nothing. Out: values. Nothing can fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.config import NO_MIRRORS, Mirrors

if TYPE_CHECKING:
    from wheelsmith.compile.selection import Claims
    from wheelsmith.documents.builds import BuildDocument, BuildRecord
    from wheelsmith.index.publish import Published
    from wheelsmith.planning.model import Plan
    from wheelsmith.toolchain.ccache.entries import Entries

RECORD_VERSION = 1


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A finished build.

    Attributes:
        plan: what was built.
        wheel: the wheel in the index; in the store, if the index is a bucket or nothing was published.
        published: its entry there; None: it was not to be published.
        record: JSON-ready: toolchain, host, isolation, times, and the proof (`report`, `verdict`).
        log: the compile log; None if the machine that compiled it was another one.
        page: the build's report, one HTML file; None as for `log`.
        bytes_fetched: bytes of sources that came over the network.
        reused: true if nothing had to be compiled.
        seconds: wall time of the whole call.
    """

    plan: Plan
    wheel: Path
    published: Published | None
    record: BuildRecord
    log: Path | None
    page: Path | None
    bytes_fetched: int
    reused: bool
    seconds: float

    def to_dict(self) -> BuildDocument:
        """JSON-ready form."""
        return {
            "schema_version": RECORD_VERSION,
            "requirement": self.plan.requirement,
            "wheel": str(self.wheel),
            "sha256": self.record["wheel"]["sha256"],
            "published": self.published is not None,
            "log": str(self.log) if self.log else None,
            "page": str(self.page) if self.page else None,
            "bytes_fetched": self.bytes_fetched,
            "reused": self.reused,
            "seconds": round(self.seconds, 3),
            "record": self.record,
        }


@dataclass(frozen=True, slots=True)
class Settings:
    """How to build, none of which changes what comes out."""

    index: str | Path  # a directory, or the URL of a bucket
    jobs: int | None
    offline: bool
    index_url: str | None
    toolkit: str
    sign: Path | None = None  # private key for the provenance
    memory: int | None = None  # bytes that the compilers may use together; None: what there is
    mirrors: Mirrors = NO_MIRRORS  # where sources come from, instead of upstream
    torch_index: str | None = None  # where torch's nightly builds are
    cache: str | None = None  # directory or URL of the compile cache; None: the store's own
    cached: bool = True  # whether compiled objects may come from a cache
    cache_readonly: bool = False  # whether nothing new is put into it
    until: float | None = None  # moment (time.monotonic()) after which no compiler starts; None: never
    host_compiler: str | None = None  # name or path of the compiler that nvcc hands host code to
    require_isolation: bool = False  # refuse to build where a build cannot be confined
    publish: bool = True  # whether the wheel goes into the index, where its name is taken for good
    claims: Claims | None = None  # which units may start now, as other machines compile some; None: all
    last: Entries | None = None  # who is asked for objects that are in no cache; None: nobody


@dataclass(frozen=True, slots=True)
class Made:
    """A proved wheel in its work directory, its record, and its provenance statement."""

    wheel: Path
    record: BuildRecord
    statement: bytes
    bytes_fetched: int
