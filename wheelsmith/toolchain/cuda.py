"""The CUDA toolkit: found on the machine, or assembled from NVIDIA's wheels.

In: the version of the plan and a choice (`auto`, `wheels`, or a directory). Out: a `CudaToolkit`. Fails with
`ToolkitError`, which lists the choices. Looked at: CUDA_HOME, CUDA_PATH, nvcc on PATH, /usr/local/cuda*, /opt/cuda.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from wheelsmith.errors import ToolkitError
from wheelsmith.events import Listener, Note, ignore
from wheelsmith.gpu.facts import known_toolkits
from wheelsmith.gpu.tables import facts_directory
from wheelsmith.store import Store
from wheelsmith.toolchain.cuda_wheels import mend
from wheelsmith.toolchain.uv import Uv

_RELEASE = re.compile(r"release (?P<version>\d+\.\d+), V(?P<release>[\d.]+)")

#: Below the root directory: where NVIDIA's installers and distributions put toolkits.
USUAL_PLACES = ("usr/local/cuda", "usr/local/cuda-*", "opt/cuda")

_ASSEMBLED = "NVIDIA's wheels"
#: torch's headers include these; a compiler-only installation lacks them.
_MATH_HEADERS = ("cublas_v2.h", "cusparse.h", "cusolverDn.h")


@dataclass(frozen=True, slots=True)
class CudaToolkit:
    """A toolkit at `root`. `version` is `13.0`, `release` what nvcc says (`13.0.88`), `origin` how it was found."""

    root: Path
    version: str
    release: str
    origin: str

    @property
    def identity(self) -> str:
        """What tells it from another of the same release: its root; of an assembled one, the digest of its lock, as a
        store may move."""
        return self.root.parent.name if self.origin == _ASSEMBLED else str(self.root)

    @property
    def has_math(self) -> bool:
        """Whether it has the math libraries' headers, which torch extensions need."""
        return all((self.root / "include" / header).is_file() for header in _MATH_HEADERS)


