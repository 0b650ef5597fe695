"""Why a build or a run failed, from its log.

In: the text of a log, or something to read it from. Out: `Explanation`: the first real failure cut out of the noise,
the command that repeats just that unit, what is known about cause and remedy, and the failures beside it. Fails with
`UsageError` if the user's own signatures are wrong, and as reading does (OSError).
"""

from __future__ import annotations

import dataclasses
import io
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, cast

from wheelsmith.diagnostics.failure import Failure
from wheelsmith.diagnostics.failures import NEEDLES, Reader
from wheelsmith.diagnostics.scan import Log, Read, reader
from wheelsmith.diagnostics.signature import Signature, signatures
from wheelsmith.diagnostics.statements import Role, needles, success_needles

if TYPE_CHECKING:
    from wheelsmith.documents.machines import ExplainFacts

_LAST = 12  # lines shown of a log without a failure
_BESIDE = 5  # other failures that are told
_NEAR = 40  # lines: how far behind an error its command may be told
_ENDS = ("interrupted", "ci-time-limit", "runner-ended")  # all that comes after these follows from them

Outcome = Literal["known", "unknown", "healthy"]


@dataclass(frozen=True, slots=True)
class Beside:
    """Another failure of the same log: where, what it says, and of what kind it is, if that is known."""

    line: int
    message: str
    id: str
    cause: str
    unit: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a log says. `id` to `links` are those of a signature, and empty where none matches.

    Attributes:
        outcome: `known`: what failed, and why; `unknown`: what failed is shown, why is not known; `healthy`: the log
            tells no failure.
        id: of the signature.
        phase: `build` or `run`: when this shows.
        cause: a clause without a full stop.
        remedy: one or two sentences, without the last full stop.
        links: where upstream discusses it.
        message: the error, in one line.
        excerpt: the first real failure with its surroundings; the last lines, if there is none.
        line: number of the line with the error, from 1; 0: none was found.
        unit: the file that could not be made.
        command: the command line that failed.
        directory: where it ran, as the build saw it.
        file, row, column: the place in a source that the error names; empty, and 0: none.
        beside: the next failures that do not follow from this one, as far as the log tells.
    """

    outcome: Outcome
    id: str
    phase: str
    cause: str
    remedy: str
    links: tuple[str, ...]
    message: str
    excerpt: str
    line: int
    unit: str
    command: str
    directory: str
    file: str
    row: int
    column: int
    beside: tuple[Beside, ...]

    @property
    def repeat(self) -> str:
        """A shell command that makes just that unit again, from inside the build root; empty if not known."""
        if not self.command:
            return ""
        return f"cd {shlex.quote(self.directory)} && {self.command}" if self.directory else self.command

    def to_dict(self) -> ExplainFacts:
        """JSON-ready form."""
        beside = [dataclasses.asdict(other) for other in self.beside]
        more = {"links": list(self.links), "beside": beside, "repeat": self.repeat}
        return cast("ExplainFacts", dataclasses.asdict(self) | more)


def diagnose(log: str) -> Explanation:
    """Explain a log, or any part of one that holds the error.

    Raises:
        UsageError: the user's own signatures are wrong.
    """
    return diagnose_stream(io.BytesIO(log.encode("utf-8", "replace")).read)


def diagnose_stream(read: Read) -> Explanation:
    """Explain a log that is read once, in little memory, whatever its size.

    Args:
        read: gives at most so many bytes, and none at the end, as a binary file's `read` does.

    Raises:
        UsageError: the user's own signatures are wrong.
        OSError: reading failed.
    """
    known = signatures()
    alone = [text for row in known if row.standalone for text in row.needles]
    log = Log(reader(read), _scanned(alone), success_needles())
    found = Reader(log, known)
    found.read()
    ranked = _ranked(found)
    if not ranked:
        return _healthy(log.tail(_LAST))
    return _explained(_with_command(ranked), _beside(ranked))


def _scanned(alone: list[str]) -> list[str]:
    """What the log is searched for; texts that hold another one of them need not be."""
    texts = [*needles(), *NEEDLES]
    return [*texts, *(text for text in alone if not any(other in text for other in texts))]


def _ranked(found: Reader) -> list[Failure]:
    """The failures, the one that leads first: the first that says what is wrong; warnings only where nobody does."""
    pending = found.pending
    if pending and all(item.role is Role.SUMMARY and item.signature is None for item in pending):
        # Only that something failed is told at the end: what had failed before may have been what it means.
        pending = [*(item for item in found.recovered if item.role is Role.ERROR), *pending]
    told = [item for item in found.warnings if item.signature and item.signature.standalone == "warning"]
    ranked = sorted([*pending, *told], key=lambda item: (_rank(item, told), item.line))
    wanted = ranked[0].signature.because if ranked and ranked[0].signature else ()
    causes = [item for item in found.warnings if item.signature and item.signature.id in wanted]
    return [*causes[:1], *ranked]


def _rank(failure: Failure, warnings: list[Failure]) -> int:
    """Errors; general causes; what nobody knows in a form that many use; known consequences; warnings; the rest."""
    if any(failure is item for item in warnings):
        return 4
    if failure.role is Role.ERROR:
        return 0
    if failure.signature is not None:
        return 1 if failure.role is Role.GENERIC else 3
    return 2 if failure.role is Role.GENERIC else 5


def _with_command(ranked: list[Failure]) -> Failure:
    """The first, with the command that a later consequence of it tells (as Python's exceptions do)."""
    first = ranked[0]
    name = PurePosixPath(first.file.replace("\\", "/")).name
    if first.command or not name:
        return first
    for item in ranked[1:]:
        if item.command and not item.held and 0 <= item.line - first.line <= _NEAR and name in item.command:
            return replace(first, unit=item.unit, command=item.command, directory=item.directory)
    return first


def _beside(ranked: list[Failure]) -> tuple[Beside, ...]:
    """What else failed: each unit, and each cause, once."""
    first, *rest = ranked
    if first.signature and first.signature.id in _ENDS:
        return ()
    seen = {(first.unit, first.signature.id if first.signature else first.message)}
    units = {first.unit} - {""}
    found = []
    for item in sorted(rest, key=lambda item: item.line):
        key = (item.unit, item.signature.id if item.signature else item.message)
        if item.role is not Role.ERROR or key in seen or item.unit in units:
            continue
        if item.signature and first.signature and item.signature.id == first.signature.id and not item.unit:
            continue
        seen.add(key)
        units |= {item.unit} - {""}
        found.append(Beside(item.line, item.message, *_known(item)[:2], item.unit))
    return tuple(found[:_BESIDE])


def _known(failure: Failure) -> tuple[str, str, str]:
    """The signature's id, cause and remedy, with what it found filled in."""
    row, found = failure.signature, failure.found
    if row is None or found is None:
        return "", "", ""
    values: dict[str, str] = {}
    for name, value in found.groupdict().items():
        if value:
            values.setdefault(name.rstrip("0123456789"), value)

    def fill(text: str) -> str:
        text = re.sub(
            r"\{([^{}@]*)@(\w+)([^{}]*)\}", lambda m: m[1] + values[m[2]] + m[3] if m[2] in values else "", text
        )
        return re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], "?"), text)

    return row.id, fill(row.cause), fill(row.remedy)


def _explained(failure: Failure, beside: tuple[Beside, ...]) -> Explanation:
    id_, cause, remedy = _known(failure)
    row: Signature | None = failure.signature
    return Explanation(
        outcome="known" if id_ else "unknown",
        id=id_,
        phase=row.phase if row else "",
        cause=cause,
        remedy=remedy,
        links=row.links if row else (),
        message=failure.message,
        excerpt=failure.excerpt,
        line=failure.line,
        unit=failure.unit,
        command=failure.command,
        directory=failure.directory,
        file=failure.file,
        row=failure.row,
        column=failure.column,
        beside=beside,
    )


def _healthy(lines: list[str]) -> Explanation:
    return Explanation("healthy", "", "", "", "", (), "", "\n".join(lines), 0, "", "", "", "", 0, 0, ())


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
