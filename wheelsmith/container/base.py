"""The image that a build starts from: fetched if it is not here, and looked at before anything is made of it.

In: an engine and a name. Out: a digest of what is in it, as its tag may mean something else tomorrow.
Fails with `ImageError` (it is not to be had, or is of another architecture), `OfflineError`, and as engines do:
`NetworkError`, `DiskFullError`, `EngineError`.
"""

from __future__ import annotations

import hashlib
import platform
from typing import TYPE_CHECKING

from wheelsmith.container.baseimages import is_named_here
from wheelsmith.container.causes import why
from wheelsmith.container.command import describe_command, pull_command
from wheelsmith.container.process import INTERRUPTED, ask, watch
from wheelsmith.errors import EngineError, ImageError, OfflineError
from wheelsmith.events import Listener, Note, ignore

if TYPE_CHECKING:
    from wheelsmith.container.engines import Engine
    from wheelsmith.container.process import Ask, Watch

#: What engines call architectures (Go's names), by what the kernel calls them.
_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
#: How podman and buildah call an image that no registry has.
_MADE_HERE = "localhost/"


def base_image(
    engine: Engine, image: str, *, offline: bool, listener: Listener = ignore, pull: Watch = watch, query: Ask = ask
) -> str:
    """A digest of the image's layers and variables, the same from every engine; empty, if it does not tell them.

    Raises:
        ImageError, OfflineError, NetworkError, DiskFullError, EngineError: see above.
    """
    told = query(describe_command(engine, image))
    if told.code != 0:
        _fetch(engine, image, offline=offline, listener=listener, pull=pull, query=query)
        told = query(describe_command(engine, image))
    its, _, content = told.out.strip().partition(" ") if told.code == 0 else ("", "", "")
    wanted = f"linux/{_NAMES.get(platform.machine(), platform.machine())}"
    if "/" in its and its != wanted:
        get = "Make it for this one"
        if not image.startswith(_MADE_HERE):
            get = f"Fetch the one for this machine (`{engine.name} pull --platform {wanted} {image}`)"
        raise ImageError(
            f"{image} is for {its}, and this machine is {wanted}.", f"{get}, or name another with --container-image."
        )
    return hashlib.sha256(content.encode()).hexdigest()[:16] if content else ""


def _fetch(engine: Engine, image: str, *, offline: bool, listener: Listener, pull: Watch, query: Ask) -> None:
    if offline:
        raise OfflineError(
            f"--offline was given, and the image that builds in {image} has yet to be made, with a network.",
            "Run once without --offline; `wheelsmith fetch` does not make it.",
        )
    if image.startswith(_MADE_HERE):
        raise ImageError(
            f"{image} is not among the images of {engine}: such a name is of an image made on this machine.",
            f"`{engine.name} images` lists them; root's, every user's and every engine's are apart.",
        )
    hint = " (the name follows NVIDIA's scheme; wheelsmith's tests never pulled it)" if is_named_here(image) else ""
    listener(Note("container", f"fetching {image}{hint}"))
    answer = pull(pull_command(engine, image))
    if answer.code == INTERRUPTED:
        raise KeyboardInterrupt
    if answer.code != 0:
        raise why(engine, image, "pull", answer.err, query) or EngineError(
            f"{engine} cannot fetch {image} (exit code {answer.code}).",
            "See what it says above; --container-image takes an image from a mirror, or one of your own.",
        )
