"""Where a farm's scheduler, cache and index are, as people write it: what cannot be is refused before anything starts.

In: an address or a location. Out: the scheduler's address as Dask wants it. Fails with `UsageError` (it cannot be
meant, or carries credentials: what a task holds, every worker and the dashboard can read) and `FarmError` (what answers
there is no scheduler). No message repeats a credential.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, urlsplit

from wheelsmith.errors import FarmError, UsageError

if TYPE_CHECKING:
    from distributed.security import Security

_SCHEMES = ("tcp", "tls")
_SECRET = re.compile(r"pass|secret|token|credential|signature|^sig$|^auth|(?:^|[_-])key", re.IGNORECASE)
_AGAIN = 0.5  # seconds between two tries to reach it
_HANDSHAKE = 10.0  # seconds that a scheduler may take to say what it is, once it is reached


def scheduler_address(text: str, encrypted: bool) -> str:
    """The address with its scheme. `encrypted`: keys for TLS are given.

    Raises:
        UsageError: it is no address, carries credentials, or does not go with the keys.
    """
    example = "tls://HOST:8786" if encrypted else "tcp://HOST:8786"
    scheme, _, rest = text.rpartition("://")
    if "@" in rest:
        raise UsageError(
            "The scheduler's address has credentials in it, and Dask knows none.",
            f"Write it as {example}; who may use a scheduler is decided by its keys (--tls DIR).",
        )
    scheme = scheme.lower() or ("tls" if encrypted else "tcp")
    parts = _split(f"{scheme}://{rest}", "scheduler's address")
    try:
        port = parts.port
    except ValueError:
        port = None
    if scheme not in _SCHEMES or not parts.hostname or not port or parts.path.strip("/") or " " in rest:
        raise UsageError(f"{text!r} is no address of a Dask scheduler.", f"Write it as {example}.")
    if encrypted and scheme == "tcp":
        raise UsageError(f"{text} is not encrypted, and --tls is given.", "Write the address as tls://HOST:PORT.")
    if scheme == "tls" and not encrypted:
        raise UsageError(
            f"{text} is encrypted, and --tls is not given.",
            "Name the directory of ca.pem, cert.pem and key.pem, which the scheduler trusts, with --tls DIR.",
        )
    return f"{scheme}://{rest.rstrip('/')}"


def refuse_secret(what: str, location: str | None, instead: str) -> None:
    """Refuse a location that carries credentials. `instead`: where workers have them from.

    Raises:
        UsageError: it does.
    """
    if not location or "://" not in location:
        return
    parts = _split(location, what)
    told = (*parse_qsl(parts.query, keep_blank_values=True), *parse_qsl(parts.fragment, keep_blank_values=True))
    named = [name for name, _ in told if _SECRET.search(name)]
    if parts.password or named or (parts.username and parts.scheme.startswith("http")):
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        bare = bare._replace(query="", fragment="") if named else bare
        raise UsageError(
            f"The location of the {what} has credentials in it, which would travel in every task.",
            f"Give {bare.geturl()} or nothing here; {instead}.",
        )


def _split(location: str, what: str) -> SplitResult:
    try:
        return urlsplit(location)
    except ValueError:
        raise UsageError(f"The location of the {what} is no URL.", "Check its brackets and its port.") from None


def ask_scheduler(address: str, security: Security | None, wait: float) -> Mapping[str, object]:
    """The versions of the packages of the scheduler that listens there.

    Dask's own client waits for ever on a server of another kind, and one of another version it does not understand.

    Raises:
        FarmError: nobody listens there, or no scheduler.
    """
    try:
        if _in_a_loop():
            with ThreadPoolExecutor(1) as thread:
                kind, versions = thread.submit(asyncio.run, _ask(address, security, wait)).result()
        else:
            kind, versions = asyncio.run(_ask(address, security, wait))
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError, MemoryError, EOFError) as error:
        raise unanswered(address, error) from error
    if kind != "Scheduler":
        raise FarmError(
            f"At {address} there is a Dask {kind.lower() or 'program'}, and no scheduler.",
            "Name the address that `dask scheduler` printed.",
        )
    return versions


def unanswered(address: str, error: BaseException) -> FarmError:
    """What is said of a scheduler that cannot be talked to."""
    words = str(error).splitlines()[0][:200] if str(error) else "it does not answer in time"
    return FarmError(
        f"No scheduler answers at {address}: {words}.",
        "Start one (`dask scheduler`), check the address and --tls; or leave --scheduler away for this machine.",
    )


def _in_a_loop() -> bool:
    """As in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _ask(address: str, security: Security | None, wait: float) -> tuple[str, Mapping[str, object]]:
    """What a server of Dask calls itself, and its packages. Any other server is left after some seconds."""
    from distributed.comm import connect

    await _reach(address, wait)
    keys = security.get_connection_args("client") if security is not None else {}
    try:
        async with asyncio.timeout(_HANDSHAKE):
            comm = await connect(address, timeout=_HANDSHAKE, **keys)
            try:
                answers = []
                for question in ("identity", "versions"):
                    await comm.write({"op": question, "reply": True})
                    answer = await comm.read()
                    answers.append(answer if isinstance(answer, dict) else {})
            finally:
                comm.abort()
    except (OSError, TimeoutError) as error:
        words = "what listens there does not speak as Dask does, or is encrypted and this is not, or the reverse"
        raise ConnectionError(f"{words}{f' ({said})' if (said := _deepest(error)) else ''}") from error
    return str(answers[0].get("type", "")), dict(answers[1].get("packages", {}))


async def _reach(address: str, wait: float) -> None:
    """Until something listens there: how long that takes is not how long it may take to answer."""
    host, _, port = address.partition("://")[2].rpartition(":")
    why = "nobody listens there"
    try:
        async with asyncio.timeout(wait):
            while True:
                try:
                    _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                    writer.close()
                    return
                except OSError as error:
                    why = "its name is not known" if isinstance(error, socket.gaierror) else "nobody listens there"
                await asyncio.sleep(_AGAIN)
    except TimeoutError:
        raise ConnectionError(why) from None


def _deepest(error: BaseException) -> str:
    """What was behind a connection that failed, if that has words."""
    while (cause := error.__cause__) is not None:
        error = cause
    own = isinstance(error, TimeoutError | asyncio.CancelledError) or not str(error)
    return "" if own else str(error).splitlines()[0][:200]
