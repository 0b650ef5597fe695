"""The package index: wheels in, a directory out that pip and uv install from through any static server.

In: finished wheel files. Out: a directory with the wheels, their metadata and static pages
(PEP 503 HTML, PEP 691/700 JSON), and proof that a wheel installs from there into an empty environment.
Fails with `InvalidWheelError`, `IndexConflictError`, `InstallError`, `DiskFullError` or `StoreError`.

Rooms within: `metadata` reads a wheel, `entry` is one published file, `layout` says where things are,
`pages` renders them, `files` writes safely, `publish` puts it together, `tryout` installs from the result.
"""

from wheelsmith.index.entry import Entry
from wheelsmith.index.layout import Layout
from wheelsmith.index.publish import Published, publish, rebuild
from wheelsmith.index.tryout import TryoutResult, try_install

__all__ = ["Entry", "Layout", "Published", "TryoutResult", "publish", "rebuild", "try_install"]
