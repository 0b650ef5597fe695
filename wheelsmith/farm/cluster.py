"""The Dask cluster that builds: one that is there, or one on this machine; and whether it can do what is asked.

In: an address, or how many workers to start; plans. Out: a `Client`, and which workers fit. Fails with `FarmError`,
before anything is built: nobody answers, versions differ, no worker fits. A local cluster speaks TLS with keys of its
own, as every user of a machine reaches its loopback interface.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from wheelsmith.distribution import extra_remedy, own_version
from wheelsmith.errors import FarmError, UsageError
from wheelsmith.farm.resources import lacking
from wheelsmith.index.location import local_directory
from wheelsmith.planning.model import Plan

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

    from wheelsmith.farm.task import Way

_MUST_AGREE = ("distributed", "msgpack", "python")
_T = TypeVar("_T")
_HELLO = 5.0  # seconds that a worker may take to say that it lives
_ANSWER = 30.0  # and that all may take for a word
_START = 120.0  # and to find out what they have: toolkits are looked for on disks
_TLS = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True, slots=True)
class Where:
    """Which cluster.

    Attributes:
        scheduler: its address, such as `tls://host:8786`; None: one on this machine.
        workers: how many it shall have there, or how many of a cluster that is there are waited for.
        tls: directory with ca.pem, cert.pem and key.pem; None: the connection is not encrypted.
        wait: seconds that a scheduler and its first worker may take to answer.
        toolkit: where the workers' CUDA toolkits come from, as for a build.
    """

    scheduler: str | None = None
    workers: int = 1
    tls: Path | None = None
    wait: float = 30.0
    toolkit: str = "auto"


@contextmanager
def connect(where: Where) -> Iterator[Client]:
    """A client of the cluster, every worker of which says what it has.

    Raises:
        FarmError: nobody answers there, or in another version.
        UsageError: Dask is not installed, or the TLS files are not there.
    """
    try:
        from distributed import Client, LocalCluster
        from distributed.security import Security
    except ModuleNotFoundError as error:
        raise UsageError(f"A farm needs the package {error.name}.", extra_remedy("farm")) from error
    from wheelsmith.farm.plugin import Offer

    with contextlib.ExitStack() as stack:
        stack.enter_context(_without_tracebacks())
        if where.scheduler is None:
            security = Security.temporary()
            cluster = LocalCluster(
                n_workers=where.workers,
                threads_per_worker=2,  # a build that waits for others' objects, and a part of one
                memory_limit=0,
                security=security,
                protocol="tls://",
                dashboard_address="127.0.0.1:0",
                silence_logs=50,
            )
            stack.enter_context(cluster)
            client = stack.enter_context(Client(cluster, security=security))
        else:
            client = stack.enter_context(_remote(where, _security(where.tls)))
        offer = Offer(where.toolkit, mine=where.scheduler is None)
        refuse_versions(client, max(where.wait, _ANSWER))
        try:
            in_time(client, lambda: client.register_plugin(offer, name="wheelsmith"), _START)
        except FarmError:
            raise
        except Exception as error:  # the worker's own, as it came
            words = f"{type(error).__name__} {error}".splitlines()[0][:200]
            raise FarmError(
                f"The farm's machines cannot load wheelsmith: {words}.",
                "Install this wheelsmith, with what its extra `farm` needs, on the scheduler and on every worker.",
            ) from error
        refuse_other_wheelsmith(client)
        yield client


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """What Dask's client logs of a connection that is lost is said by our own errors."""
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _security(tls: Path | None) -> Security | None:
    from distributed.security import Security

    if tls is None:
        return None
    for name in _TLS:
        if not (tls / name).is_file():
            raise UsageError(f"{tls} has no {name}.", f"--tls names a directory with {', '.join(_TLS)}.")
    ca, cert, key = (str(tls / name) for name in _TLS)
    security = Security(require_encryption=True, tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key)
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # ssl.SSLError among them
        words = str(error).splitlines()[0]
        raise UsageError(f"The keys in {tls} cannot be used: {words}.", "Give PEM files that go together.") from error
    return security


def _remote(where: Where, security: Security | None) -> Client:
    from distributed import Client
    from distributed.versions import VersionMismatchWarning, get_versions

    from wheelsmith.farm.address import ask_scheduler, unanswered

    address = str(where.scheduler)
    _compare("the scheduler", ask_scheduler(address, security, where.wait), get_versions()["packages"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)  # `refuse_versions` says it
            return Client(address, security=security, timeout=where.wait)
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        raise unanswered(address, error) from error


def in_time(client: Client, call: Callable[[], _T], wait: float) -> _T:
    """What a question to all workers gives. Dask waits for ever on one that is there and does not answer, as one that
    has failed to start.

    Raises:
        FarmError: it was not answered in time; who does not answer is named.
        Exception: as the question itself.
    """
    done, answer = _asked(call, wait)
    if done:
        return answer.result()
    silent = next((it for it in workers_of(client) if not _asked(_hello(client, it), _HELLO)[0]), None)
    raise FarmError(
        f"Worker {silent} does not answer." if silent else f"The workers do not answer within {wait:.0f} seconds.",
        "Look at its log: often it cannot load wheelsmith, which must be installed there. End it, or mend it.",
    )


def _asked(call: Callable[[], _T], wait: float) -> tuple[bool, Future[_T]]:
    answer: Future[_T] = Future()

    def ask() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True, name="wheelsmith asks a farm").start()
    return bool(wait_for_futures([answer], wait).done), answer


