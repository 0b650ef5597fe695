"""The package index: wheels in, static files out that pip and uv install from through any web server.

In: finished wheel files. Out: in a directory or a bucket, the wheels, their metadata, records and static pages
(PEP 503 HTML, PEP 691 JSON), and proof that a wheel installs from there into an empty environment.
Fails with `InvalidWheelError`, `HashMismatchError`, `IndexConflictError`, `InstallError`, `DiskFullError`,
`StoreError`, `NetworkError` or `BusyError`.

Rooms within, from the values outwards: `entry` is one published file, `record` the truth about a project, `variant`,
`wheelvariant` and `retention` are rules; `keys` says where things are, `pages` and `site` render them; `storage` is
what a place must offer, `directory` and `bucket` do, `truth` changes records and lets pages follow; `ziphead`,
`metadata`, `tags` and `attestation` check a wheel and what lies beside it; `publish`, `manage`, `verify` and
`recovery` are what people ask for; `layout` reads a directory; `tryout` installs from one.
"""
