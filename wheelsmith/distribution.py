"""The distribution that this package was installed from: its name, its version, and how to get what an extra needs.

In: nothing but installed metadata. Out: text. Nothing fails: a copy that nobody installed has the version `0+unknown`.
The distribution is not called `wheelsmith`: on the public index that name belongs to somebody else's package. So no
text of ours tells anyone to install a distribution of either name from an index: what is missing is named itself.
"""

from __future__ import annotations

import sys

NAME = "wheelsmith-cuda"


def own_version() -> str:
    """The version of the running wheelsmith."""
    from importlib import metadata

    try:
        return metadata.version(NAME)
    except metadata.PackageNotFoundError:
        return "0+unknown"


def extra_remedy(extra: str) -> str:
    """One sentence: the command that installs what the extra `extra` needs, and nothing else."""
    from importlib import metadata

    from packaging.requirements import Requirement

    try:
        listed = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        listed = []
    needed = [item for item in map(Requirement, listed) if item.marker is not None]
    wanted = sorted(
        f"'{item.name}{item.specifier}'"
        for item in needed
        if item.marker and item.marker.evaluate({"extra": extra}) and not item.marker.evaluate({"extra": ""})
    )
    return f"Run `{sys.executable} -m pip install {' '.join(wanted)}`."
