"""The Rust toolchain of the machine, for builds that compile crates.

In: PATH, and the oldest release that will do. Out: where rustc and cargo really are, and which release. Fails with
`NoCompilerError`. rustup's own programs only choose, and would download a toolchain that a project names: the build
gets the toolchain behind them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.errors import NoCompilerError

if TYPE_CHECKING:
    from wheelsmith.planning.model import Plan

_RELEASE = re.compile(r"\b(\d+(?:\.\d+)+)\b")
_INSTALL = "Install it: `apt-get install cargo` on Debian and Ubuntu if that is new enough, else with rustup."


@dataclass(frozen=True, slots=True)
class Rust:
    """A toolchain: its root directory, with rustc and cargo in `bin`, and the first line of `rustc --version`."""

    root: Path
    version: str

    @property
    def release(self) -> str:
        """Its version alone, such as `1.95.0`; empty: not known."""
        found = _RELEASE.search(self.version)
        return found[1] if found else ""

    @property
    def installation(self) -> tuple[tuple[Path, bool], ...]:
        """What a build must see of it, to read; every build sees /usr."""
        return () if self.root.is_relative_to("/usr") else ((self.root, False),)


def find_rust(oldest: str = "") -> Rust:
    """The toolchain whose rustc is on PATH, or where rustup puts it.

    Raises:
        NoCompilerError: there is none, it lacks cargo, or it is older than `oldest`.
    """
    rustc = shutil.which("rustc") or shutil.which("rustc", path=str(Path.home() / ".cargo" / "bin"))
    wanted = f"rustc {oldest} or newer, with cargo" if oldest else "rustc, with cargo"
    if rustc is None:
        raise NoCompilerError(f"This build compiles Rust crates, and there is no {wanted}.", _INSTALL)
    found = Rust(Path(_says(rustc, "--print", "sysroot") or "/nonexistent"), _says(rustc, "--version"))
    if not (found.root / "bin" / "cargo").is_file() or not found.release:
        raise NoCompilerError(f"{rustc} does not run, or has no cargo beside it; needed: {wanted}.", _INSTALL)
    if oldest and _number(found.release) < _number(oldest):
        raise NoCompilerError(f"{rustc} is {found.release}, and this build needs Rust {oldest} or newer.", _INSTALL)
    return found


def rust_for(plan: Plan) -> Rust | None:
    """The toolchain for the crates of a plan, as new as each lock wants it; None: the plan has no crates.

    Raises:
        NoCompilerError: as `find_rust`.
    """
    return [find_rust(item.rust) for item in plan.crates][-1] if plan.crates else None


def _number(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


def _says(program: str, *arguments: str) -> str:
    try:
        # Away from any directory with a rust-toolchain.toml, which rustup would obey.
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False, cwd="/")
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""
