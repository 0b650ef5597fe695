"""What a recipe's author should look at before a build: marks that are left, placeholders, what no build can meet.

In: a loaded recipe and its text. Out: findings, each with its line. Nothing is fetched and nothing fails; a file that
is no recipe never gets here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wheelsmith.errors import WheelsmithError
from wheelsmith.maintenance.draft import marks
from wheelsmith.planning.model import Target
from wheelsmith.planning.planner import make_plan
from wheelsmith.tomlfile import line_of
from wheelsmith.toolchain.python import running_python

if TYPE_CHECKING:
    from wheelsmith.recipe.loader import LoadedRecipe

_PLACEHOLDER = re.compile(r"(.)\1{39,}")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at: `wrong` stops a build, `undecided` is a mark of the draft, `advice` is neither."""

    line: int
    kind: Literal["wrong", "undecided", "advice"]
    text: str


def lint(loaded: LoadedRecipe, text: str) -> tuple[Finding, ...]:
    """Look at a recipe, line by line and plan by plan."""
    found = [Finding(line, "undecided", mark) for line, mark in marks(text)]
    found += _placeholders(text)
    found += _plans(loaded, text)
    found += _advice(loaded, text)
    return tuple(sorted(found, key=lambda finding: (finding.line, finding.kind, finding.text)))


def _placeholders(text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), start=1):
        match = re.match(r"\s*(sha256|commit)\s*=\s*[\"']([0-9a-f]+)[\"']", line)
        if match and _PLACEHOLDER.fullmatch(match[2]):
            yield Finding(number, "wrong", f"the {match[1]} is a placeholder: no file has it")


def _plans(loaded: LoadedRecipe, text: str) -> Iterator[Finding]:
    for version in loaded.recipe.releases:
        defaults = loaded.at(version).recipe.defaults
        target = Target(defaults.python or running_python(), defaults.archs, defaults.cuda, defaults.torch)
        try:
            make_plan(loaded, version, target)
        except WheelsmithError as error:
            yield Finding(line_of(text, ["releases", version]), "wrong", f"{version} cannot be planned: {error.cause}")


def _advice(loaded: LoadedRecipe, text: str) -> Iterator[Finding]:
    recipe = loaded.recipe
    if recipe.build.lock is None:
        line = line_of(text, ["build", "requires"])
        yield Finding(line, "advice", "no lock: build requirements are resolved anew on every machine")
    if not recipe.wheel.imports:
        yield Finding(line_of(text, ["wheel"]), "advice", "no imports: nothing checks that the wheel can be imported")
    if recipe.wheel.smoke is None and not any(rule.code == "none" for rule in recipe.library):
        yield Finding(line_of(text, ["wheel"]), "advice", "no smoke test: nothing compares numbers on a GPU")
    if recipe.defaults.torch and not any("torch" in name for name in recipe.wheel.exclude):
        yield Finding(line_of(text, ["wheel", "exclude"]), "wrong", "torch's libraries would be grafted into the wheel")
    if recipe.expect is None:
        yield Finding(1, "advice", "no [expect] yet: the first build fills it in")
    for version, release in recipe.releases.items():
        if release.source.directory is not None:
            line = line_of(text, ["releases", version])
            yield Finding(line, "advice", f"{version} is a directory of this machine: nobody else can build it")
