"""How many versions the tool makes a recipe for without a human edit, and what each costs.

Runs `wheelsmith recipes bump NAME FIRST..LAST` on a recipe directory, offline: trees are read from the `[mirrors]` of
the configuration file. What no mirror here can tell (which commit a tag is, which submodules a commit has) is answered
by a stand-in of the git host, with made-up commits; each such question is counted. So there are two figures: steps that
leave nothing open with the mirrors alone, and with a host that answers.

    python -m benchmarks.treadmill NAME FIRST..LAST RECIPES [STORE]
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sys
from collections.abc import Callable
from typing import TypeVar

from wheelsmith.cli.main import main as command
from wheelsmith.errors import WheelsmithError
from wheelsmith.sources.upstream import Submodule, Upstream

T = TypeVar("T")
#: Where vLLM's trees had their submodules when that could still be looked at; CUTLASS is each one's.
_INSIDE = {
    "flash-attention": ("csrc/cutlass",),
    "FlashMLA": ("csrc/cutlass",),
    "FlashKDA": ("cutlass",),
    "DeepSelect": ("csrc/3rdparty/cutlass",),
    "DeepGEMM": ("third-party/cutlass",),
}
_CUTLASS = "https://github.com/NVIDIA/cutlass.git"


def main() -> None:
    """Print a line for each version, and both shares."""
    asked: list[str] = []

    def told(ask: Callable[[], T], question: str, answer: T) -> T:
        try:
            return ask()
        except WheelsmithError:
            asked.append(question)
            return answer

    commit_of, submodules = Upstream.commit_of, Upstream.submodules

    def stand_in_commit(self: Upstream, url: str, ref: str) -> str:
        made_up = hashlib.sha1(f"{url} {ref}".encode(), usedforsecurity=False).hexdigest()
        return told(lambda: commit_of(self, url, ref), f"{url} {ref}", made_up)

    def stand_in_submodules(self: Upstream, url: str, commit: str, tag: str | None = None) -> tuple[Submodule, ...]:
        name = url.rpartition("/")[2].removesuffix(".git")
        made_up = hashlib.sha1(commit.encode(), usedforsecurity=False).hexdigest()
        inside = tuple(Submodule(path, _CUTLASS, made_up) for path in _INSIDE.get(name, ()))
        return told(lambda: submodules(self, url, commit, tag), f"{url} {commit[:8]}", inside)

    Upstream.commit_of, Upstream.submodules = stand_in_commit, stand_in_submodules  # type: ignore[method-assign]
    name, versions, recipes, *store = sys.argv[1:]
    words = ["recipes", "bump", name, versions, "--offline", "--sdist", "--json", "--quiet", "--recipes", recipes]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = command([*words, *(["--store", store[0]] if store else [])])
    answer = json.loads(printed.getvalue())
    if "steps" not in answer:
        raise SystemExit(f"no step, exit code {code}: {answer['error']['cause']} {answer['error']['remedy']}")
    steps = answer["steps"]
    questions = set(asked)
    alone = whole = 0
    for step in steps:
        left = [finding for finding in step["findings"] if not finding["decided"]]
        untried = sum(patch["wanted"] and patch["matches"] is None for patch in step["patches"])
        unseen = [tree for tree in step["lock"]["trees"] if tree["state"] != "same" and _asked(tree, questions)]
        whole += not left
        alone += not left and not unseen
        print(
            f"{step['version']:<8} {len(step['findings']):>3} changes, {len(left)} left open, {len(unseen)} trees of"
            f" the stand-in host, {untried} edits untried, {step['seconds']} s"
        )
        for finding in left:
            print(f"         {finding['text'][:150]}")
    print(f"exit code {code}; {len(steps)} steps: {alone} with the mirrors alone, {whole} with a host that answers")
    print(
        f"longest {max(step['seconds'] for step in steps)} s, together {sum(step['seconds'] for step in steps):.0f} s"
    )


def _asked(tree: dict[str, str], questions: set[str]) -> bool:
    return any(f"{tree['url']} {name}" in questions for name in (tree["tag"], (tree["commit"] or "")[:8]))


if __name__ == "__main__":
    main()
