"""Bytes from outside: everything a plan names is fetched, verified, laid out and patched, and none of it is run.

In: a `Plan` and a `Store`. Out: sources in the store (`fetch`), and a patched tree at a place of the caller's choice
(`lay_out`). Fails with `NetworkError`, `HashMismatchError`, `SourceError`, `OfflineError`, `PatchError` and
`StoreError`; a full disk stays an `OSError`.
"""
