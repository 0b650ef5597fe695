"""The index server: the stored pages and files over HTTP, and uploads from `twine` and `uv publish`.

In: an index directory and `Settings`. Out: an ASGI application, or a running server. It owns no facts: pages
are the files that `publish` wrote, an upload ends in `publish`, and both work the same without it.
Fails with `UsageError` on settings that contradict themselves; a bad request gets an HTTP status and a line
in the audit log, and stores nothing.

Rooms within: `settings`, `tokens` (who), `auth` (what they may), `source` (a directory or a bucket), `caching` and
`reading` (GET), `upstream`, `listing` and `proxy` (what comes from another index), `multipart` and `upload` (POST),
`audit` and `metrics` (what happened), `limits` and `timeouts` (floods, slow clients), `app` and `run` (put together).
"""
