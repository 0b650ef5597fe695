"""What fetching one source came to, and how a source is called in front of people.

In: sources of a plan. Out: `Fetched`, and texts without credentials. Nothing can fail. `AbsentError` is what modules
of this room raise when one place does not have a source that another place may have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wheelsmith.errors import SourceError

STAGE = "sources"

_URL = re.compile(
    r"""(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)
        (?:[^\s/?#'"]*@)?          # user:password@, up to the last @ of the authority (RFC 3986, section 3.2)
        (?P<rest>[^\s?#'"]*)
        (?P<query>[?#][^\s'"]*)?   # tokens of signed URLs live here""",
    re.VERBOSE,
)


class AbsentError(SourceError):
    """The place that was asked does not have the source; a mirror beside it may."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One source that the store holds now.

    `digest` is the git commit or the SHA-256; `bytes_fetched` counts what came over the network (for git: what the
    repository grew by), 0 when `reused`. `served_by` is the place that it came from, without credentials: upstream or
    a mirror; empty if that is not known any more.
    """

    what: str
    digest: str
    bytes_fetched: int
    reused: bool
    served_by: str = ""


def redact(text: str) -> str:
    """`text` with the user, password and query of every URL in it left out."""
    return _URL.sub(lambda m: f"{m['scheme']}{m['rest']}{'?…' if m['query'] else ''}", text)
