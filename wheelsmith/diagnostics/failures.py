"""Read the failures out of the lines of a log.

In: a `Log` whose interesting lines are known. Out: `Failure`s: what was said, by whom, about which unit and with which
command, and whether it was made good later in the log. Fails only as reading does (OSError).

Each form has a small reader: ninja prints a failed unit's header, command and output in one piece; CMake indents what
belongs to an error; a traceback ends with its exception, and may be one of a chain; compilers echo source below an
error, which is skipped; other errors end with their own line, and what is indented below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from wheelsmith.diagnostics.commands import command_before, command_in
from wheelsmith.diagnostics.failure import (
    MOST_TEXT,
    Failure,
    after_echo,
    ends,
    from_the_error,
    goes_on,
    is_command,
    is_echo,
    one_line,
    shown,
    telling,
)
from wheelsmith.diagnostics.lines import Line
from wheelsmith.diagnostics.scan import Log
from wheelsmith.diagnostics.signature import Signature
from wheelsmith.diagnostics.statements import Role, Statement, is_probe, statement_of

#: Texts of lines that this reader wants to see, besides those of `statements.needles`.
NEEDLES = ("ntering directory", "ninja build file", "# wheelsmith: ")
#: A line that begins so separates the runs of a resumed build in one log; only what follows the last one counts.
RUN_MARK = "# wheelsmith: "
_MOST = 200  # failures of one log that are kept, of each role
_SHAPES = 20_000  # shapes of lines that are remembered, so that what is repeated costs nothing
_DIGITS = b"0123456789"
_NOTHING, _ALWAYS = -1, -2  # besides roles: a line that never states anything, and one that has to be looked at again
_BEFORE, _AFTER = 2, 12  # lines of an excerpt
_BLOCK, _SHORT = 400, 30  # lines of a block that is read ahead, and of what belongs to a single error
_MARKS = re.compile(r"[\s^~]*")
_NINJA_ENDS = re.compile(r"\[\d+/\d+\] |FAILED: |ninja: |ninja explain|Traceback \(|-- ")
_PRINTS = re.compile(r"\++ (?:cat|head|tail|sed|printf|echo|less|more|bat|grep|awk|type)\b(?!.*\.(?:log|err|out)\b)")
_KILLS = re.compile(r"(?:[+$] ?)*(?:sudo )?(?:kill|pkill|killall|timeout)\b")
_DIRECTORY = re.compile(
    r"ninja: Entering directory [`'](?P<ninja>[^']+)'|-- Build files have been written to: (?P<cmake>.+)"
    r"|Emitting ninja build file (?P<torch>.+)/build\.ninja|g?make(?:\[\d+\])?: Entering directory [`'](?P<make>[^']+)'"
)
_WHOLE = re.compile(r"naming to |Job succeeded|Finished: SUCCESS|Process completed with exit code 0|View at:")
_FETCHED = re.compile(
    r"Receiving|Resolving|HEAD is|Submodule|-- Generating|Successfully uninstalled|Prepared|\S*ok$", re.I
)
_COMMANDED = ("compiler", "linker", "cuda", "driver", "signal", "abort", "exception", "traceback", "fork", "generic")
_REACH = 400  # lines before an error in which its command is looked for
_FETCHES = ("git", "fetch", "generic")


class Reader:
    """Collects the failures of a log.

    Args:
        log: what is read.
        signatures: the known failures.
    """

    def __init__(self, log: Log, signatures: Sequence[Signature]) -> None:
        self._log = log
        self._signatures = sorted(signatures, key=lambda row: row.general)  # what is special is asked first
        self._alone = [row for row in signatures if row.standalone]
        self._standalone = re.compile(
            "|".join(re.escape(text) for row in self._alone for text in row.needles) or r"(?!)"
        )
        self.pending: list[Failure] = []
        self.recovered: list[Failure] = []
        self.warnings: list[Failure] = []
        self._shapes: dict[bytes, int] = {}  # lines without their digits, and what they were found to be
        self._counted, self._full = (0, 0), set[int]()  # roles of which enough failures are kept
        self._read: dict[str, int] = {}  # up to which offset each stream's lines belong to what was read
        self._directories: dict[str, str] = {}

    def read(self) -> None:
        """Read the whole log."""
        self._log.is_nothing = lambda raw: self._shapes.get(_shape(raw)) == _NOTHING
        for at in self._log.hits():
            shape = _shape(self._log.raw(at))
            role = self._shapes.get(shape)
            if role is None:
                if len(self._shapes) > _SHAPES:
                    self._shapes.clear()
                self._shapes[shape] = self._take(at)
            elif role != _NOTHING and not self._is_full(role):
                self._take(at)
            self._log.awake = bool(self.pending or self.warnings)

    def _is_full(self, role: int) -> bool:
        state = (id(self.pending), len(self.pending))
        if state != self._counted:
            roles = [item.role for item in self.pending]
            self._counted, self._full = state, {int(role) for role in set(roles) if roles.count(role) >= _MOST}
        return role in self._full

    def _take(self, at: int) -> int:
        """Read what begins with a line; its role, or `_NOTHING` if no such line states anything, wherever it stands."""
        line, _ = self._log.line(at)
        text = line.text.strip()
        if text.startswith(RUN_MARK):
            self.pending, self.recovered, self.warnings = [], [], []
            return _ALWAYS
        if at < self._read.get(line.stream, 0):
            return _ALWAYS
        if place := _DIRECTORY.match(text):
            self._directories[line.stream] = next(filter(None, place.groups())).strip()
        statement = statement_of(line)
        if statement is None:
            return _ALWAYS if self._take_standalone(at, line) or place else _NOTHING
        if statement.role is Role.SUCCESS:
            self._succeed(line.stream, text)
            return _ALWAYS
        if statement.closes or not self._is_full(statement.role):
            self._take_statement(at, line, statement)
        return _ALWAYS if statement.closes else int(statement.role)

    def _take_standalone(self, at: int, line: Line) -> bool:
        """A line without the form of an error, whose words are known nevertheless; whether it may be one."""
        if not self._standalone.search(line.text):
            return False
        if line.level == "command" or line.text.lstrip().startswith(("-- ", "+ ", "$ ")):
            return True
        text = one_line(line.text)
        for row in self._alone:
            if found := row.match(text):
                role = Role.ERROR if row.standalone == "error" else Role.SUMMARY
                if self._is_printed(at, line, role):
                    return True
                lines = self._lines(at, line.stream, _SHORT)
                failure = Failure(role, "standalone", line.number, (text,), self._excerpt(at, lines, 0, 1), line.stream)
                failure = replace(failure, signature=row, found=found)
                if row.standalone == "error":
                    self.pending.append(failure)
                elif len(self.warnings) < _MOST:
                    self.warnings.append(failure)
                return True
        return True

    def _take_statement(self, at: int, line: Line, statement: Statement) -> None:
        block = statement.kind in ("ninja", "cmake", "traceback")
        offsets, lines = self._offsets(at, line.stream, _BLOCK if block else _SHORT)
        if not block and self._is_printed(at, line, statement.role, statement.kind):
            return
        header = statement.kind == "ninja" and line.text.lstrip().startswith("FAILED: ")
        failures, length = self._ninja(at, lines, statement) if header else self._one(at, lines, 0, statement)
        self._read[line.stream] = offsets[length] if length < len(offsets) else offsets[-1] + 1
        self.pending += [self._with_command(at, failure) for failure in failures]
        if statement.closes:
            self._close(line.stream)

    # Readers. Each gets lines of one stream, and gives failures and how many lines belong to them.

    def _one(self, at: int, lines: list[Line], first: int, statement: Statement) -> tuple[list[Failure], int]:
        if statement.kind == "traceback":
            return self._traceback(at, lines, first)
        if statement.kind == "cmake" and lines[first].text.lstrip().startswith("CMake Error"):
            return self._cmake(at, lines, first, statement)
        return self._plain(at, lines, first, statement)

    def _many(self, at: int, lines: list[Line], first: int, end: int) -> list[Failure]:
        """The failures in some lines."""
        failures, index = [], first
        while index < end:
            statement = None if is_echo(lines, index) else statement_of(lines[index])
            if statement is None or statement.role is Role.SUCCESS:
                index += 1
                continue
            found, index = self._one(at, lines[:end], index, statement)
            failures += found
        return failures

    def _ninja(self, at: int, lines: list[Line], statement: Statement) -> tuple[list[Failure], int]:
        """`FAILED: unit`, its command, its output."""
        end = 1
        while end < len(lines) and not _NINJA_ENDS.match(lines[end].text.lstrip()):
            end += 1
        while end > 1 and not lines[end - 1].text:
            end -= 1
        command = lines[1].text.strip() if end > 1 and is_command(lines[1]) else ""
        begin = 2 if command else 1
        unit = statement.message.split(" ")[0]
        found = self._many(at, lines, begin, end)
        code = f" [code={statement.code}]" if statement.code else ""
        if all(failure.role is Role.SUMMARY for failure in found):
            text = " ".join([f"FAILED:{code} {unit}", *(one_line(line.text) for line in lines[begin : begin + _AFTER])])
            role = Role.ERROR if statement.code in (137, 139) else Role.SUMMARY
            head = Failure(role, "ninja", lines[0].number, (f"FAILED:{code} {unit}", text), "", lines[0].stream)
            found = [self._matched(head), *found]
        directory = self._directories.get(lines[0].stream, "")
        whole = []
        for item in found:
            failure = item
            if failure.signature is None:  # such as a crash, which the shell tells in two words
                failure = self._matched(item, (f"FAILED:{code} {unit} {item.message}",))
            near = failure.line - lines[0].number
            middle = next((i for i, line in enumerate(lines[:end]) if line.number >= failure.line), near)
            start = max(begin, middle - _BEFORE)
            excerpt = [lines[0], *lines[start : min(end, start + _AFTER + _BEFORE)]]
            whole.append(
                replace(failure, unit=unit, command=command, directory=directory, held=True, excerpt=shown(excerpt))
            )
        return whole, end

    def _cmake(self, at: int, lines: list[Line], first: int, statement: Statement) -> tuple[list[Failure], int]:
        """An error of CMake: what is indented below it belongs to it."""
        end = first + 1
        while end < len(lines) and (not lines[end].text or lines[end].indent > lines[first].indent):
            end += 1
        while end > first + 1 and not lines[end - 1].text:
            end -= 1
        text = one_line(" ".join(line.text for line in lines[first:end]))
        failure = Failure(
            statement.role, "cmake", lines[first].number, (text,), shown(from_the_error(lines[first:end])),
            lines[first].stream, directory=self._directories.get(lines[first].stream, ""), file=statement.file,
            row=statement.row,
        )  # fmt: skip
        return [self._matched(failure)], end

    def _traceback(self, at: int, lines: list[Line], first: int) -> tuple[list[Failure], int]:
        """A traceback, or a chain of them: the exception that says most."""
        chain: list[tuple[Failure, str]] = []
        index, relation = first, ""
        while index < len(lines):
            head, index = index, index + 1
            while index < len(lines) and (not lines[index].text or lines[index].indent > lines[head].indent):
                index += 1
            if index >= len(lines) or (statement_of(lines[index]) is None and ":" not in lines[index].text):
                break
            found, end = self._plain(
                at, lines, index, statement_of(lines[index]) or Statement(Role.ERROR, "exception", "")
            )
            begin = max(head, index + 2 - _AFTER)
            failure = replace(found[0], kind="traceback", excerpt=shown(lines[begin : min(end, index + 6)]))
            if failure.signature is None:  # the source that raised it may be what is known
                source = next(
                    (line.text for line in reversed(lines[head:index]) if not _MARKS.fullmatch(line.text)), ""
                )
                failure = self._matched(failure, (one_line(f"{source} {failure.message}"),))
            chain.append((failure, relation))
            index = end
            while index < len(lines) and not lines[index].text:
                index += 1
            said = lines[index].text.strip() if index < len(lines) else ""
            relation = (
                "handled"
                if said.startswith("During handling of")
                else "cause"
                if said.startswith("The above exc")
                else ""
            )
            following = index + 1
            while following < len(lines) and not lines[following].text:
                following += 1
            if not relation or following >= len(lines) or not lines[following].text.lstrip().startswith("Traceback ("):
                index = end
                break
            index = following
        if not chain:
            text = one_line(" ".join(line.text for line in lines[first:index][-3:]))
            where = lines[first]
            return [
                Failure(
                    Role.GENERIC, "traceback", where.number, (text,), shown(lines[first:index][-_AFTER:]), where.stream
                )
            ], index
        return [telling(chain)], index

    def _plain(self, at: int, lines: list[Line], first: int, statement: Statement) -> tuple[list[Failure], int]:
        """An error in one line, with what is indented below it or continues it."""
        line, end = lines[first], first + 1
        text = one_line(line.text)
        texts = [text]
        if statement.kind == "compiler":
            end = after_echo(lines, first)
            if end == first + 1:  # no source is shown: what is indented is the sentence, wrapped by CMake
                while end < min(len(lines), first + 4) and lines[end].text and lines[end].indent > line.indent:
                    end += 1
                texts += [one_line(" ".join(item.text for item in lines[first:end]))] if end > first + 1 else []
        elif statement.role is not Role.SUMMARY or statement.kind not in ("ninja", "make", "job"):
            inner = end
            while inner < min(len(lines), first + _AFTER):
                following = lines[inner]
                if ends(following, line.indent) or not (following.text or goes_on(lines, inner, statement.kind)):
                    break
                inner += 1
            indented = end
            while indented < inner and (not lines[indented].text or lines[indented].indent > line.indent):
                indented += 1
            for stop in (indented, inner):
                joined = one_line(" ".join(item.text for item in lines[first:stop]))
                if joined != texts[-1]:
                    texts.append(joined)
            end = indented
        failure = Failure(
            statement.role, statement.kind, line.number, tuple(texts), self._excerpt(at, lines, first, end),
            stream=line.stream, directory=self._directories.get(line.stream, ""), file=statement.file,
            row=statement.row, column=statement.column,
        )  # fmt: skip
        if statement.kind == "compiler" and is_probe(text):
            return [], end
        return [self._matched(failure)], end

    # What belongs to a failure.

    def _matched(self, failure: Failure, texts: tuple[str, ...] = ()) -> Failure:
        """With the signature that knows it, by other `texts` than its own if some are given."""
        for text in texts or failure.texts:
            for row in self._signatures:
                if row.standalone != "hint" and (found := row.match(text[:MOST_TEXT])):
                    role = failure.role
                    if role is Role.GENERIC and not row.general:
                        role = Role.ERROR
                    elif row.general and role is Role.ERROR:
                        role = Role.GENERIC
                    return replace(failure, signature=row, found=found, role=role)
        return failure

    def _is_printed(self, at: int, line: Line, role: Role, kind: str = "") -> bool:
        """Whether a line is source that a compiler echoes, text of a file or script, or tells an end that was meant."""
        _, lines = self._offsets(at, line.stream, 3)
        if kind != "compiler" and is_echo(lines, 0):
            return True
        for step, before in enumerate(self._back(at, 80, line.stream)):
            text = before.text.lstrip()
            if kind == "signal" and step < 20 and _KILLS.match(text):
                return True
            if text.startswith("+ ") or text.startswith("++ "):
                return bool(_PRINTS.match(text))
        return False

    def _with_command(self, at: int, failure: Failure) -> Failure:
        """With unit and command, where ninja has not told them."""
        if failure.command or failure.kind not in _COMMANDED or len(self.pending) > _MOST:
            return failure
        found = command_in(failure.message)
        if found is None:
            found = command_before(failure.message, self._back(at, _REACH, failure.stream))
        unit, command, directory = found
        return replace(failure, unit=unit, command=command, directory=directory or failure.directory)

    def _back(self, at: int, most: int, stream: str) -> Iterator[Line]:
        """The lines of a stream before an offset, the nearest first, as far as the same run goes."""
        for line in self._log.back(at, most):
            if line.text.startswith(RUN_MARK):
                return
            if line.stream == stream:
                yield line

    def _lines(self, at: int, stream: str, most: int) -> list[Line]:
        return self._offsets(at, stream, most)[1]

    def _offsets(self, at: int, stream: str, most: int) -> tuple[list[int], list[Line]]:
        """The next lines of a stream."""
        found = [
            (offset, line)
            for offset, line in self._log.ahead(at, 4 * most if stream else most)
            if line.stream == stream
        ]
        return [offset for offset, _ in found[:most]], [line for _, line in found[:most]]

    def _excerpt(self, at: int, lines: list[Line], first: int, end: int) -> str:
        """Some lines before and after an error."""
        before = lines[max(0, first - _BEFORE) : first]
        if first < _BEFORE:
            stream = lines[first].stream
            more = [line for line in self._back(at, 12, stream) if line.text][: _BEFORE - first]
            before = [*more[::-1], *before]
        return shown([*before, *lines[first : max(end, first + _AFTER)]])

    # How it went on.

    def _close(self, stream: str) -> None:
        self.pending = [
            replace(item, closed=True, held=True) if item.stream == stream else item for item in self.pending
        ]

    def _succeed(self, stream: str, text: str) -> None:
        """Something ended well: what nothing failed of until then has been recovered from."""
        if _WHOLE.match(text):
            self.pending, self.recovered, self.warnings = [], [], []
            return
        if _FETCHED.match(text):
            gone = [item for item in self.pending if item.stream == stream and item.kind in _FETCHES and not item.held]
        else:
            gone = [item for item in self.pending if item.stream == stream and (item.closed or not item.held)]
            self.warnings = [item for item in self.warnings if item.stream != stream]
        if gone:
            self.recovered = [*self.recovered, *(item for item in gone if item.closed)][-_MOST:]
            lost = set(map(id, gone))
            self.pending = [item for item in self.pending if id(item) not in lost]


def _shape(raw: bytes) -> bytes:
    """A line without its digits, as those that are repeated differ in nothing else; but the digits of a step count."""
    return raw if b"] " in raw else raw.translate(None, _DIGITS)
