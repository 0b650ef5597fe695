"""How many connections there may be, and from whom, so that nobody's flood keeps others, or monitoring, out.

In: connections as they open, wait for a request, work on one, and close. Out: which of them must go, and whether a
request may be worked on. Two kinds are told apart: one that *waits* (new, idle, or in the middle of its headers) has
cost its owner nothing, so the one that has waited longest goes when there are too many; one that *works* is left in
peace, and requests above the limit are answered 503. Nothing can fail.
"""

from __future__ import annotations

import ipaddress
import resource
from collections import Counter
from contextlib import suppress
from typing import Protocol

_SPARE = 128  # descriptors for files of our own
_OVER = 64  # connections above the limit, for requests that are answered whatever is going on


class Connection(Protocol):
    """What a connection must offer."""

    address: str

    def give_up(self) -> None:
        """Close at once, whatever is on its way."""


class Gate:
    """Counts the connections of one server.

    Args:
        most: connections in all.
        waiting: connections of one address that wait.
        working: requests of one address that are worked on.
    """

    def __init__(self, most: int, waiting: int, working: int) -> None:
        self._most = descriptors(most)
        self._waiting_most, self._working_most = waiting, working
        self._open = 0
        self._waiting: dict[Connection, None] = {}  # the one that has waited longest first
        self._by_address: dict[str, dict[Connection, None]] = {}
        self._working: Counter[str] = Counter()

    def opened(self, connection: Connection) -> bool:
        """Count a new connection; False: it must go, because all others work."""
        self._open += 1
        self.waits(connection)
        if self._open > self._most:
            oldest = next(iter(self._waiting))
            if oldest is not connection:
                self._evict(oldest)
            elif self._open > self._most + _OVER:
                return False
        return True

    def waits(self, connection: Connection) -> None:
        """A connection has nothing to do (again): it is now the one that has waited least."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None
        siblings = self._by_address.setdefault(connection.address, {})
        siblings.pop(connection, None)
        siblings[connection] = None
        if len(siblings) > self._waiting_most:
            self._evict(next(iter(siblings)))

    def works(self, connection: Connection) -> bool:
        """A request has come whole; False: there are too many."""
        self._forget(connection)
        self._working[connection.address] += 1
        return self._open <= self._most and self._working[connection.address] <= self._working_most

    def done(self, connection: Connection) -> None:
        """The request was answered."""
        self._working[connection.address] -= 1
        if not self._working[connection.address]:
            del self._working[connection.address]

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._open -= 1
        self._forget(connection)

    def _evict(self, connection: Connection) -> None:
        self._forget(connection)
        connection.give_up()

    def _forget(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)
        siblings = self._by_address.get(connection.address)
        if siblings is not None:
            siblings.pop(connection, None)
            if not siblings:
                del self._by_address[connection.address]


def descriptors(wanted: int) -> int:
    """Raise this process's limit of open files for so many connections, each with a file; return how many it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * wanted + _OVER + _SPARE
    if soft != resource.RLIM_INFINITY and soft < need:
        with suppress(ValueError, OSError):
            soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(8, min(wanted, (soft - _OVER - _SPARE) // 2))
    return wanted


def address_of(client: tuple[str, int] | None) -> str:
    """Whom a connection counts for: an IPv4 address, the /64 network of an IPv6 one, or nobody (a Unix socket)."""
    if client is None:
        return ""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0])
    except ValueError:
        return client[0]
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
