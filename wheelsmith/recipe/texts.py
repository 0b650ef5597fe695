"""The kinds of text that a recipe's values are: versions, requirements, archs, URLs, digests.

In: text. Out: the same text, checked and in its normal form, or a value. Fails with `ValueError`, which
`wheelsmith.schema` turns into a place and a phrase. The docstrings of the classes are their descriptions in the JSON
Schema. `applies` and `holds` say whether a table with such a text counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta
from packaging.requirements import InvalidRequirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from wheelsmith.errors import UnknownGpuError
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.pep508 import requirement
from wheelsmith.schema import Text, matching

_OLDEST_GLIBC = 5  # PEP 600: manylinux_2_5, once called manylinux1


class Specifier(Text):
    """version specifier (PEP 440)"""

    @staticmethod
    def checked(text: str) -> str:
        """As it is written."""
        try:
            SpecifierSet(text)
        except InvalidSpecifier as error:
            raise ValueError(f"not a version specifier (PEP 440): {text!r}") from error
        return text


class RequirementText(Text):
    """requirement (PEP 508)"""

    @staticmethod
    def checked(text: str) -> str:
        """As it is written."""
        try:
            requirement(text)
        except InvalidRequirement as error:
            raise ValueError(f"not a requirement (PEP 508): {text!r}") from error
        return text


class VersionText(Text):
    """version (PEP 440)"""

    @staticmethod
    def checked(text: str) -> str:
        """Normalized."""
        try:
            return str(Version(text))
        except InvalidVersion as error:
            raise ValueError(f"not a version (PEP 440): {text!r}") from error


class ArchList(Text):
    """archs, as in "8.6;12.0+PTX\""""

    @staticmethod
    def checked(text: str) -> str:
        """As torch spells it."""
        return str(_archs(text))


class Capabilities(tuple[Arch, ...]):
    """compute capabilities, as in "8.6;12.0\""""

    __slots__ = ()

    @classmethod
    def from_text(cls, text: str) -> Capabilities:
        """Read them; ValueError if one is none, or says +PTX."""
        archs = _archs(text)
        if archs.ptx:
            raise ValueError(f"+PTX says nothing here: {archs}")
        return cls(archs.native)


def _archs(text: str) -> ArchSet:
    try:
        return ArchSet.parse(text)
    except UnknownGpuError as error:
        raise ValueError(f"{error.cause} {error.remedy}".rstrip(".")) from error


class Manylinux(Text):
    """manylinux platform (PEP 600), as in manylinux_2_31"""

    @staticmethod
    def checked(text: str) -> str:
        """As it is written."""
        match = re.fullmatch(r"manylinux_2_([0-9]{1,4})", text)
        if match is None or int(match[1]) < _OLDEST_GLIBC:
            raise ValueError(f"not a manylinux platform (PEP 600), written as in manylinux_2_31: {text!r}")
        return text


class RelativePath(Text):
    """path inside the tree"""

    @staticmethod
    def checked(text: str) -> str:
        """As it is written."""
        if text.startswith("/") or ".." in text.split("/"):
            raise ValueError(f"must be a path inside the tree, not {text!r}")
        return text


class Url(Text):
    """URL without credentials, or absolute path"""

    @staticmethod
    def checked(text: str) -> str:
        """A path as its file: URL."""
        parts = urlsplit(text)
        if parts.username and parts.scheme != "ssh":
            raise ValueError("a URL here must not hold credentials; put them into ~/.netrc, or use ssh")
        if text.startswith("/"):  # a path of this machine, as git takes it: everything else wants a URL
            return Path(text).as_uri()
        if not parts.scheme and ":" not in text:  # git's short form of ssh, user@host:path, has one
            raise ValueError(f"must be a URL or an absolute path, not {text!r}")
        return text


Sha256 = Annotated[str, matching("[0-9a-f]{64}", "SHA-256, 64 lowercase hex digits")]
Commit = Annotated[str, matching("[0-9a-f]{40}", "full git commit, 40 hex digits")]
GccVersion = Annotated[str, matching(r"[0-9]+(\.[0-9]+){0,2}", "release of GCC")]
CudaVersion = Annotated[str, matching(r"[0-9]+\.[0-9]+", "CUDA toolkit as major.minor")]
OptionName = Annotated[str, matching("[a-z][a-z0-9-]*", "name of an option")]
Condition = Annotated[str, matching("!?[a-z][a-z0-9-]*", "name of an option; `!name`: if it is off")]
PythonVersion = Annotated[str, matching(r"3\.[0-9]+", "Python as major.minor")]
#: A quantity: above zero, and finite.
Amount = Annotated[float, Meta(gt=0, le=1e9)]


def applies(specifier: str | None, version: str) -> bool:
    """Whether a table with this specifier counts for a version."""
    return specifier is None or SpecifierSet(specifier).contains(version, prereleases=True)


def holds(condition: str | None, options: Mapping[str, bool]) -> bool:
    """Whether a table with this `when` counts for the options as chosen."""
    if condition is None:
        return True
    return not options[condition[1:]] if condition.startswith("!") else options[condition]
