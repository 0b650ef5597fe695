"""Build in a container as if it were here: the same wheelsmith, the same store, the same paths, the same exit code.

In: an engine, a base image, and what `wheelsmith build` is to do. Out: its exit code; its output goes to our streams.
What it is to do, the caller's settings with it, lies in the store as a file that it reads and removes. Fails with
`EngineError` where the engine does.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.config import IMAGE_VARIABLE
from wheelsmith.container.base import base_image
from wheelsmith.container.builder_image import BuilderImage, builder_image
from wheelsmith.container.causes import storage_is_full
from wheelsmith.container.command import ContainerRun, Network, run_commands
from wheelsmith.container.process import ask, watch, work
from wheelsmith.container.settings import Carried, bundle, netrc
from wheelsmith.errors import EngineError, ImageError
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.container.engines import Engine
    from wheelsmith.container.process import Ask, Watch, Work

_ENGINE_FAILED = {125, 126, 127}  # of all three: the engine, not the program
_KILLED = 128 + 9  # what ran inside, by SIGKILL
_IMAGE = re.compile(r"[\w.:/@-]+")


@dataclass(frozen=True, slots=True)
class InsideBuild:
    """One `wheelsmith build` in a container.

    Attributes:
        image: the base image, with the CUDA toolkit.
        python: `major.minor` that the user or the recipe asks for; empty: the image's own.
        arguments: of `wheelsmith build`, with paths as they are on this machine.
        written: directories that it writes, which are made if they are missing: the store, the index.
        read: files and directories that it reads.
        index_url: package index that it asks; None: the clients' built-in one.
        offline: whether it gets no network.
        carried: the caller's settings.
    """

    image: str
    python: str
    arguments: tuple[str, ...]
    written: tuple[Path, ...]
    read: tuple[Path, ...] = ()
    index_url: str | None = None
    offline: bool = False
    carried: Carried = field(default_factory=lambda: Carried({}))

    @property
    def network(self) -> Network:
        """The machine's own, where something that is asked listens on loopback; else what the engine gives."""
        if self.offline:
            return "none"
        return "host" if self.carried.on_loopback else "default"


def build_inside(
    engine: Engine,
    build: InsideBuild,
    *,
    listener: Listener = ignore,
    run: Work = work,
    make: Watch = watch,
    query: Ask = ask,
) -> int:
    """Run it, and return the exit code of the `wheelsmith` in the container.

    Raises:
        ImageError: the base image is not to be had, or does not serve.
        EngineError: the engine could not make the image, or not start the container; it is on another machine; or it
            or what ran inside was killed.
        NetworkError, DiskFullError: that is why.
        OfflineError: the image has yet to be made, and that needs a network.
        KeyboardInterrupt: the user stopped it and it did not end by itself; the container is removed.
    """
    if _IMAGE.fullmatch(build.image) is None:
        raise ImageError(
            f"{build.image!r} is no name of an image.", "Write it as in docker.io/nvidia/cuda:12.8.1-devel-ubuntu24.04."
        )
    if engine.elsewhere:
        raise EngineError(
            f"{engine} runs on another machine ({engine.elsewhere}), where nothing of this one can be mounted.",
            "Run wheelsmith there, or choose an engine or a context of this machine.",
        )
    if engine.apart and build.network == "host":
        raise EngineError(
            f"{engine} has a network of its own, where what listens on this machine's loopback is not to be reached"
            f" ({', '.join(build.carried.on_loopback)}).",
            "Let it listen on an address that others reach, and name that; or choose podman or buildah.",
        )
    for directory in (*build.written, *build.carried.written):
        directory.mkdir(parents=True, exist_ok=True)
    order = build.written[0] / "orders" / f".{secrets.token_hex(8)}"
    run_commands(engine, _container(build, "", order))  # refuses a path that cannot be mounted, before any work
    content = base_image(engine, build.image, offline=build.offline, listener=listener, pull=make, query=query)
    wanted = BuilderImage(build.image, content, build.python, build.index_url, build.network, build.carried.cloud)
    image = builder_image(engine, wanted, listener=listener, make=make, query=query)
    create, start, remove = run_commands(engine, _container(build, image, order))
    with _written(order, _order(build, content)):
        if create is not None and (answer := query(create)).code != 0:
            raise storage_is_full(engine, query) or EngineError(
                f"{engine} cannot make a container of {image}.", "See what it says.", detail=answer.err
            )
        code = None
        try:
            code = run(start)
        finally:
            if create is not None or code is None or code < 0 or code in _ENGINE_FAILED:
                query(remove)
    if code < 0 or code == _KILLED:
        who = f"{engine} was killed by signal {-code}" if code < 0 else "What ran in the container was killed"
        raise EngineError(f"{who}.", "If memory ran out, give --memory or --jobs. The next run continues.")
    if code in _ENGINE_FAILED:
        raise storage_is_full(engine, query) or EngineError(
            f"{engine} could not run the container (exit code {code}).", "See what it says above, and whether it runs."
        )
    return code


def _order(build: InsideBuild, content: str) -> bytes:
    """What `wheelsmith.container.inside` is to do."""
    store = build.written[0]
    image = f"{build.image}@{content}" if content else build.image
    variables = {"UV_CACHE_DIR": str(store / "uv"), "WHEELSMITH_STORE": str(store), IMAGE_VARIABLE: image}
    if build.index_url:
        variables["WHEELSMITH_INDEX_URL"] = build.index_url
    if sys.stdout.isatty() and sys.stderr.isatty():
        width, _ = os.get_terminal_size()
        variables |= {"FORCE_COLOR": "1", "TERM": os.environ.get("TERM", "xterm"), "COLUMNS": str(width)}
    if (credentials := netrc()) is not None:
        variables["NETRC"] = str(credentials)
    text = {
        "words": ["build", *build.arguments],
        "variables": {**build.carried.variables, **variables},
        "authorities": (bundle() or b"").decode("utf-8", "replace"),
    }
    return json.dumps(text).encode()


@contextmanager
def _written(path: Path, order: bytes) -> Iterator[None]:
    """The order as a file that only its owner can read, and that is gone afterwards.

    `Store.collect` removes one that a killed process has left before its container came to read it.
    """
    path.parent.mkdir(exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(order)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _container(build: InsideBuild, image: str, order: Path) -> ContainerRun:
    read = [*build.read, *build.carried.read, *filter(None, [netrc()])]
    written = [*build.written, *build.carried.written]
    mounts = {path.absolute(): False for path in read} | {path.absolute(): True for path in written}
    return ContainerRun(
        image=image,
        name=f"wheelsmith-{os.getpid()}-{order.name[1:9]}",
        command=("/opt/wheelsmith/bin/python", "-m", "wheelsmith.container.inside", str(order)),
        directory=build.written[0],  # this one is there: not every engine makes a working directory
        mounts=tuple(sorted(mounts.items())),
        network=build.network,
        user=f"{os.getuid()}:{os.getgid()}",
    )
