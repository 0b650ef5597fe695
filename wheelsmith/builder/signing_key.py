"""A signing key stays out of the reach of what is built.

In: the key's path, the tools of a build, the store. Out: nothing. Fails with `UsageError`: the build could read the
key, as it lies where every build reads, or as nothing keeps the build from the caller's files here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from wheelsmith.builder.tools import Tools
from wheelsmith.errors import UsageError
from wheelsmith.planning.model import CANONICAL
from wheelsmith.store import Store

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ssl", "/etc/pki", CANONICAL)


def refuse_key_in_reach(key: Path, tools: Tools, store: Store) -> None:
    """Refuse the key at `key` where the build can see it.

    Raises:
        UsageError: see above.
    """
    real = Path(os.path.realpath(key))
    places = [*map(Path, _SYSTEM), store.root, tools.toolkit.root, tools.environment.prefix, Path(sys.base_prefix)]
    for place in places:
        if real.is_relative_to(os.path.realpath(place)):
            raise UsageError(
                f"The key {key} lies in {place}, which builds can see.",
                f"Move it to a directory of your own: `install -m 600 {key} ~/wheelsmith.key`.",
            )
    if not tools.isolation.to_dict().get("files_restricted", tools.isolation.confined):
        raise UsageError(
            f"The key {key} can be read by the build: {tools.isolation.reason}.",
            "Sign where a build is confined (`wheelsmith doctor` says whether it is); or build without --sign.",
        )
