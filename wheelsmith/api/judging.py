"""What the judge is asked with: the machine that is meant, torch's exports, published wheels, and what they require.

In: words of the caller, the store, an index. Out: values for `wheelsmith.compat`. Called by the API only. Fails as the
rooms do: `UnknownGpuError`, `TargetError`, `NetworkError`, `SourceError`, `InvalidWheelError`, `OfflineError`.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.compat.advise import Advice, advise, rules_of
from wheelsmith.compat.choices import choices_of, made_at_run_time
from wheelsmith.compat.distributions import Distribution, cxx_library_here, distribution_of, known_distributions
from wheelsmith.compat.judge import Fits, judge, with_dependencies
from wheelsmith.compat.model import CxxLibrary, Machine
from wheelsmith.compat.picker import Candidate, WheelTarget, linux_tags, pick
from wheelsmith.compat.summarise import summarise
from wheelsmith.compat.summary import WheelSummary
from wheelsmith.compat.torch_abi import TorchExports, exports_of_directory, exports_of_wheel, shipped_exports
from wheelsmith.contract import CHOICES_FILE, choices_from_bytes
from wheelsmith.errors import (
    InvalidWheelError,
    NetworkError,
    OfflineError,
    SourceError,
    UnknownPackageError,
    UnknownVersionError,
    UsageError,
)
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.machine import gpus_here
from wheelsmith.gpu.select import parse_driver, parse_targets
from wheelsmith.sources.model import redact
from wheelsmith.sources.published import PackageIndex, fetch_published, parse_requirement, published_wheels
from wheelsmith.store import write_atomic
from wheelsmith.wheel.inspect import inspect_files, inspect_path

if TYPE_CHECKING:
    from wheelsmith.contract import Choice
    from wheelsmith.recipe.loader import RecipeBook

_MOST_DEPENDENCIES = 300


@dataclass(frozen=True, slots=True)
class AdviceWords:
    """What advice is asked for: a requirement, a machine, a Python, and whether dependencies count."""

    requirement: str
    machine: MachineWords
    python: str | None = None
    dependencies: bool = False


@dataclass(frozen=True, slots=True)
class MachineWords:
    """A machine as the caller names it; without `gpu` it is this one. `base` is an image, which says all of its C and
    C++ libraries that is not said by itself."""

    gpu: str | None = None
    driver: str | None = None
    torch: str | None = None
    glibc: str | None = None
    glibcxx: str | None = None
    base: str | None = None


def find_machine(words: MachineWords, index: PackageIndex, *, torch_symbols: bool) -> Machine:
    """The machine that is meant; without `gpu` this one, with its C library and the torch of this interpreter.

    Args:
        words: as the caller names it.
        index: where torch wheels come from whose exports are not known yet.
        torch_symbols: whether the wheel needs any symbol of torch; else only torch's version is of interest.
    """
    glibc, torch = words.glibc, words.torch
    cxx = CxxLibrary(words.glibcxx) if words.glibcxx else None
    if words.base is not None:
        base = _distribution(words.base)
        glibc, cxx = glibc or base.glibc, cxx or base.cxx
    elif words.gpu is None:
        cxx = cxx or cxx_library_here()
    if words.gpu is None:
        here = gpus_here()
        gpus, found = here.gpus, here.driver
        glibc = glibc or (platform.libc_ver()[1] or None)
        torch = torch or _torch_here()
    else:
        gpus, found = gpus_named(words.gpu), None
    if glibc is not None and not re.fullmatch(r"\d{1,3}\.\d{1,3}", glibc):
        raise UsageError(
            f"{glibc!r} is not a version of the GNU C library.", "Write it as in 2.31 (see ldd --version)."
        )
    if words.glibcxx is not None and not re.fullmatch(r"3\.4(\.\d{1,3})?", words.glibcxx):
        raise UsageError(
            f"{words.glibcxx!r} is not a version of libstdc++'s symbols.",
            "Write it as in 3.4.30: the newest GLIBCXX_ in `strings libstdc++.so.6`.",
        )
    exports = None
    if torch is not None:
        _public(torch)
        exports = find_exports(torch, index) if torch_symbols else TorchExports(torch, "not looked into", frozenset())
    return Machine(gpus, parse_driver(words.driver) if words.driver else found, exports, glibc, cxx)


def _distribution(image: str) -> Distribution:
    if (found := distribution_of(image)) is None:
        raise UsageError(
            f"Which C library the image {image!r} has is not known.",
            f"Known are names with {', '.join(known_distributions())} in them. Else give --glibc and --glibcxx.",
        )
    return found


def gpus_named(text: str) -> tuple[tuple[str, Arch], ...]:
    """GPUs by name or compute capability, separated by commas.

    Raises:
        UnknownGpuError: the list is empty, or names one that is not known.
    """
    return tuple(
        dict.fromkeys((one.name if one.gpu else one.arch.base.sm, one.arch.base) for one in parse_targets(text))
    )


def all_choices(package: str | None, book: RecipeBook) -> tuple[Choice, ...]:
    """What a package chooses among when it runs: as its recipe says, else as the table does."""
    if package is not None:
        try:
            loaded, _ = book.find(package)
        except (UnknownPackageError, UnknownVersionError, UsageError):
            pass
        else:
            if own := loaded.recipe.contract.choices(package):
                return own
    return choices_of(package)


def best_published(
    requirement: Requirement, python: str | None, index: PackageIndex, *, glibc: str | None = None
) -> Path | None:
    """The wheel that pip would take for Linux on this processor, in the store; None: there is none."""
    version = python or "{}.{}".format(*sys.version_info[:2])
    files = published_wheels(requirement.name, index)
    candidates = (Candidate(file.filename, file.requires_python, file.yanked, origin=file) for file in files)
    tags = linux_tags(version, platform.machine(), glibc)
    found = pick(candidates, WheelTarget(tags, python or platform.python_version(), requirement.specifier))
    return None if found is None else fetch_published(found.candidate.origin, index)


def judge_closure(own: Fits, summary: WheelSummary, index: PackageIndex, python: str | None) -> Fits:
    """A judgement together with those of everything that the wheel requires, directly or not.

    Each requirement is taken from where it is installed for this interpreter (not if another Python is meant), else
    from the index: the wheel that pip would take there for the machine's C library.
    """
    judged: list[Fits] = []
    missing: list[str] = []
    seen: dict[str, tuple[str, ...] | None] = {canonicalize_name(summary.name or ""): summary.requires}
    extras: set[tuple[str, str]] = set()
    queue = _needed(summary.requires, python, missing)
    while queue and len(seen) < _MOST_DEPENDENCIES:
        requirement = queue.pop(0)
        name = canonicalize_name(requirement.name)
        if name not in seen:
            seen[name] = None
            if (found := _found(requirement, own.machine, index, python)) is None:
                url = f"{requirement.name} @ {redact(requirement.url or '')} (a URL, which is not followed)"
                missing.append(url if requirement.url else str(requirement))
                continue
            if found.has_code or found.unjudged or found.problem:
                judged.append(judge(found, own.machine, choices_of(found.name)))
            seen[name] = found.requires
            queue += _needed(found.requires, python, missing)
        new = {extra for extra in requirement.extras if (name, extra) not in extras}
        extras |= {(name, extra) for extra in new}
        queue += _needed(seen[name] or (), python, [], new) if new else []
    missing += [str(item) for item in queue if canonicalize_name(item.name) not in seen]
    return with_dependencies(own, judged, tuple(dict.fromkeys(missing)))


def _found(requirement: Requirement, machine: Machine, index: PackageIndex, python: str | None) -> WheelSummary | None:
    """What meets a requirement; None: it cannot be had or read."""
    try:
        found = _installed(requirement) if python is None else None
        if found is not None or requirement.url is not None:
            return found
        wheel = best_published(requirement, python, index, glibc=machine.glibc)
        return None if wheel is None else summarise(inspect_path(wheel))
    except (NetworkError, SourceError, OfflineError, InvalidWheelError):
        return None


def _needed(
    requires: tuple[str, ...], python: str | None, missing: list[str], extras: frozenset[str] | set[str] = frozenset()
) -> list[Requirement]:
    """The requirements whose markers hold on Linux for this Python; what cannot be read as one goes to `missing`."""
    environment = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    if python:
        environment |= {"python_version": python, "python_full_version": f"{python}.0"}
    found: list[Requirement] = []
    for text in requires:
        choices = [{**environment, "extra": extra} for extra in ("", *extras)]
        try:
            requirement = Requirement(text)
            holds = requirement.marker is None or any(requirement.marker.evaluate(choice) for choice in choices)
        except ValueError:  # InvalidRequirement, and what comparing may raise
            missing.append(f"{redact(text)} (no valid requirement)")
            continue
        if holds:
            requirement.marker = None
            found.append(requirement)
    return found


def _installed(requirement: Requirement) -> WheelSummary | None:
    """The summary of an installed distribution that the requirement allows."""
    try:
        distribution = importlib.metadata.distribution(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if not requirement.specifier.contains(distribution.version, prereleases=True) or (
        requirement.url is not None and requirement.url != _installed_from(distribution)
    ):
        return None
    files = {str(file): Path(str(file.locate())) for file in distribution.files or () if ".." not in file.parts}
    report = inspect_files(f"{distribution.name} {distribution.version} (installed)", files)
    own = distribution.read_text(CHOICES_FILE)
    try:
        choices = choices_from_bytes(own.encode()) if own else ()
    except ValueError as error:
        raise InvalidWheelError(
            f"The {CHOICES_FILE} of {distribution.name}, as installed, is not wheelsmith's ({error}).",
            "Install it anew.",
        ) from error
    return dataclasses.replace(
        summarise(report),
        name=canonicalize_name(requirement.name),
        version=distribution.version,
        requires=tuple(distribution.requires or ()),
        choices=choices,
    )


def _installed_from(distribution: importlib.metadata.Distribution) -> str | None:
    """The URL that it was installed from (PEP 610); None: an index."""
    try:
        told = json.loads(distribution.read_text("direct_url.json") or "{}").get("url")
    except (ValueError, AttributeError):
        return None
    return told if isinstance(told, str) else None


def find_exports(version: str, index: PackageIndex) -> TorchExports:
    """What torch `version` exports: from the tables that come with wheelsmith, the store, this interpreter's torch, or
    a wheel of the index, which is read once and then only its table kept.

    Raises:
        OfflineError: it would have to be fetched.
        SourceError: the index has no such wheel.
    """
    if known := shipped_exports(version):
        return dataclasses.replace(known, version=version)  # with its local part, which tells its CUDA
    kept = index.store.place("torch", f"{_public(version)}.exports")
    if kept.is_file():
        return dataclasses.replace(TorchExports.from_bytes(kept.read_bytes()), version=version)
    if _torch_here() == version:
        root = Path(str(importlib.metadata.distribution("torch").locate_file("torch")))
        made = exports_of_directory(root, version)
    else:
        wanted = Requirement(f"torch=={_public(version)}")
        wheel = best_published(wanted, None, index)
        if wheel is None:
            raise SourceError(f"The index has no wheel of torch {version} for Linux.", "Choose another version.")
        made = exports_of_wheel(wheel)
        index.store.blob(wheel.parent.name).unlink(missing_ok=True)  # 900 MB, and the table says it all
        shutil.rmtree(wheel.parent)
    write_atomic(kept, made.to_bytes())
    return dataclasses.replace(made, version=version)


def give_advice(words: AdviceWords, index: PackageIndex, book: RecipeBook) -> Advice:
    """Judge the wheel that pip would install, and name the build command where it does not fit."""
    wanted = parse_requirement(words.requirement)
    machine = find_machine(words.machine, index, torch_symbols=False)
    wheel = best_published(wanted, words.python, index, glibc=machine.glibc)
    if wheel is None:
        command, gap = _command(wanted, words.machine.gpu, machine, book)
        why = "the index has no wheel for this Python and Linux on this processor"
        return Advice(str(wanted), None, None, "build", command, f"{why}{'; ' if gap else ''}{gap}.")
    summary = summarise(inspect_path(wheel))
    choices = all_choices(summary.name, book)
    fits = judge(summary, machine, choices, made_at_run_time(summary.name))
    if words.dependencies:
        fits = judge_closure(fits, summary, index, words.python)
    command, gap = _command(wanted, words.machine.gpu, machine, book)
    return advise(f"{wanted.name}=={summary.version}", fits, tuple(rules_of(summary, machine, choices)), command, gap)


def _command(wanted: Requirement, gpu: str | None, machine: Machine, book: RecipeBook) -> tuple[str | None, str]:
    """The command that builds the version that was asked for; None, and why there is none."""
    try:
        loaded, pinned = book.find(str(wanted))
    except UnknownPackageError:
        return None, f"there is no recipe for {wanted.name} to build it with"
    except (UnknownVersionError, UsageError):
        try:
            loaded, _ = book.find(wanted.name)
        except (UnknownPackageError, UnknownVersionError, UsageError):
            return None, f"there is no recipe for {wanted.name} to build it with"
        known = ", ".join(sorted(loaded.recipe.releases, key=Version))
        return None, f"the recipe for {wanted.name} builds {known}, and not what was asked for ({wanted})"
    archs = ";".join(dict.fromkeys(str(arch) for _, arch in machine.gpus))
    named = gpu is not None and all(one.gpu for one in parse_targets(gpu))
    return f"wheelsmith build {loaded.recipe.name}=={pinned} " + (
        f'--gpu "{gpu}"' if named else f'--arch "{archs}"'
    ), ""


def needs_torch_symbols(summary: WheelSummary) -> bool:
    """Whether any library of the wheel has symbols that torch must define."""
    return any(library.torch_symbols for library in summary.libraries)


def _torch_here() -> str | None:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def _public(version: str) -> str:
    try:
        return str(Version(version).public)
    except InvalidVersion as error:
        raise UsageError(f"{version!r} is not a version of torch.", "Write it as in 2.10.0.") from error
