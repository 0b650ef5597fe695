"""The templates of the pages for people, compiled once a machine and not once a publish.

In: the name of a template beside this module. Out: its text, or a jinja2 template. Compiling them takes a fifth of what
publishing a small wheel does, so jinja2 keeps its bytecode (by the checksum of the template) in `templates/` of the
user's store; where that cannot be written, they are compiled each time. Nothing fails.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

from jinja2 import Environment, FileSystemBytecodeCache, FunctionLoader, StrictUndefined

from wheelsmith.gpu.facts import family, gpus_of
from wheelsmith.report.html import megabytes
from wheelsmith.store import default_root

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.bccache import Bucket


class _Kept(FileSystemBytecodeCache):
    """A directory that may be away, full or not ours: then nothing is kept; what is damaged is made again."""

    def load_bytecode(self, bucket: Bucket) -> None:
        try:
            super().load_bytecode(bucket)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            super().dump_bytecode(bucket)


def text(name: str) -> str:
    """A file beside the templates, as it is."""
    return files(__package__).joinpath("templates", name).read_text("utf-8")


def template(name: str) -> Template:
    """A template, compiled."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    place = default_root() / "templates"
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=FunctionLoader(text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_Kept(str(place)),
    )
    environment.filters |= {"bytes": megabytes, "family": family, "gpus": gpus_of, "quote": quote}
    return environment
