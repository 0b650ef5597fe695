"""What a new version of a project changes for its recipe, and the recipe that it would need.

In: a recipe, and what was read of the new version. Out: a `Bump` with findings, a verdict, an exit code, and the text
of the recipe that it proposes. Nothing is written. Fails as `propose` does.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from wheelsmith.errors import DIFFERS, PatchError
from wheelsmith.maintenance.proposal import Change, Reading, propose

if TYPE_CHECKING:
    from wheelsmith.documents.recipes import BumpDocument, ChangeFacts, NeedFacts, StepFacts
    from wheelsmith.maintenance.lock import Lock
    from wheelsmith.maintenance.needs import Need
    from wheelsmith.maintenance.rehearse import Rehearsed

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Bump:
    """A rehearsed version.

    Attributes:
        name: the package.
        version: the new version.
        source: where the source that was read came from.
        lock: its trees.
        patches: its patches, and its arch lists behind them.
        needs: what it needs for its build, and its Python versions.
        branches: the CUDA releases at which its CMake files decide something.
        findings: what changes, and what is not decided.
        pinned: whether the recipe has this release already.
        text: the recipe that it proposes.
        seconds: how long that took.
    """

    name: str
    version: str
    source: str
    lock: Lock
    patches: tuple[Rehearsed, ...]
    needs: tuple[Need, ...]
    branches: tuple[str, ...]
    findings: tuple[Change, ...]
    pinned: bool
    text: str
    seconds: float

    @property
    def broken(self) -> tuple[Rehearsed, ...]:
        """Patches that are meant for this version and do not match it."""
        return tuple(patch for patch in self.patches if patch.wanted and patch.matches is False)

    @property
    def open(self) -> tuple[Change, ...]:
        """What the proposal does not decide."""
        return tuple(finding for finding in self.findings if not finding.decided)

    @property
    def exit_code(self) -> int:
        """0: at most the release must be added; 22: a patch does not match; 3: something else changes or is untried."""
        if self.broken:
            return PatchError.exit_code
        more = [finding for finding in self.findings if finding.kind != "release" or not finding.decided]
        return DIFFERS if more or self._untried else 0

    @property
    def _untried(self) -> int:
        return sum(patch.wanted and patch.matches is None for patch in self.patches)

    @property
    def verdict(self) -> str:
        """One sentence."""
        todo = []
        if self.broken:
            todo.append(f"remake {_count(len(self.broken), 'patch', 'patches')}")
        if skipped := sum(patch.skipped and not patch.matches for patch in self.patches):
            todo.append(f"remake {_count(skipped, 'patch that is skipped', 'patches that are skipped')}")
        if self._untried:
            todo.append(f"try {_count(self._untried, 'patch', 'patches')} where the tree can be fetched")
        if (questions := len(self.open) - len(self.broken) - skipped) > 0:
            todo.append(f"decide {_count(questions, 'question', 'questions')}")
        if not todo and all(finding.kind == "release" for finding in self.findings):
            return f"{self.name} {self.version} needs nothing{'' if self.pinned else ' but its release in the recipe'}."
        if not todo:
            changes = _count(len(self.findings), "change", "changes")
            return f"{self.name} {self.version}: the proposal decides all of {changes}."
        return f"{self.name} {self.version} needs work: {', '.join(todo)}."

    def to_dict(self) -> StepFacts:
        """JSON-ready form."""
        return {
            "version": self.version,
            "source": self.source,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "lock": self.lock.to_dict(),
            "patches": [patch.to_dict() for patch in self.patches],
            "needs": [cast("NeedFacts", asdict(need)) for need in self.needs],
            "branches": list(self.branches),
            "findings": [cast("ChangeFacts", asdict(finding)) for finding in self.findings],
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True, slots=True)
class Bumps:
    """One version or several, one after the other: each on the recipe that the one before proposes.

    Attributes:
        name: the package.
        origin: the recipe's file.
        before: its text.
        steps: one for each version, the oldest first; empty: there is nothing newer.
    """

    name: str
    origin: str
    before: str
    steps: tuple[Bump, ...]

    @property
    def text(self) -> str:
        """The recipe that is proposed."""
        return self.steps[-1].text if self.steps else self.before

    @property
    def exit_code(self) -> int:
        """The worst of the steps: 22, then 3, then 0."""
        return max((step.exit_code for step in self.steps), default=0)

    @property
    def diff(self) -> str:
        """The proposal as a unified diff of the recipe; empty: nothing changes."""
        name = f"recipes/{self.name}.toml"
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True), self.text.splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

    def to_dict(self) -> BumpDocument:
        """JSON-ready form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "exit_code": self.exit_code,
            "steps": [step.to_dict() for step in self.steps],
            "diff": self.diff,
        }


def bump(name: str, text: str, source: str, branches: Sequence[str], reading: Reading) -> Bump:
    """What a version changes in a recipe, whose text is `text`; `seconds` is left at zero.

    Raises:
        RecipeError: the recipe cannot be changed line by line.
    """
    from wheelsmith.maintenance.recipe_text import parsed

    proposed, findings = propose(text, reading)
    return Bump(
        name,
        reading.version,
        source,
        reading.lock,
        (*reading.patches, *reading.lists),
        reading.needs,
        tuple(branches),
        findings,
        reading.version in parsed(text).releases,
        proposed,
        0.0,
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
