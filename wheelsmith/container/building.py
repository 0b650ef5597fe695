"""Build in a container as if it were here: the same wheelsmith, the same store, the same paths, the same exit code.

In: an engine, a base image, and what `wheelsmith build` is to do. Out: its exit code; its output goes to our streams.
The first time, an image is made of the base image, Python and the running wheelsmith; the engine keeps it under a name
made of all three. Fails with `EngineError` where the engine does.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wheelsmith.config import IMAGE_VARIABLE
from wheelsmith.container.command import (
    ContainerRun,
    ImageBuild,
    Network,
    build_command,
    build_variables,
    exists_command,
    run_commands,
)
from wheelsmith.container.ownwheel import own_wheel
from wheelsmith.container.process import ask, work
from wheelsmith.errors import EngineError, OfflineError
from wheelsmith.events import Listener, Note, ignore

if TYPE_CHECKING:
    from wheelsmith.container.engines import Engine
    from wheelsmith.container.process import Ask, Work

_ENGINE_FAILED = {125, 126, 127}  # of all three: the engine, not the program
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PASSED = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_IMAGE = re.compile(r"[\w.:/@-]+")

_DOCKERFILE = """\
FROM {image}
# What is there already is not installed again: an image of your own needs no mirror of its distribution.
RUN {{ command -v g++ git make && python3 -c 'import ensurepip' \\
      && test -f "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"; }} \\
      > /dev/null 2>&1 \\
 || {{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \\
        ca-certificates g++ git make python3 python3-dev python3-venv && rm -rf /var/lib/apt/lists/*; }}
COPY {wheel} /tmp/
ARG PIP_INDEX_URL=""
RUN --mount=type=secret,id=netrc \\
    if [ -f /run/secrets/netrc ]; then export NETRC=/run/secrets/netrc; fi; \\
    python3 -m venv /opt/wheelsmith && /opt/wheelsmith/bin/pip install --quiet --no-cache-dir /tmp/{wheel}
ENV UV_PYTHON_INSTALL_DIR=/opt/python
"""

_MIRROR = "UV_PYTHON_INSTALL_MIRROR"
#: On top of that, where the plan names a Python: the image's own, if it has it.
_PYTHON = f"""\
FROM {{image}}
ARG {_MIRROR}=""
RUN if command -v python{{python}} > /dev/null; then exit 0; fi \\
 && echo "Python {{python}} is not in this image (its own is $(python3 -V)): fetching it" \\
 && if [ -z "${_MIRROR}" ]; then unset {_MIRROR}; fi \\
 && /opt/wheelsmith/bin/uv python install {{python}}
"""


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
    """

    image: str
    python: str
    arguments: tuple[str, ...]
    written: tuple[Path, ...]
    read: tuple[Path, ...] = ()
    index_url: str | None = None
    offline: bool = False

    @property
    def network(self) -> Network:
        """The machine's own, where the index listens on loopback; else what the engine gives."""
        if self.offline:
            return "none"
        return "host" if self.index_url and urlsplit(self.index_url).hostname in _LOOPBACK else "default"


def build_inside(
    engine: Engine, build: InsideBuild, *, listener: Listener = ignore, run: Work = work, query: Ask = ask
) -> int:
    """Run it, and return the exit code of the `wheelsmith` in the container.

    Raises:
        EngineError: the engine could not make the image, or not start the container; or it is on another machine.
        OfflineError: the image has yet to be made, and that needs a network.
        KeyboardInterrupt: the user stopped it and it did not end by itself; the container is removed.
    """
    if _IMAGE.fullmatch(build.image) is None:
        raise EngineError(f"{build.image!r} is no name of an image.", "Write it as in nvidia/cuda:12.8.1-devel-….")
    if engine.elsewhere:
        raise EngineError(
            f"{engine} runs on another machine ({engine.elsewhere}), where nothing of this one can be mounted.",
            "Run wheelsmith there, or choose an engine or a context of this machine.",
        )
    image = _builder_image(engine, build, listener, run, query)
    for directory in build.written:
        directory.mkdir(parents=True, exist_ok=True)
    container = _container(build, image)
    create, start, remove = run_commands(engine, container)
    if create is not None and (answer := query(create)).code != 0:
        raise EngineError(f"{engine} cannot make a container of {image}.", "See what it says.", detail=answer.err)
    try:
        code = run(start, container.private)
    except KeyboardInterrupt:
        query(remove)
        raise
    if create is not None:
        query(remove)
    if code in _ENGINE_FAILED:
        raise EngineError(
            f"{engine} could not run the container (exit code {code}).", "See what it says above, and whether it runs."
        )
    return code


def _container(build: InsideBuild, image: str) -> ContainerRun:
    store = build.written[0]
    variables = {"HOME": "/tmp", "UV_CACHE_DIR": str(store / "uv"), "WHEELSMITH_STORE": str(store)}  # noqa: S108
    variables[IMAGE_VARIABLE] = build.image
    private = {name: os.environ[name] for name in _PASSED if os.environ.get(name)}
    if build.index_url:
        private["WHEELSMITH_INDEX_URL"] = build.index_url
    if sys.stdout.isatty() and sys.stderr.isatty():
        width, _ = os.get_terminal_size()
        variables |= {"FORCE_COLOR": "1", "TERM": os.environ.get("TERM", "xterm"), "COLUMNS": str(width)}
    read = list(build.read)
    if (netrc := _netrc()) is not None:
        read.append(netrc)
        variables["NETRC"] = str(netrc)
    mounts = {path.absolute(): False for path in read} | {path.absolute(): True for path in build.written}
    return ContainerRun(
        image=image,
        name=f"wheelsmith-{os.getpid()}",
        command=("/opt/wheelsmith/bin/wheelsmith", "build", *build.arguments),
        directory=store,  # this one is there: not every engine makes a working directory
        mounts=tuple(sorted(mounts.items())),
        variables=variables,
        network=build.network,
        user=f"{os.getuid()}:{os.getgid()}",
        private=private,
    )


def _netrc() -> Path | None:
    """The credentials that pip and uv would use here."""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    return path.absolute() if path.is_file() else None


def _builder_image(engine: Engine, build: InsideBuild, listener: Listener, run: Work, query: Ask) -> str:
    """The image that builds: the base image with wheelsmith, and, where one is asked for, that Python."""
    name, wheel = own_wheel()
    make = partial(_make_image, engine, build, run)
    dockerfile = _DOCKERFILE.format(image=build.image, wheel=name)
    tools = _tag(dockerfile.encode(), wheel)
    text = _PYTHON.format(image=tools, python=build.python)
    wanted = _tag(text.encode()) if build.python else tools
    if query(exists_command(engine, wanted)).code == 0:
        return wanted
    if build.offline:
        raise OfflineError(
            f"--offline was given, and the image that builds in {build.image} has yet to be made, with a network.",
            "Run once without --offline; `wheelsmith fetch` does not make it.",
        )
    if wanted == tools or query(exists_command(engine, tools)).code != 0:
        listener(Note("container", f"making {tools} of {build.image}: once for this image and wheelsmith"))
        if (code := make(tools, dockerfile, {name: wheel})) != 0:
            raise EngineError(
                f"{engine} cannot make an image of {build.image} (exit code {code}).",
                "See what it says above; --container-image takes an image from a mirror, or one of your own.",
            )
    if wanted != tools and (code := make(wanted, text, {})) != 0:
        raise EngineError(
            f"Python {build.python} is not in {build.image}, and uv could not fetch it (exit code {code}).",
            f"Choose the image's own with --python (it is named above), or set {_MIRROR} to a mirror of"
            " python-build-standalone's releases.",
        )
    return wanted


def _tag(*content: bytes) -> str:
    digest = hashlib.sha256(b"\0".join(content)).hexdigest()
    return f"localhost/wheelsmith-builder:{digest[:16]}"


def _make_image(
    engine: Engine, build: InsideBuild, run: Work, tag: str, dockerfile: str, files: Mapping[str, bytes]
) -> int:
    """Have an image made, and return the engine's exit code."""
    arguments = {_MIRROR: os.environ.get(_MIRROR), "PIP_INDEX_URL": build.index_url}
    with tempfile.TemporaryDirectory(prefix="wheelsmith-") as directory:
        context = Path(directory)
        for name, data in files.items():
            (context / name).write_bytes(data)
        (context / "Dockerfile").write_text(dockerfile, "utf-8")
        netrc = _netrc()
        request = ImageBuild(
            context / "Dockerfile",
            context,
            tag,
            # Only what it asks for, as engines warn of the rest; no credentials, as an image's history shows them.
            arguments={n: v for n, v in arguments.items() if v and f"ARG {n}=" in dockerfile and "@" not in v},
            secrets={"netrc": netrc} if netrc and "id=netrc" in dockerfile else {},
            network="default" if build.network == "none" else build.network,
        )
        # Its output is not the command's own: what is asked for comes on stdout.
        return run(["sh", "-c", 'exec "$@" >&2', "sh", *build_command(engine, request)], build_variables(engine))
