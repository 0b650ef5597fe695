"""Why a build or a run failed, from its log.

In: the text of a log. Out: `Explanation`: the first real error cut out of the noise, the command that repeats just that
unit, and, where a signature of `failures.toml` matches, cause and remedy. It cannot fail.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, cast

from wheelsmith.diagnostics.excerpt import find_failure, is_error, plain_lines

if TYPE_CHECKING:
    from wheelsmith.documents.machines import ExplainFacts

#: A line that begins so separates the runs of a resumed build in one log; only what follows the last one counts.
RUN_MARK = "# wheelsmith: "
_REACH = 6  # lines: how far below the line with "error" the sentence may be that tells the cause


@dataclass(frozen=True, slots=True)
class Signature:
    """A known failure: a row of `failures.toml`, which says what the fields mean."""

    id: str
    phase: Literal["build", "run"]
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    links: tuple[str, ...] = ()
    general: bool = False
    action: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a log says. `id` to `action` are those of a signature, and empty where none matches.

    Attributes:
        id: of the signature.
        phase: `build` or `run`: when this shows.
        cause: a clause without a full stop.
        remedy: one or two sentences, without the last full stop.
        links: where upstream discusses it.
        action: what wheelsmith does about it by itself: `fewer-jobs`, `retry-fetch`.
        excerpt: the first real error with its surroundings.
        line: number of the line with the error, from 1; 0: none was found.
        unit: the file that could not be made.
        command: the command line that failed.
        directory: where it ran, as the build saw it.
    """

    id: str
    phase: str
    cause: str
    remedy: str
    links: tuple[str, ...]
    action: str
    excerpt: str
    line: int
    unit: str
    command: str
    directory: str

    @property
    def repeat(self) -> str:
        """A shell command that makes just that unit again, from inside the build root; empty if not known."""
        if not self.command:
            return ""
        return f"cd {shlex.quote(self.directory)} && {self.command}" if self.directory else self.command

    def to_dict(self) -> ExplainFacts:
        """JSON-ready form."""
        return cast("ExplainFacts", dataclasses.asdict(self) | {"links": list(self.links), "repeat": self.repeat})


@cache
def signatures() -> tuple[Signature, ...]:
    """The table, in its order."""
    data = tomllib.loads(files(__package__).joinpath("failures.toml").read_text("utf-8"))
    return tuple(
        Signature(
            row["id"],
            row["phase"],
            re.compile(row["pattern"], re.MULTILINE),
            row["cause"],
            row["remedy"],
            tuple(row.get("links", ())),
            row.get("general", False),
            row.get("action", ""),
        )
        for row in data["failure"]
    )


def diagnose(log: str) -> Explanation:
    """Read the log of a build or of a run, or any part of one that holds the error."""
    lines = plain_lines(log)
    runs = [number for number, line in enumerate(lines) if line.startswith(RUN_MARK)]
    skipped = runs[-1] if runs else 0
    lines = lines[skipped:]
    matches = sorted(_matches(lines), key=lambda match: match[:3])
    if not matches:
        failure = find_failure(lines)
        signature = None
    else:
        _, _, number, _, signature = matches[0]
        failure = find_failure(lines, number)
    return Explanation(
        id=signature.id if signature else "",
        phase=signature.phase if signature else "",
        cause=signature.cause if signature else "",
        remedy=signature.remedy if signature else "",
        links=signature.links if signature else (),
        action=signature.action if signature else "",
        excerpt=failure.excerpt,
        line=failure.first + skipped if failure.first else 0,
        unit=failure.unit,
        command=failure.command,
        directory=failure.directory,
    )


def _matches(lines: list[str]) -> Iterator[tuple[bool, bool, int, int, Signature]]:
    """Every signature's best match: (a mere mention, general, line, place in the table, signature)."""
    text = "\n".join(lines)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    for order, signature in enumerate(signatures()):
        found = [_line_of(match.start(), starts) for match in signature.pattern.finditer(text)]
        if found:
            best = min(found, key=lambda number: (not _states(lines, number), number))
            yield not _states(lines, best), signature.general, best, order, signature


def _line_of(position: int, starts: list[int]) -> int:
    from bisect import bisect_right

    return bisect_right(starts, position) - 1


def _states(lines: list[str], number: int) -> bool:
    """Whether a line is an error, or the text that belongs to one just above it."""
    if lines[number].startswith("-- "):
        return False
    return any(is_error(line) for line in lines[max(0, number - _REACH) : number + 1])


def repeat_script(
    explanation: Explanation, enter: Callable[[list[str]], list[str]], variables: Mapping[str, str]
) -> str:
    """A shell script that makes the unit that failed again, in its build root.

    Args:
        explanation: of a log; its `command` must be known.
        enter: turns a command into one that runs in the room (`Room.command`).
        variables: the build's environment.
    """
    command = enter(["sh", "-c", explanation.repeat])
    return "".join(_script_lines(command, variables))


def _script_lines(command: Iterable[str], variables: Mapping[str, str]) -> Iterator[str]:
    yield "#!/bin/sh\n# Repeats the compile that failed, where and as it ran.\nexec env -i \\\n"
    for name, value in sorted(variables.items()):
        yield f"    {name}={shlex.quote(value)} \\\n"
    yield f"    {shlex.join(command)}\n"
