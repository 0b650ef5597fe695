"""A line of a log without what other programs have put in front of it.

In: one line as bytes or text. Out: `Line`: what the tool itself wrote, who wrote it (the service, build step or rank,
where several write into one log), and the level that a logger gave it. It cannot fail.

Known are the prefixes of docker (BuildKit, compose, json-file), CRI, GitHub, GitLab, Azure, Jenkins, act, pip, uv,
conda and rattler-build, nix, spack, MPI, torchrun, srun, Ray, vLLM, Python's and Google's loggers, syslog and the
kernel, and colours, hyperlinks and lines that were overwritten on a terminal. What is left keeps its indentation.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

_LONGEST = 65_536  # characters of a line that are looked at
_USUAL = 1000  # a longer one is not remembered
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-9;:?=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()][0-9A-B]|[=>78cDEHM])|\x08|\x00"
)
_SECTION = re.compile(r"section_(?:start|end):\d+:[^\r]*\r")
_BOX = re.compile(r"(?:\s*(?:[│┃╎║├└╰╭╞×✗✖❌]+[─━╴]*[▶►>]?|\+->)(?=\s|$)\s?)+")
_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
_LEVEL = r"(?P<level>TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|CRITICAL|FATAL)"
# Tried again and again, in this order, until none fits.
_PREFIXES = tuple(
    re.compile(text)
    for text in (
        r"\ufeff",
        rf"(?P<job>[^\t]{{1,200}})\t[^\t]{{1,200}}\t(?=\ufeff?{_TIME})",  # gh run view --log
        rf"\[?{_TIME}\]?(?: \d\d[OE][ +]| (?:stdout|stderr) [FP] | ?\| | - |: |[ \t]|$)",  # GitHub, GitLab, CRI
        rf"[\w.-]+(?:\[\d+\])? ?[-|] ?{_LEVEL} ?[-|:] ?",  # Python's logger: name - LEVEL -
        rf"\[?{_LEVEL}\]? +\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? +(?:\[[^\]]{{1,80}}\] ?)?",  # vLLM
        rf"\[{_LEVEL} *\] ?",
        rf"{_LEVEL} *(?:\||- |\[[^\]]{{1,80}}\] |:[\w.]+:(?=\S))",
        r"\[?(?P<glog>[IWEF])\d{3,4} \d\d:\d\d:\d\d\.\d+ +[^\]]{1,200}\] ?",
        r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (?:[\w.-]+ [\w./-]+(?:\[\d+\])?: )?",  # syslog, ts
        r"(?:kernel: )?(?:<\d>)?\[ *\d+\.\d{3,6}\] ",  # dmesg
        r"\[(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\] ",
        r"\[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]?:?(?: |$)",  # Jenkins
        r"(?P<step>#\d+) (?:\d+\.\d+(?: |$)|(?=ERROR|CANCELED|DONE|CACHED|\[))",  # BuildKit
        r"\d{1,5}\.\d{2,3}(?: |$)",  # BuildKit repeats the end of a step that failed
        r" *=> => # ",
        r"\[[\w ./:()-]{1,80}\] +\| ",  # act
        r"(?P<service>[A-Za-z][\w.-]{0,60}) +\| ?(?!\|)",  # compose
        r"\[pod/(?P<pod>[^\]]+)\] ",
        r"\((?P<process>[\w .:-]{1,60} pid=\d+[^)]{0,80})\) ",  # vLLM, Ray
        r"\[(?P<rank>rank\d+|default\d+|\d+,\d+|[\w.-]+:\d+:rank\d+)\](?:<std(?:err|out)>)?:? ?",
        r"(?P<task>\d{1,4}):(?: |$)",  # srun --label
        r"[\w.+-]{1,60}>(?: |$)",  # nix build -L
        r"\s*>> \d+ +",  # spack
        r" {2,12}>(?: |$)",  # nix quotes the end of a log
        r"\| (?! *\^)",  # bitbake, and pip without Unicode
        r"##\[(?:group|endgroup|section|debug)\]",
        r"##\[(?P<github>error|warning|command)\]",
        r"::(?P<annotation>error|warning|notice|debug|group)(?: [^:]*(?:::?(?!:)[^:]*)*?)?::",
        r"E {3}(?=\S)",  # pytest
        r" ?\* (?=ERROR)",  # portage
        r"\^[CZ]|\[Pipeline\] ",
    )
)
_FIRST = re.compile(r"[\w\[(#{<>|: E^*+\ufeff\u2500-\u257f×✗✖❌-]")
_LEVELS = {"E": "error", "F": "error", "W": "warning", "I": "info", "notice": "info", "debug": "info", "group": "info"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log.

    Attributes:
        number: from 1.
        text: what the tool wrote, with its indentation.
        stream: who wrote it, where the log says so.
        level: `error`, `warning`, `info` or `command`, where a logger or a CI says so; else empty.
    """

    number: int
    text: str
    stream: str = ""
    level: str = ""

    @property
    def indent(self) -> int:
        """Characters before the text, a tab counting eight."""
        head = self.text[: len(self.text) - len(self.text.lstrip())]
        return len(head.expandtabs())


def clean(raw: bytes | str, number: int = 0) -> Line:
    """The line that `raw` holds, without its prefixes."""
    return Line(number, *(_lately(raw) if len(raw) <= _USUAL else _parts(raw)))


def _parts(raw: bytes | str) -> tuple[str, str, str]:
    """Text, stream and level of a line."""
    text = raw if isinstance(raw, str) else raw[:_LONGEST].decode("utf-8", "replace")
    text = text.rstrip("\r\n")
    if "\x1b" in text or "\x08" in text or "\x00" in text:
        text = _ESCAPE.sub("", text)
    if "\r" in text:
        text = _SECTION.sub("", text)
        text = next((piece for piece in reversed(text.split("\r")) if piece.strip()), "")
    if text.startswith('{"') and '"log"' in text:
        text = _unpacked(text)
    stream, level = [], ""
    for _ in range(8):
        box = _BOX.match(text)
        if box:
            text = " " * box.end() + text[box.end() :]
        found = next(filter(None, (prefix.match(text) for prefix in _PREFIXES)), None) if _FIRST.match(text) else None
        if found is None:
            if not box:
                break
            continue
        for name, value in found.groupdict().items():
            if value is None:
                continue
            if name in ("level", "glog", "github", "annotation"):
                level = _LEVELS.get(
                    value, {"warn": "warning", "critical": "error", "fatal": "error"}.get(value.lower(), value.lower())
                )
            else:
                stream.append(value)
        text = text[found.end() :]
    return text.rstrip(), " ".join(stream), level


_lately = lru_cache(maxsize=2048)(_parts)  # each of many errors looks back for its command, at the same lines


def _unpacked(text: str) -> str:
    """The line that docker's json-file driver packed."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    log = value.get("log") if isinstance(value, dict) else None
    return log.rstrip("\r\n") if isinstance(log, str) else text
