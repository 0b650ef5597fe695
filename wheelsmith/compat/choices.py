"""What a program chooses among when it runs: of several libraries one, by the GPU or by torch's CUDA release.

In: `choices.toml` beside this file, the user's own, a recipe's contract. Out: `Choice`s, and answers in which a library
that is not chosen does not count. Fails with `UsageError` on a table that breaks the schema. `choose` runs inside
images, so it imports the standard library and `wheelsmith.gpu` only.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from wheelsmith.compat.model import Reason
from wheelsmith.contract import Alternative, Choice
from wheelsmith.gpu.arch import ArchSet
from wheelsmith.gpu.facts import torch_cuda

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.compat.model import LibraryFit, Machine
    from wheelsmith.gpu.arch import Arch

_GOOD = frozenset({"yes", "jit", "host"})


@dataclass(frozen=True, slots=True)
class MadeAtRunTime:
    """A package whose kernels do not exist before it runs, and who makes them."""

    package: str
    why: str


@dataclass(frozen=True, slots=True)
class Choices:
    """All that is known of what happens at run time."""

    choice: tuple[Choice, ...] = ()
    run_time: tuple[MadeAtRunTime, ...] = ()
    schema_version: Literal[1] = 1

    def of(self, package: str | None) -> tuple[Choice, ...]:
        """Those of one package."""
        return tuple(item for item in self.choice if item.package == package)

    def made_at_run_time(self, package: str | None) -> str:
        """Who makes its kernels; empty: nothing is known."""
        return next((item.why for item in self.run_time if item.package == package), "")


def choices_of(package: str | None) -> tuple[Choice, ...]:
    """What a package chooses among when it runs.

    Raises:
        UsageError: the user's table breaks the schema.
    """
    return known_choices(own_table()).of(package)


def made_at_run_time(package: str | None) -> str:
    """Who makes a package's kernels when it runs; empty: nothing is known of that.

    Raises:
        UsageError: the user's table breaks the schema.
    """
    return known_choices(own_table()).made_at_run_time(package)


def own_table() -> Path:
    """The user's own table: `WHEELSMITH_CHOICES`, else `choices.toml` in the user's configuration directory."""
    from pathlib import Path

    from platformdirs import user_config_path

    return Path(os.environ.get("WHEELSMITH_CHOICES") or user_config_path("wheelsmith") / "choices.toml")


@cache
def known_choices(own: Path | None = None) -> Choices:
    """The table beside this file; rows of the user's file `own`, if there is one, go before.

    Raises:
        UsageError: a table breaks the schema; the cause names the row.
    """
    from importlib.resources import files

    shipped = _read(files(__package__).joinpath("choices.toml").read_text("utf-8"), "choices.toml")
    if own is None or not own.is_file():
        return shipped
    first = _read(own.read_text("utf-8"), str(own))
    named = {item.package for item in first.choice}
    rest = tuple(item for item in shipped.choice if item.package not in named)
    return Choices((*first.choice, *rest), (*first.run_time, *shipped.run_time))


def _read(text: str, where: str) -> Choices:
    import tomllib

    from msgspec import ValidationError

    from wheelsmith.errors import UnknownGpuError, UsageError
    from wheelsmith.schema import read, told

    try:
        data = tomllib.loads(text)
        found = read(Choices, data)
        _refuse_unknown_keys(data)
        for item in (item for choice in found.choice for item in choice.library if item.archs):
            ArchSet.parse(item.archs or "")
    except (tomllib.TOMLDecodeError, UnknownGpuError) as error:
        raise UsageError(f"{where} cannot be read: {error}.", "Correct it.") from error
    except ValidationError as error:
        raise UsageError(f"{where}: {told(error)}.", "Correct it; the shipped table shows the keys.") from error
    return found


def _refuse_unknown_keys(data: Mapping[str, Any]) -> None:
    """Raise ValidationError for a key that a row of a table which is otherwise right must not have."""
    from msgspec import ValidationError

    rows: list[tuple[type, str, Mapping[str, Any]]] = [(Choices, "", data)]
    for index, row in enumerate(data.get("choice", ())):
        rows.append((Choice, f"choice.{index}", row))
        rows += [(Alternative, f"choice.{index}.library.{n}", item) for n, item in enumerate(row["library"])]
    rows += [(MadeAtRunTime, f"run_time.{index}", row) for index, row in enumerate(data.get("run_time", ()))]
    for kind, place, row in rows:
        known = {field.name for field in dataclasses.fields(kind)}
        for key in row:
            if key not in known:
                raise ValidationError(f"unknown key {key!r}" + (f" - at `$.{place}`" if place else ""))


def choose(judged: Iterable[LibraryFit], machine: Machine, choices: Sequence[Choice]) -> list[LibraryFit]:
    """The answers, with those of libraries that are not taken set aside."""
    found = list(judged)
    cuda = torch_cuda(machine.torch.version) if machine.torch else None
    for choice in choices:
        for gpu, arch in machine.gpus:
            mine = [item for item in found if item.gpu == gpu]
            aside = not_taken(choice, [item.library for item in mine], arch, cuda)
            changed = {
                item.library: _set_aside(item, aside[item.library], choice) for item in mine if item.library in aside
            }
            if choice.by == "torch-cuda" and (rest := [item for item in mine if _matches(choice, item.library)]):
                changed |= _undecided(rest) if cuda is None else _without_library(rest, changed, cuda, choice)
            found = [changed.get(item.library, item) if item.gpu == gpu else item for item in found]
    return found


def not_taken(choice: Choice, paths: Collection[str], arch: Arch, cuda: str | None) -> dict[str, str]:
    """Those of a wheel's libraries that are not taken on a GPU beside a CUDA release, and why, in a phrase each."""
    aside = {
        path: "is not taken with an NVIDIA GPU"
        for path in paths
        if any(fnmatchcase(path, pattern) for pattern in choice.unused)
    }
    if choice.by == "gpu":
        if not any(item.archs is None or arch.base in ArchSet.parse(item.archs).native for item in choice.library):
            return aside | {path: f"is not taken on {arch}" for path in paths if _matches(choice, path)}
        for alternative in choice.library:
            taken = [path for path in paths if re.fullmatch(_pattern(alternative.path), path)]
            if taken and (alternative.archs is None or arch.base in ArchSet.parse(alternative.archs).native):
                says = f"is not taken on {arch}: {taken[0]} is"
                return aside | {path: says for path in paths if _matches(choice, path) and path not in taken}
        return aside
    releases = _releases(choice, paths)
    taken_release = _nearest(releases, cuda) if cuda else None
    if taken_release is None:
        return aside
    says = f"is not taken beside CUDA {cuda}: {releases[taken_release]} is"
    return aside | {path: says for release, path in releases.items() if release != taken_release}


