"""Numbers for Prometheus.

In: what happened. Out: the text exposition format. Nothing can fail. Labels come from closed sets, never from a
client, so their number is bounded.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from pathlib import Path

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = {"GET", "HEAD", "POST"}


class Metrics:
    """The counters of one server; of all its processes, if there is a folder that they share."""

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        if shared is not None:  # each process has files of its own there, which `render` adds up
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
            values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "wheelsmith_index_requests",
            "Requests by method, kind and status code",
            ("method", "kind", "code"),
            registry=self._registry,
        )
        self._ready = [self._requests.labels("GET", "page", code) for code in ("200", "304")]
        self.refused = Counter(
            "wheelsmith_index_refused", "Requests that were refused", ("event",), registry=self._registry
        )
        self.upstream = Counter(
            "wheelsmith_index_upstream",
            "Pages and files from the upstream, and old pages",
            ("what",),
            registry=self._registry,
        )
        self.uploaded = Counter(
            "wheelsmith_index_uploaded", "Wheels that were published", ("result",), registry=self._registry
        )
        self.upload_bytes = Counter(
            "wheelsmith_index_upload_bytes", "Bytes of uploads that were read", registry=self._registry
        )
        self.upload_seconds = Histogram(
            "wheelsmith_index_upload_seconds",
            "Time from the first byte of an upload to its answer",
            buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800),
            registry=self._registry,
        )
        self.uploads_running = Gauge(
            "wheelsmith_index_uploads_running",
            "Uploads that are being read or checked",
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def request(self, method: str, kind: str, status: int) -> None:
        """Count one answer; `kind` is `page`, `file`, `upload` or `other`."""
        self._requests.labels(method if method in _METHODS else "other", kind, str(status)).inc()

    def page(self, *, unchanged: bool) -> None:
        """Count a page that lay ready."""
        self._ready[unchanged].inc()

    def render(self) -> bytes:
        """All numbers, in Prometheus' text format 0.0.4."""
        if self._shared is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self._shared))  # type: ignore[no-untyped-call]
        return generate_latest(together)
