"""Which units a run compiles, where it does not compile all: how one build is spread over many machines.

In: the outputs of the units that are wanted. Out: `Selection`, which the jobserver asks; afterwards every unit that it
met. Of a unit that is not wanted the wrapper makes an empty object (of a link: a library or program without content)
in no time, so that the build tool goes on to the others. What comes of such a run is in the compile cache; its wheel is
of no use. `Claims` are asked while compilers wait, which of many machines compiles a unit that all of them want. It
cannot fail.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from wheelsmith.compile.command import Unit

_OBJECT = (".o", ".obj", ".lo")
# What configuring compiles to learn from it: that must be true. CMake's own are no units at all (see `command`).
_PROBE = re.compile(r"/(?:conftest|_configtest|meson-private)")
_EMPTY = {"o": ("-c",), "so": ("-shared", "-fPIC"), "exe": ()}


class Selection:
    """What is compiled: units with one of these `outputs`, and those whose output nobody named."""

    def __init__(self, outputs: Collection[str] = ()) -> None:
        self.outputs = frozenset(outputs)
        self.met: dict[str, Unit] = {}

    def stands_for(self, unit: Unit, command: Sequence[str]) -> str:
        """The empty file that stands for a unit: the name of one of `lay_empty`; empty: it is compiled."""
        if not unit.output or _PROBE.search(unit.output):
            return ""
        if unit.kind != "link":
            self.met.setdefault(unit.output, unit)
            return "" if unit.output in self.outputs else "o"
        if unit.output.endswith(_OBJECT):
            return "o"
        return "so" if {"-shared", "--shared"}.intersection(command) else "exe"


def lay_empty(directory: Path, compiler: str) -> None:
    """Make the empty files: real ones, as build tools strip and pack what they have linked."""
    source = directory / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    for name, options in _EMPTY.items():
        command = [compiler, *options, str(source), "-o", str(directory / f"empty.{name}")]
        subprocess.run(command, check=True, capture_output=True, env={"PATH": "/usr/local/bin:/usr/bin:/bin"})


class Claims(Protocol):
    """Asked by the jobserver for every unit that waits, again and again. Answers are at hand: whoever gives them asks
    others in a thread of its own."""

    def verdict(self, output: str) -> bool | None:
        """True: compile it; False: somebody else does, an empty object will do; None: not known yet."""

    def done(self, output: str) -> None:
        """It was compiled, and is in the cache."""
