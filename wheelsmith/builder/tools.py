"""What compiles a plan on this machine, as the stages hand it on.

In: nothing. Out: `Tools`. Nothing can fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheelsmith.toolchain.cuda import CudaToolkit
from wheelsmith.toolchain.environment import BuildEnvironment
from wheelsmith.toolchain.host import HostCompiler
from wheelsmith.toolchain.rust import Rust

if TYPE_CHECKING:
    from wheelsmith.compile.sandbox import Isolation
    from wheelsmith.wheel.strip import StripTool


@dataclass(frozen=True, slots=True)
class Tools:
    """What serves a plan on this machine. `key` is what the bytes of the wheel depend on."""

    environment: BuildEnvironment
    toolkit: CudaToolkit
    compiler: HostCompiler
    strip: StripTool | None
    isolation: Isolation
    key: str
    rust: Rust | None = None
