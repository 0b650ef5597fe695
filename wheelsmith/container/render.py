"""A Dockerfile that installs wheels from the private index, and nothing of wheelsmith.

In: pins, the index's URL, a base image. Out: text. Pure. Fails with `UsageError` on a URL that is not safe in it. One
index is asked for everything: what it does not own it redirects by its allow-list (docs/serving.md). So neither
`--extra-index-url` nor a second index appears, with which pip takes the highest version from anywhere. Of what
Dockerfiles may hold, only that appears which BuildKit, podman and buildah all understand.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from urllib.parse import urlsplit

from wheelsmith.container.baseimages import runtime_image
from wheelsmith.container.parts import Pin, dependencies
from wheelsmith.errors import UsageError

_IMAGE = re.compile(r"[\w.:/@-]+")

_HEAD = """\
# {title}
# Written by `wheelsmith image render`. BuildKit, podman and buildah build it, where the index can be reached.
#   docker build --tag NAME .      where reading the index needs a token: --secret id=netrc,src=$HOME/.netrc
ARG RUNTIME_IMAGE={image}

# ---- installer: pip, which the image itself does not need ---------------------------------------------------------
FROM ${{RUNTIME_IMAGE}} AS installer
# hadolint ignore=DL3002
USER 0
# Packages that the base image has are not installed again: an image of your own needs no mirror of its distribution.
# hadolint ignore=DL3008
RUN python3 -c 'import ensurepip' 2> /dev/null \\
 || {{ apt-get update \\
   && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 python3-venv; }}
RUN python3 -m venv /opt/pip
# pip into /opt/venv, then bytecode without times in it, of what is new.
# hadolint ignore=SC2016
RUN printf '%s\\n' '#!/bin/sh' 'set -eu' \\
      'if [ -f /run/secrets/netrc ]; then export NETRC=/run/secrets/netrc; fi' \\
      'touch /tmp/before' \\
      'export PIP_CACHE_DIR=/var/cache/pip PIP_EXTRA_INDEX_URL=' \\
      '/opt/pip/bin/pip --python /opt/venv/bin/python install --quiet --no-compile "$@"' \\
      'compile="/opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash"' \\
      'find /opt/venv/lib -name "*.py" -newer /tmp/before -exec $compile {{}} + || echo "not all of it compiles"' \\
      'rm /tmp/before' > /opt/install-packages \\
 && chmod 755 /opt/install-packages

# ---- runtime: no compiler, no pip, no cache, not root -------------------------------------------------------------
FROM ${{RUNTIME_IMAGE}} AS runtime
# hadolint ignore=DL3002
USER 0
# hadolint ignore=DL3008
RUN {{ python3 -c '' 2> /dev/null \\
   || {{ apt-get update \\
     && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates python3; }}; }} \\
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \\
 && useradd --create-home --uid 10001 app \\
 && python3 -m venv --without-pip /opt/venv
ARG INDEX_URL={url}
# (buildah 1.28 waits for a stage that is copied from, not for one that is only mounted.)
COPY --from=installer /opt/install-packages /opt/wheelsmith/
"""

_INSTALL = """\

# {comment}
RUN --mount=type=bind,from=installer,source=/opt/pip,target=/opt/pip \\
    --mount=type=secret,id=netrc --mount=type=cache,target=/var/cache/pip \\
    printf '%s\\n' \\
{lines}
      > /tmp/requirements.txt \\
 && /opt/wheelsmith/install-packages {flags}--index-url "${{INDEX_URL}}" -r /tmp/requirements.txt \\
 && rm /tmp/requirements.txt
"""

_PREFLIGHT = """\

# Says what is wrong with GPU, driver or wheel before anything starts; WHEELSMITH_PREFLIGHT=warn|off is the way out.
COPY preflight.pyz /opt/wheelsmith/preflight.pyz
ENTRYPOINT ["python3", "-I", "/opt/wheelsmith/preflight.pyz"]
"""

_TAIL = """\
ENV PATH=/opt/venv/bin:${PATH} PYTHONDONTWRITEBYTECODE=1 \\
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /home/app
CMD ["python3"]
"""


def render_consumer(
    pins: Sequence[Pin], index_url: str, *, gpus: str = "", image: str | None = None, preflight: bool = False
) -> str:
    """The text of a Dockerfile.

    Args:
        pins: the private wheels.
        index_url: URL of the index's `simple/`, without credentials.
        gpus: what the wheels were checked for, for the first line.
        image: base image; default: the table's.
        preflight: whether `preflight.pyz` is beside it, and starts the image.

    Raises:
        UsageError: the URL or the image cannot be written down.
    """
    image = image or runtime_image()
    if _IMAGE.fullmatch(image) is None:
        raise UsageError(f"{image!r} is no name of an image.", "Write it as in ubuntu:24.04 or name@sha256:….")
    names = ", ".join(item.requirement for item in pins)
    text = _HEAD.format(title=f"{names}{f' on {gpus}' if gpus else ''}", image=image, url=_checked(index_url))
    if others := dependencies(pins):
        comment = "What the wheels require from elsewhere: a layer that stays when only they change."
        text += _install(comment, others, "")
    text += _install("The wheels themselves, by hash.", [item.line for item in pins], "--require-hashes --no-deps ")
    return text + (_PREFLIGHT if preflight else "\n") + _TAIL


def _install(comment: str, lines: Sequence[str], flags: str) -> str:
    quoted = "\n".join(f"      {shlex.quote(line)} \\" for line in lines)
    return _INSTALL.format(comment=comment, lines=quoted, flags=flags)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{url!r} is no URL of an index.", "Give it with its scheme, as in https://host/simple/.")
    if "@" in parts.netloc:
        raise UsageError(
            "The URL holds credentials, which would stay in the image's history.",
            "Leave them away and put the token into ~/.netrc; build with --secret id=netrc,src=$HOME/.netrc.",
        )
    if parts.query or parts.fragment or re.search(r"[\s\"'`$\\<>]", url):
        raise UsageError(f"{url!r} is no plain URL.", "Percent-encode special characters, and leave ? and # away.")
    return url.rstrip("/") + "/"
