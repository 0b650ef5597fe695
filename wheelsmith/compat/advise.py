"""Whether a wheel fits a machine, and whether a package needs a source build at all. Called by `api` only.

In: a wheel or a requirement, and a machine in words. Out: `Fits` (see `wheelsmith.compat.judge`) or `Advice`. What
comes from the package index goes through the store: wheels as blobs, what a torch exports as a small table. Fails as
the rooms do: `UnknownGpuError`, `TargetError`, `NetworkError`, `SourceError`, `InvalidWheelError`, `OfflineError`.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from wheelsmith.compat.judge import Fits, Machine, judge
from wheelsmith.compat.torch_abi import TorchExports, exports_of_directory, exports_of_wheel, shipped_exports
from wheelsmith.errors import SourceError, UnknownGpuError, UnknownPackageError, UnknownVersionError, UsageError
from wheelsmith.events import Listener, ignore
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver, published_rules
from wheelsmith.gpu.facts import find_gpu
from wheelsmith.gpu.machine import gpus_here
from wheelsmith.store import write_atomic
from wheelsmith.wheel.inspect import inspect_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pypi_simple import DistributionPackage

    from wheelsmith.recipe.loader import RecipeBook
    from wheelsmith.store import Store

_ARCH = re.compile(r"(?:sm_?|compute_)?\d{2,3}[af]?|\d{1,2}\.\d[af]?", re.IGNORECASE)
_NEWEST_GLIBC = 60


@dataclass(frozen=True, slots=True)
class Advice:
    """Whether a source build is needed.

    Attributes:
        package: `name==version`.
        wheel: file name of the published wheel that was judged; None: there is none for this Python and platform.
        fits: how it fits; None when there is no wheel.
        command: the wheelsmith command that builds one that fits; None when it is not needed, or no recipe covers it.
        why: one sentence.
    """

    package: str
    wheel: str | None
    fits: Fits | None
    command: str | None
    why: str

    @property
    def build_needed(self) -> bool:
        """Whether the published wheel is not enough."""
        return self.fits is None or not self.fits.fits

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "schema_version": 1,
            "package": self.package,
            "wheel": self.wheel,
            "build_needed": self.build_needed,
            "why": self.why,
            "command": self.command,
            "fits": self.fits.to_dict() if self.fits else None,
            "rules_of_thumb": list(published_rules()),
        }


@dataclass(frozen=True, slots=True)
class Downloads:
    """Where published wheels come from and are kept.

    Attributes:
        store: where they are kept.
        index_url: the package index; None: PyPI.
        offline: fetch nothing.
        listener: told of downloads.
    """

    store: Store
    index_url: str | None = None
    offline: bool = False
    listener: Listener = ignore


def find_machine(
    gpu: str | None, driver: str | None, torch: str | None, glibc: str | None, *, downloads: Downloads
) -> Machine:
    """The machine that is meant; without `gpu` this one, with its C library and the torch of this interpreter."""
    if gpu is None:
        here = gpus_here()
        gpus, found = here.gpus, here.driver
        glibc = glibc or (platform.libc_ver()[1] or None)
        torch = torch or _torch_here()
    else:
        gpus, found = _gpus(gpu), None
    exports = None if torch is None else find_exports(torch, downloads)
    return Machine(gpus, Driver.parse(driver) if driver else found, exports, _checked_glibc(glibc))


def _gpus(text: str) -> tuple[tuple[str, Arch], ...]:
    names = [name.strip() for name in re.split(r"[,;]", text) if name.strip()]
    if not names:
        raise UnknownGpuError("The list of GPUs is empty.", 'Name at least one, as in --gpu "RTX 5090,A40".')
    found = []
    for name in names:
        if _ARCH.fullmatch(name):
            arch = Arch.parse(name).base
            found.append((arch.sm, arch))
        else:
            known = find_gpu(name)
            found.append((known.name, known.arch))
    return tuple(dict.fromkeys(found))


def _torch_here() -> str | None:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def _checked_glibc(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"\d{1,3}\.\d{1,3}", text):
        raise UsageError(f"{text!r} is not a version of the GNU C library.", "Write it as in 2.31 (see ldd --version).")
    return text


def find_exports(version: str, downloads: Downloads) -> TorchExports:
    """What torch `version` exports: from the tables that come with wheelsmith, the store, this interpreter's torch, or
    a wheel of the index, which is read once and then only its table kept.

    Raises:
        OfflineError: it would have to be fetched.
        SourceError: the index has no such wheel.
    """
    if known := shipped_exports(version):
        return known
    store = downloads.store
    kept = store.place("torch", f"{_public(version)}.exports")
    if kept.is_file():
        return TorchExports.from_bytes(kept.read_bytes())
    if _torch_here() == version:
        root = Path(str(importlib.metadata.distribution("torch").locate_file("torch")))
        made = exports_of_directory(root, version)
    else:
        wheel = fetch_wheel(f"torch=={version}", None, downloads)
        if wheel is None:
            raise SourceError(f"The index has no wheel of torch {version} for Linux.", "Choose another version.")
        made = exports_of_wheel(wheel)
        store.blob(wheel.parent.name).unlink(missing_ok=True)  # 900 MB, and the table says it all
        shutil.rmtree(wheel.parent)
    write_atomic(kept, made.to_bytes())
    return made


def _public(version: str) -> str:
    try:
        return str(Version(version).public)
    except InvalidVersion as error:
        raise UsageError(f"{version!r} is not a version of torch.", "Write it as in 2.10.0.") from error


def advise(
    requirement: str,
    machine: Machine,
    gpu: str | None,
    *,
    python: str | None,
    book: RecipeBook,
    downloads: Downloads,
) -> Advice:
    """Judge the wheel that pip would install, and name the build command where it does not fit."""
    wanted = _requirement(requirement)
    wheel = fetch_wheel(requirement, python, downloads)
    name = wanted.name
    if wheel is None:
        command, exact = _command(wanted, None, gpu, machine, book)
        why = "the index has no wheel for this Python and Linux on this processor"
        return Advice(exact, None, None, command, f"{why}{_no_recipe(command, name)}.")
    version = str(parse_wheel_filename(wheel.name)[1])
    fits = judge(inspect_path(wheel), machine)
    package = f"{name}=={version}"
    if fits.fits:
        return Advice(package, wheel.name, fits, None, "the published wheel runs on every GPU that was named.")
    command, _ = _command(wanted, version, gpu, machine, book)
    bad = [item for item in fits.libraries if item.answer in {"no", "partly"}]
    what = bad[0].reasons[0].says if bad else "it holds no code for this GPU"
    place = f"{bad[0].library}: " if bad else ""
    return Advice(package, wheel.name, fits, command, f"{place}{what}{_no_recipe(command, name)}.")


def _no_recipe(command: str | None, name: str) -> str:
    return "" if command else f"; there is no recipe for {name} to build it with"


def _command(
    wanted: Requirement, version: str | None, gpu: str | None, machine: Machine, book: RecipeBook
) -> tuple[str | None, str]:
    """The build command, if a recipe covers the package, and the requirement that it names."""
    for text in ([f"{wanted.name}=={version}"] if version else []) + [str(wanted), wanted.name]:
        try:
            loaded, pinned = book.find(text)
        except (UnknownPackageError, UnknownVersionError, UsageError):
            continue
        exact = f"{loaded.recipe.name}=={pinned}"
        archs = ";".join(dict.fromkeys(str(arch) for _, arch in machine.gpus))
        named = gpu is not None and all(not _ARCH.fullmatch(name.strip()) for name in re.split(r"[,;]", gpu))
        target = f'--gpu "{gpu}"' if named else f'--arch "{archs}"'
        return f"wheelsmith build {exact} {target}", exact
    return None, str(wanted)


def _requirement(text: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise UsageError(f"{text!r} is not a requirement (PEP 508).", "Write it as in vllm==0.15.1.") from error


def fetch_wheel(requirement: str, python: str | None, downloads: Downloads) -> Path | None:
    """The wheel that pip would take for Linux on this processor, under its own name in the store; None: there is none.

    Raises:
        OfflineError: the index would have to be asked.
        NetworkError: it does not answer.
        SourceError: it has no such project, or no version that the requirement allows.
    """
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    from wheelsmith.errors import OfflineError
    from wheelsmith.sources.http import download, open_session

    wanted = _requirement(requirement)
    if downloads.offline:
        raise OfflineError(
            f"The package index would have to be asked for {requirement}.", "Run without --offline, or give a wheel."
        )
    session, url = open_session(downloads.index_url or PYPI_SIMPLE_ENDPOINT)
    with session:
        files = _wheels(wanted, url, session)
        chosen = _best(files, wanted, python)
        if chosen is None:
            return None
        digest = chosen.digests.get("sha256")
        if digest is None:
            raise SourceError(f"The index gives no SHA-256 for {chosen.filename}.", "Choose another with --index-url.")
        download(chosen.url, digest, downloads.store, listener=downloads.listener, session=session)

    def link(directory: Path) -> None:
        os.link(downloads.store.blob(digest), directory / chosen.filename)

    directory, _ = downloads.store.make_directory("published", digest, link)
    return directory / chosen.filename


def _wheels(wanted: Requirement, url: str, session: Any) -> list[DistributionPackage]:
    from pypi_simple import NoSuchProjectError, PyPISimple, UnsupportedRepoVersionError

    from wheelsmith.sources.http import TIMEOUT, network_errors
    from wheelsmith.sources.model import redact

    try:
        with network_errors(url):
            page = PyPISimple(url, session=session).get_project_page(wanted.name, timeout=TIMEOUT)
    except NoSuchProjectError as error:
        raise SourceError(
            f"The index {redact(url)} has no project {wanted.name}.", "Choose an index that has it: --index-url."
        ) from error
    except (ValueError, UnsupportedRepoVersionError) as error:
        raise SourceError(f"{redact(url)} does not answer as a package index.", "Give its simple API.") from error
    if not page.packages:
        raise SourceError(f"The index {redact(url)} has no files of {wanted.name}.", "Choose another: --index-url.")
    return [file for file in page.packages if file.package_type == "wheel" and not file.is_yanked]


def _best(files: list[DistributionPackage], wanted: Requirement, python: str | None) -> DistributionPackage | None:
    """The newest version that the requirement allows, and its wheel that the interpreter prefers."""
    order = {tag: rank for rank, tag in enumerate(_tags(python))}
    best: tuple[tuple[Version, int, Any], DistributionPackage] | None = None
    for file in files:
        try:
            _, version, build, tags = parse_wheel_filename(file.filename)
        except (InvalidWheelFilename, InvalidVersion):
            continue
        ranks = [order[str(tag)] for tag in tags if str(tag) in order]
        if ranks and wanted.specifier.contains(version):
            key = (version, -min(ranks), build)
            if best is None or key > best[0]:
                best = key, file
    return best[1] if best else None


def _tags(python: str | None) -> Iterator[str]:
    """Tags that CPython `python` takes on Linux on this processor, whatever its C library; the preferred one first."""
    version = tuple(int(part) for part in python.split(".")) if python else sys.version_info[:2]
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(_NEWEST_GLIBC, 4, -1)]
    platforms += [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}", f"linux_{machine}"]
    yield from map(str, cpython_tags(version, platforms=platforms))
    yield from map(str, compatible_tags(version, f"cp{version[0]}{version[1]}", platforms))
