"""Cut the first real error out of the log of a build or of a run.

In: the text of a log. Out: `Failure`: the lines that matter, the unit that failed, and the command that made it. It
cannot fail: a log without any error gives its last lines.

Read are the forms of ninja (whole blocks, as it prints one unit's output in one piece), CMake (indented blocks), Python
(tracebacks), make, setuptools (echoed commands), and everything that says `error:`: gcc, nvcc, cicc, ptxas, ld.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath

_BEFORE, _AFTER, _LONGEST = 2, 12, 40  # lines
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_STEP = re.compile(r"^\[(?:\d+/\d+|\s*\d+%)\] ")
_FAILED = re.compile(r"^FAILED: (?:\[code=\d+\] )?(?P<unit>\S+)")
_ENDS = re.compile(r"^(?:\[\d+/\d+\] |FAILED: |ninja: |ninja explain)")
# What is printed at an error. Status lines of CMake and warnings are no errors, whatever they say.
_ERROR = re.compile(
    r"\b(?:fatal |catastrophic |internal compiler )?error(?: [A-Z]?\d+)?\s*:|\bfatal\s*:|^CMake Error|^Traceback \("
    r"|^\w[\w.]*(?:Error|Exception)\b.*:|\bKilled\b|died due to signal|terminated with signal"
    r"|No space left on device|undefined reference to|\bcannot find -l|version `\w+' not found|=> not found"
    r"|cannot open shared object file|CUDA error|\*\*\* \[.*\] (?:Error \d+|Killed)|Could not resolve host"
    r"|undefined symbol:"
)
_NO_ERROR = re.compile(r"^-- |\bwarning\s*:|^CMake Warning|\bnote\s*:|\b0 errors?\b|-Werror|^ptxas info")
_SUMMARY = re.compile(
    r"^(?:ninja: build stopped|error: command .* failed|make(?:\[\d+\])?: \*\*\*|collect2: error"
    r"|\w[\w.]*Error: Command )"
)
_SOURCE = re.compile(r"(?P<path>[^\s:(\"'`]+\.(?:cuh?|cc|cpp|cxx|c|hpp|h))\b")
_COMPILERS = re.compile(r"(?:[\w.]+-)*(?:nvcc|gcc|g\+\+|cc|c\+\+|clang|clang\+\+)(?:-\d+)?")
_DIRECTORY = re.compile(
    r"ninja: Entering directory [`'](?P<ninja>[^']+)'|-- Build files have been written to: (?P<cmake>.+)"
    r"|Emitting ninja build file (?P<torch>.+)/build\.ninja|^make(?:\[\d+\])?: Entering directory '(?P<make>[^']+)'"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What a log says about its end.

    Attributes:
        excerpt: the first real error with what belongs to it.
        first: number of its first line, from 1; 0 if there is no error.
        unit: what could not be made, as ninja names it; empty: not known.
        command: the command line that failed; empty: not known.
        directory: where it ran; empty: not known.
    """

    excerpt: str
    first: int
    unit: str = ""
    command: str = ""
    directory: str = ""


def plain_lines(log: str) -> list[str]:
    """The log's lines without colours, and of each line that was overwritten on a terminal only what stayed."""
    return [_ESCAPE.sub("", line).rstrip().rpartition("\r")[2] for line in log.split("\n")]


def is_error(line: str) -> bool:
    """Whether a line of a log states an error, not a warning or a search that went on."""
    return bool(_ERROR.search(line)) and not _NO_ERROR.search(line)


def find_failure(lines: list[str], near: int | None = None) -> Failure:
    """The failure that a log ends with.

    Args:
        lines: of `plain_lines`.
        near: index of a line that is known to tell the cause; None: the first real error is looked for.
    """
    blocks = list(_ninja_blocks(lines))
    if near is None:
        near = _first_error(lines, blocks)
    if near is None:
        last = [line for line in lines if line][-_AFTER:]
        return Failure("\n".join(last), 0, directory=_directory(lines, len(lines)))
    directory = _directory(lines, near)
    for start, end in blocks:
        if start <= near < end and (head := _FAILED.match(lines[start])):
            return Failure(_block(lines, start, end, near), near + 1, head["unit"], lines[start + 1], directory)
    begin, end = _surroundings(lines, near)
    unit, command = _echoed(lines, near)
    return Failure("\n".join(lines[begin:end]).rstrip(), near + 1, unit, command, directory)


def _ninja_blocks(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Where each failed edge begins and ends: `FAILED: …`, its command, its output."""
    for start, line in enumerate(lines):
        if _FAILED.match(line) and start + 1 < len(lines):
            end = start + 2
            while end < len(lines) and not _ENDS.match(lines[end]):
                end += 1
            yield start, end


def _first_error(lines: list[str], blocks: list[tuple[int, int]]) -> int | None:
    """The first line that states an error; a summary of others only if there is nothing else."""
    summary: int | None = None
    places = chain(*(range(start + 2, end) for start, end in blocks), range(len(lines)))
    for number in places:
        if is_error(lines[number]):
            if not _SUMMARY.search(lines[number]):
                return number
            if summary is None:
                summary = number
    return blocks[0][0] if summary is None and blocks else summary


def _block(lines: list[str], start: int, end: int, near: int) -> str:
    """A failed edge without its command, which may be a page long."""
    begin = max(start + 2, near - _BEFORE)
    return "\n".join([lines[start], *lines[begin : min(end, begin + _AFTER + _BEFORE)]]).rstrip()


def _surroundings(lines: list[str], near: int) -> tuple[int, int]:
    """The lines that belong to an error outside ninja: a whole traceback, a whole block of CMake, or some around it."""
    begin, end = max(0, near - _BEFORE), min(len(lines), near + _AFTER)
    if lines[near].startswith("CMake Error"):
        end = near + 1
        while end < len(lines) and (not lines[end] or lines[end].startswith(" ")) and end < near + _LONGEST:
            end += 1
        return near, end
    trace = near
    while trace > 0 and lines[trace].startswith(" "):  # from a frame up to the head of the traceback
        trace -= 1
    if not lines[trace].startswith("Traceback (") and not lines[near].startswith(" "):
        trace = near - 1
        while trace > 0 and lines[trace].startswith(" "):
            trace -= 1
    if lines[trace].startswith("Traceback ("):
        end = trace + 1
        while end < len(lines) and lines[end].startswith(" "):
            end += 1
        end = min(len(lines), end + 2)
        return max(trace, end - _AFTER - _BEFORE), end
    return begin, end


def _echoed(lines: list[str], near: int) -> tuple[str, str]:
    """The compiler's command that setuptools or make printed before an error, of the same source if one is named."""
    source = _SOURCE.search(lines[near])
    name = PurePosixPath(source["path"]).name if source else ""
    nearest = ("", "")
    for line in reversed(lines[:near]):
        text = _STEP.sub("", line)
        if nearest[1] and name not in text:
            continue
        if not _COMPILERS.fullmatch(PurePosixPath(text.partition(" ")[0]).name):
            continue
        try:
            words = shlex.split(text)
        except ValueError:
            continue
        output = words[words.index("-o") + 1] if "-o" in words[:-1] else ""
        if not name or any(PurePosixPath(word).name == name for word in words):
            return output, text
        nearest = nearest if nearest[1] else (output, text)
    return nearest


def _directory(lines: list[str], before: int) -> str:
    """Where commands run: what ninja, CMake, torch or make said last."""
    for line in reversed(lines[:before]):
        if found := _DIRECTORY.search(line):
            return next(text for text in found.groups() if text).strip()
    return ""
