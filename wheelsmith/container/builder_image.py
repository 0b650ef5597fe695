"""The image that builds: a base image, what compiles beside CUDA, and the running wheelsmith.

In: an engine, a base image, the Python that is asked for. Out: a tag, which is a digest of all that the image is made
of; the engine makes it the first time. What may hold credentials goes in as secrets, which no layer holds. Fails with
`ImageError` where the base image lacks what it needs, with `EngineError`, `NetworkError` and `DiskFullError` where the
engine fails, and with `OfflineError`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.container.causes import why
from wheelsmith.container.command import ImageBuild, Network, build_command, build_variables, describe_command
from wheelsmith.container.ownwheel import own_wheel
from wheelsmith.container.process import INTERRUPTED, Answer, ask, watch
from wheelsmith.container.settings import bundle, netrc, proxies
from wheelsmith.errors import DiskFullError, EngineError, OfflineError
from wheelsmith.events import Listener, Note, ignore

if TYPE_CHECKING:
    from wheelsmith.container.engines import Engine
    from wheelsmith.container.process import Ask, Watch

_PREPARE = "prepare.sh"
_MIRROR = "UV_PYTHON_INSTALL_MIRROR"
_SECRETS = "--mount=type=secret,id=netrc --mount=type=secret,id=authorities"

# As root, and without an entry point: NVIDIA's prints a banner to stdout.
_TOOLS = f"""\
FROM {{image}}
USER 0
ENTRYPOINT []
COPY {_PREPARE} {{wheel}} /opt/build/
RUN {_SECRETS} --mount=type=secret,id=index sh /opt/build/{_PREPARE} tools "/opt/build/{{wheel}}{{extra}}"
ENV UV_PYTHON_INSTALL_DIR=/opt/python
"""
#: On top of that, where the plan names a Python: the image's own, if it has it.
_PYTHON = f"""\
FROM {{image}}
RUN {_SECRETS} --mount=type=secret,id=mirror sh /opt/build/{_PREPARE} python {{python}}
"""


@dataclass(frozen=True, slots=True)
class BuilderImage:
    """What the image is made of, and how.

    Attributes:
        base: the base image, with the CUDA toolkit.
        content: a digest of what is in it: a tag may mean another image tomorrow.
        python: `major.minor` that it must have; empty: its own.
        index_url: package index that wheelsmith's own requirements come from; None: pip's built-in one.
        network: while it is made; `none`: it cannot be made.
        cloud: whether wheelsmith's extra `cloud` is in it.
    """

    base: str
    content: str
    python: str
    index_url: str | None
    network: Network
    cloud: bool = False


def builder_image(
    engine: Engine, wanted: BuilderImage, *, listener: Listener = ignore, make: Watch = watch, query: Ask = ask
) -> str:
    """The image's tag; the image is there afterwards.

    Raises:
        ImageError, EngineError, NetworkError, DiskFullError: it cannot be made.
        OfflineError: it is not there, and there is no network.
        KeyboardInterrupt: the user stopped it.
    """
    name, wheel = own_wheel()
    content = {name: wheel, _PREPARE: files(__package__).joinpath(_PREPARE).read_bytes()}
    dockerfile = _TOOLS.format(image=wanted.base, wheel=name, extra="[cloud]" if wanted.cloud else "")
    tools = _tag(wanted.content.encode(), dockerfile.encode(), *content.values())
    text = _PYTHON.format(image=tools, python=wanted.python)
    tag = _tag(text.encode()) if wanted.python else tools
    if query(describe_command(engine, tag)).code == 0:
        return tag
    if wanted.network == "none":
        raise OfflineError(
            f"--offline was given, and the image that builds in {wanted.base} has yet to be made, with a network.",
            "Run once without --offline; `wheelsmith fetch` does not make it.",
        )
    if (wanted.index_url or "").startswith("file:"):
        raise EngineError(
            f"The image that builds in {wanted.base} cannot be made from {wanted.index_url}, which it does not see.",
            "Serve that directory while it is made: `python3 -m http.server --bind 127.0.0.1` and --index-url.",
        )
    if tag == tools or query(describe_command(engine, tools)).code != 0:
        listener(Note("container", f"making {tools} of {wanted.base}: once for this image and wheelsmith"))
        answer = _make(engine, wanted, make, ImageText(tools, dockerfile, content))
        if answer.code != 0:
            raise why(engine, wanted.base, "make", answer.err, query) or EngineError(
                f"{engine} cannot make an image of {wanted.base} (exit code {answer.code}).",
                "See what it says above; --container-image takes an image from a mirror, or one of your own.",
            )
    if tag != tools and (answer := _make(engine, wanted, make, ImageText(tag, text, {}))).code != 0:
        full = why(engine, wanted.base, "make", answer.err, query)
        raise (
            full
            if isinstance(full, DiskFullError)
            else EngineError(
                f"Python {wanted.python} is not in {wanted.base}, and uv could not fetch it (exit code {answer.code}).",
                f"Choose the image's own with --python (it is named above), or set {_MIRROR} to a mirror of"
                " python-build-standalone's releases.",
            )
        )
    return tag


def _tag(*content: bytes) -> str:
    digest = hashlib.sha256(b"\0".join(content)).hexdigest()
    return f"localhost/wheelsmith-builder:{digest[:16]}"


@dataclass(frozen=True, slots=True)
class ImageText:
    """A Dockerfile with the files that it copies, and the tag of what comes out."""

    tag: str
    dockerfile: str
    content: Mapping[str, bytes]


def _make(engine: Engine, wanted: BuilderImage, make: Watch, text: ImageText) -> Answer:
    """Have an image made; the engine's exit code, and what it said."""
    with tempfile.TemporaryDirectory(prefix="wheelsmith-") as directory:
        context, hidden = Path(directory, "context"), Path(directory, "secrets")
        context.mkdir()
        hidden.mkdir(mode=0o700)
        for name, data in {**text.content, "Dockerfile": text.dockerfile.encode()}.items():
            (context / name).write_bytes(data)
        secrets = {}
        for name, value in _secrets(wanted).items():
            # Only what it asks for, as engines warn of the rest.
            if value and f"id={name} " in text.dockerfile:
                secrets[name] = hidden / name
                secrets[name].write_bytes(value)
        request = ImageBuild(
            context / "Dockerfile", context, text.tag, secrets=secrets, network=wanted.network, inherited=proxies()
        )
        answer = make(build_command(engine, request), build_variables(engine))
    if answer.code == INTERRUPTED:
        raise KeyboardInterrupt
    return answer


def _secrets(wanted: BuilderImage) -> dict[str, bytes | None]:
    path = netrc()
    return {
        "netrc": path.read_bytes() if path else None,
        "authorities": bundle(),
        "index": (wanted.index_url or "").encode(),
        "mirror": os.environ.get(_MIRROR, "").encode(),
    }
