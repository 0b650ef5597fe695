"""Bytes from outside: everything a plan names is fetched, verified, laid out and patched, and none of it is run.

In: a `Plan` and a `Store`. Out: sources in the store (`fetch`), and a patched tree at a place of the caller's choice
(`lay_out`). Fails with `NetworkError`, `HashMismatchError`, `SourceError`, `OfflineError`, `PatchError` and
`StoreError`; a full disk stays an `OSError`.
"""

from wheelsmith.sources.fetching import fetch, fetch_source, present
from wheelsmith.sources.laying import lay_out, lay_out_source
from wheelsmith.sources.model import Fetched
from wheelsmith.sources.patches import apply

__all__ = ["Fetched", "apply", "fetch", "fetch_source", "lay_out", "lay_out_source", "present"]