def inspect_toolkit(root: Path, origin: str) -> CudaToolkit | None:
    """The toolkit at `root`, or None if there is no working nvcc with its headers."""
    if not (root / "include" / "cuda_runtime.h").is_file():
        return None
    try:
        answer = subprocess.run(
            [root / "bin" / "nvcc", "--version"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _RELEASE.search(answer)
    return None if match is None else CudaToolkit(root, match["version"], match["release"], origin)


def find_toolkits(environment: Mapping[str, str] = os.environ) -> tuple[CudaToolkit, ...]:
    """Every toolkit of the machine, in the order of preference, each once."""
    found: dict[Path, CudaToolkit] = {}
    for origin, root in _places(environment):
        real = root.resolve()
        if real not in found and (toolkit := inspect_toolkit(real, origin)) is not None:
            found[real] = toolkit
    return tuple(found.values())


def _places(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if environment.get(name):
            yield name, Path(environment[name])
    if nvcc := shutil.which("nvcc", path=environment.get("PATH", "")):
        yield "nvcc on PATH", _root_of(Path(nvcc))
    for pattern in USUAL_PLACES:
        for path in sorted(Path("/").glob(pattern), reverse=True):
            yield "usual folder", path


def _root_of(nvcc: Path) -> Path:
    """The toolkit that an nvcc belongs to. It may be a wrapper script elsewhere: then `-dryrun` says TOP=…"""
    words = subprocess.run(
        [nvcc, "-dryrun", "-E", "-x", "cu", os.devnull], capture_output=True, text=True, check=False
    ).stderr
    match = re.search(r"^#\$ TOP=(.+)$", words, re.MULTILINE)
    return Path(match[1]) if match else nvcc.resolve().parent.parent


def pick_toolkit(
    version: str, *, math: bool, choice: str, listener: Listener = ignore, environment: Mapping[str, str] = os.environ
) -> CudaToolkit | None:
    """The installed toolkit that serves; None: there is none, but one can be assembled from wheels.

    Args:
        version: `major.minor`, from the plan.
        math: whether the math libraries' headers, which torch extensions need, must be there.
        choice: `auto` (found, else wheels where the machine has none), `wheels`, or a directory.
        listener: told which toolkits were passed over.
        environment: where CUDA_HOME, CUDA_PATH and PATH are read from.

    Raises:
        ToolkitError: none fits; the remedy lists what can be chosen.
    """
    if choice not in {"auto", "wheels"}:
        toolkit = inspect_toolkit(Path(choice).resolve(), "--toolkit")
        if toolkit is None:
            raise ToolkitError(f"There is no working nvcc in {choice}/bin.", "Name the root folder of a CUDA toolkit.")
        if (why := _misfit(toolkit, version, math)) is not None:
            raise ToolkitError(f"The CUDA toolkit in {choice} {why}.", _choices(version, (toolkit,)))
        return toolkit
    found = find_toolkits(environment) if choice == "auto" else ()
    for toolkit in found:
        why = _misfit(toolkit, version, math)
        if why is None:
            return toolkit
        listener(Note("toolchain", f"not used: the toolkit in {toolkit.root}, which {why}"))
    if _lock(version, math) is None:
        have = ", ".join(f"{t.version} in {t.root} ({t.origin})" for t in found)
        raise ToolkitError(
            f"CUDA {version} is not installed{f' (this machine has {have})' if have else ''} and cannot be assembled"
            " from wheels: NVIDIA's hold a whole compiler from 13.0 on.",
            f"Choose: {elsewhere(version)}.",
        )
    return None


def provide_toolkit(
    version: str, *, math: bool, choice: str, store: Store, uv: Uv, environment: Mapping[str, str] = os.environ
) -> CudaToolkit:
    """The toolkit that `pick_toolkit` finds, or else one that `uv` assembles, which `store` keeps.

    Raises:
        ToolkitError: see `pick_toolkit`.
    """
    picked = pick_toolkit(version, math=math, choice=choice, listener=uv.listener, environment=environment)
    return picked or _assemble(version, math, store, uv)


def _misfit(toolkit: CudaToolkit, version: str, math: bool) -> str | None:
    if toolkit.version != version:
        return f"is CUDA {toolkit.version}, not {version}"
    if math and not toolkit.has_math:
        return f"lacks headers that torch's own include, or the recipe asks for ({', '.join(_MATH_HEADERS)})"
    return None


def _choices(version: str, found: tuple[CudaToolkit, ...]) -> str:
    assembled = "--toolkit wheels (assemble it from NVIDIA's wheels); " if _lock(version, math=False) else ""
    return f"Choose: {assembled}{elsewhere(version)}."


def elsewhere(version: str) -> str:
    """Where a toolkit comes from that is neither installed nor can be assembled; the middle of a sentence."""
    return (
        f"CUDA_HOME or --toolkit DIR with CUDA {version} (NVIDIA's installer needs no root:"
        " --silent --toolkit --toolkitpath=DIR); or docker, podman or buildah, in which it builds by itself"
    )


def obtainable(*, math: bool) -> tuple[str, ...]:
    """CUDA releases that can be had on this machine without asking anybody: installed, then assembled, oldest first, as
    older drivers run what that makes."""
    installed = [toolkit.version for toolkit in find_toolkits() if toolkit.has_math or not math]
    assembled = [version for version in known_toolkits() if _lock(version, math) is not None]
    return tuple(dict.fromkeys([*installed, *assembled]))


def _lock(version: str, math: bool) -> str | None:
    """The lock that ships with wheelsmith, else the user's own, in `locks` beside their tables of facts."""
    name = f"cuda-{version}{'-math' if math else ''}.txt"
    own = facts_directory()
    for path in (files(__package__).joinpath("locks", name), *([own / "locks" / name] if own else [])):
        if path.is_file():
            return path.read_text("utf-8")
    return None


def versions_in_wheels() -> tuple[str, ...]:
    """The releases that can be assembled from NVIDIA's wheels."""
    return tuple(sorted(version for version in known_toolkits() if _lock(version, math=False) is not None))


def _assemble(version: str, math: bool, store: Store, uv: Uv) -> CudaToolkit:
    lock = _lock(version, math)
    assert lock is not None, "pick_toolkit has looked"  # noqa: S101

    def make(directory: Path) -> None:
        uv.listener(Note("toolchain", f"assembling CUDA {version} from NVIDIA's wheels"))
        requirements = directory / "requirements.txt"
        requirements.write_text(lock, "utf-8")
        flags = ["--require-hashes", "--no-deps", "--no-build", "--no-compile-bytecode"]
        flags += ["--python-platform", "x86_64-manylinux_2_28", "--python", sys.executable]
        site = directory / "site"
        purpose = "Downloading the CUDA toolkit"
        uv.run("pip", "install", *flags, "--target", site, "-r", requirements, purpose=purpose)
        (site / "nvidia" / f"cu{version.partition('.')[0]}").rename(directory / "toolkit")
        shutil.rmtree(site)
        mend(directory / "toolkit")

    name = hashlib.sha256(lock.encode()).hexdigest()[:32]
    directory, _ = store.make_directory("cuda", name, make)
    toolkit = inspect_toolkit(directory / "toolkit", _ASSEMBLED)
    if toolkit is None or toolkit.version != version:
        raise ToolkitError(f"The toolkit assembled in {directory} does not run.", f"Remove {directory} and run again.")
    return toolkit