def _hello(client: Client, address: str) -> Callable[[], object]:
    return lambda: client.run(os.getpid, workers=[address], on_error="return")


def refuse_versions(client: Client, wait: float) -> None:
    """Other versions of Dask's own parts fail in the middle, with words that nobody understands.

    Raises:
        FarmError: somebody has another one, or does not answer.
    """
    found = in_time(client, client.get_versions, wait)
    own = found["client"]["packages"]
    others = [("the scheduler", found["scheduler"]), *((f"worker {name}", it) for name, it in found["workers"].items())]
    for who, it in others:
        _compare(who, (it or {}).get("packages", {}), own)


def _compare(who: str, packages: Mapping[str, object], own: Mapping[str, object]) -> None:
    for package in _MUST_AGREE:
        theirs, mine = packages.get(package), own.get(package)
        if package == "python" and theirs and mine:
            theirs, mine = (".".join(str(text).split(".")[:2]) for text in (theirs, mine))
        if theirs != mine:
            raise _differs(who, package, None if theirs is None else str(theirs), str(mine))


def refuse_other_wheelsmith(client: Client) -> None:
    """Every worker must have this wheelsmith.

    Raises:
        FarmError: one has another, or none.
    """
    mine = own_version()
    for address, theirs in client.run(own_version, on_error="return").items():
        if theirs != mine:
            raise _differs(f"worker {address}", "wheelsmith", theirs if isinstance(theirs, str) else None, mine)


def _differs(who: str, what: str, theirs: str | None, mine: str) -> FarmError:
    return FarmError(
        f"{who[0].upper()}{who[1:]} has {what} {theirs or 'in no known version'}, and this machine {mine}.",
        "Give all machines of the farm one image, or the same versions.",
    )


def wait_for_workers(client: Client, wait: float, least: int = 1) -> dict[str, dict[str, float]]:
    """Name and resources of every worker, as soon as there are so many; those that are there in time, if it is one.

    Raises:
        FarmError: there is none in time.
    """
    until = time.monotonic() + wait
    while True:
        found = workers_of(client)
        ready = {name: resources for name, resources in found.items() if "build" in resources}
        if len(ready) >= least and len(ready) == len(found):
            return ready
        if time.monotonic() > until:
            if ready:
                return ready
            what = "no worker" if not found else "no worker that has wheelsmith"
            raise FarmError(
                f"The scheduler {client.scheduler_info()['address']} has {what}.",
                "Start workers where wheelsmith is installed (`dask worker ADDRESS`), or wait longer with --wait.",
            )
        time.sleep(0.2)


def workers_of(client: Client) -> dict[str, dict[str, float]]:
    """The address and resources of every worker that there is now."""
    # Not `scheduler_info`: what the client keeps for that is replaced now and then by totals without workers.
    workers = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
    return {address: dict(it.get("resources") or {}) for address, it in workers.items()}


def fitting(plan: Plan, workers: dict[str, dict[str, float]]) -> list[str]:
    """The workers that can take a plan.

    Raises:
        FarmError: none can; the detail says why of each.
    """
    why = {address: lacking(plan, resources) for address, resources in workers.items()}
    fit = [address for address, text in why.items() if not text]
    if not fit:
        raise FarmError(
            f"No worker can build {plan.requirement} for CUDA {plan.target.cuda}: {min(why.items())[1]}"
            f"{', and others lack other things' if len(set(why.values())) > 1 else ''}.",
            "Start a worker that has what is lacking.",
            detail="\n".join(f"{address}: {text}" for address, text in sorted(why.items())),
        )
    return fit


def refuse_unseen_index(client: Client, way: Way) -> None:
    """Workers publish by themselves: a directory must be the same for all.

    Raises:
        FarmError: a worker does not see it.
    """
    from wheelsmith.farm.worker import sees_index

    root = local_directory(way.index)
    if root is None:
        return
    token = f".farm-{uuid.uuid4().hex}"
    made = not root.is_dir()
    root.mkdir(parents=True, exist_ok=True)
    try:
        (root / token).touch()
        blind = [address for address, sees in client.run(sees_index, way, token).items() if sees is not True]
    finally:
        (root / token).unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):
                root.rmdir()
    if blind:
        raise FarmError(
            f"The index {root} is not the same directory on worker {blind[0]}.",
            "Publish into a bucket (--index s3://…), or a directory that all machines share under one path.",
        )


def sharing(client: Client, way: Way, workers: list[str]) -> tuple[list[str], str]:
    """The workers that have one cache between them, and why another one is not among them."""
    from wheelsmith.farm.worker import shared

    word, first = uuid.uuid4().hex, workers[0]
    why = client.run(shared, way, word, True, workers=[first])[first]
    if why is not None:
        return [], str(why)
    found = client.run(shared, way, word, False, workers=workers)
    others = [str(text) for text in found.values() if text is not None]
    return [address for address, text in found.items() if text is None], others[0] if others else ""
