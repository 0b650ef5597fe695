"""What a wheel's file name claims, however it is spelled: one version of one project, for certain interpreters.

In: a file name. Out: a `Claim`; equal claims are one file. Fails with `InvalidWheelError` on what is no wheel name.

The rule of this index is stricter than that of the public one, which compares file names as they are spelled, and takes
any number of files for the same tags. Here `H2a-1.0-py3-none-any.whl` and `h2a-1.0.0-py3-none-any.whl` are the same
file, so that nobody replaces a wheel by spelling it otherwise; and a wheel for tags that another one of that version
serves already (`py2.py3` beside `py3`, or the next build number) needs an explicit word, because it changes what
`name==version` installs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import InvalidWheelError
from wheelsmith.index.wheelvariant import split_name

if TYPE_CHECKING:
    from packaging.tags import Tag


@dataclass(frozen=True, slots=True)
class Claim:
    """What a file name stands for.

    Attributes:
        project: normalized name (PEP 503).
        version: of the wheel; `1.0` and `1.0.0` are equal.
        build: the build tag, or empty.
        tags: every tag, expanded.
        label: the variant label (a draft), or None.
    """

    project: str
    version: Version
    build: tuple[()] | tuple[int, str]
    tags: frozenset[Tag]
    label: str | None

    def overlaps(self, other: Claim) -> bool:
        """Whether both are plain wheels of one version that serve a common tag, and are not the same file."""
        if self == other or self.label is not None or other.label is not None:
            return False
        same = (self.project, self.version) == (other.project, other.version)
        return same and not self.tags.isdisjoint(other.tags)


@lru_cache(maxsize=65_536)
def claim_of(filename: str) -> Claim:
    """Return what a wheel's file name claims.

    Raises:
        InvalidWheelError: it is no wheel name.
    """
    plain, label = split_name(filename)
    try:
        return Claim(*parse_wheel_filename(plain), label)
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise InvalidWheelError(
            f"{filename!r} is no wheel file name: {error}.",
            "Name it {name}-{version}-{python}-{abi}-{platform}.whl, as the build backend did.",
        ) from error