def _matches(choice: Choice, path: str) -> bool:
    return any(re.fullmatch(_pattern(item.path), path) for item in choice.library)


def _pattern(path: str) -> str:
    """A regular expression for a path with `*` and `{cuda}`; atomic, as a stranger's wheel may bring the path."""
    first, *rest = (re.escape(part).replace(r"\{cuda\}", r"(\d{2})(\d)") for part in path.split("*"))
    return first + "".join(f"(?>.*?{part})" for part in rest[:-1]) + "".join(f".*{part}" for part in rest[-1:])


def _releases(choice: Choice, paths: Iterable[str]) -> dict[tuple[int, int], str]:
    """The libraries by the CUDA release in their names."""
    patterns = [re.compile(_pattern(item.path)) for item in choice.library]
    found = ((path, match) for path in paths for pattern in patterns if (match := pattern.fullmatch(path)))
    return {(int(match[1]), int(match[2])): path for path, match in found}


def _nearest(releases: Iterable[tuple[int, int]], cuda: str) -> tuple[int, int] | None:
    """The release that is taken beside another: the same, the next below, the next above; None: none of its major."""
    major, minor = map(int, cuda.split(".")[:2])
    same = [release for release in releases if release[0] == major]
    below = [release for release in same if release <= (major, minor)]
    return max(below) if below else min(same, default=None)


def _without_library(
    mine: Sequence[LibraryFit], aside: Collection[str], cuda: str, choice: Choice
) -> dict[str, LibraryFit]:
    """If none of the libraries is for this major CUDA release, the package does not run."""
    if _nearest(_releases(choice, [item.library for item in mine]), cuda) is not None:
        return {}
    reason = Reason("choice", f"no library for CUDA {cuda}, which the torch there has ({choice.why})")
    left = (item for item in mine if item.library not in aside)
    return {item.library: dataclasses.replace(item, answer="no", reasons=(reason,)) for item in left}


def _undecided(mine: Sequence[LibraryFit]) -> dict[str, LibraryFit]:
    """Which one is taken is not known: if some run and some do not, it runs partly."""
    good = [item.library.rpartition("/")[2] for item in mine if item.answer in _GOOD]
    if not good:
        return {}
    changed = {}
    for item in mine:
        if item.answer not in _GOOD:
            reason = Reason(
                "choice",
                f"the release of torch's CUDA decides which library is taken: {', '.join(sorted(good))} would run, this"
                " one would not",
                "Say which torch is there, as in --torch 2.11.0+cu128.",
            )
            changed[item.library] = dataclasses.replace(item, answer="partly", reasons=(reason, *item.reasons))
    return changed


def _set_aside(item: LibraryFit, says: str, choice: Choice) -> LibraryFit:
    return dataclasses.replace(item, answer="other", reasons=(Reason("choice", f"{says} ({choice.why})"),))
