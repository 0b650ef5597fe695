"""The known failures: which words of an error tell which cause, and what to do.

In: the TOML files of `signatures/`, and the user's own. Out: `Signature`s, in their order. Fails with `UsageError`,
which names file and row. docs/diagnostics.md describes the fields. A user's row comes before all others, and one with
the `id` of a row of wheelsmith's replaces it.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, cast

from wheelsmith.errors import UsageError

VARIABLE = "WHEELSMITH_SIGNATURES"
_REQUIRED = ("id", "phase", "patterns", "cause", "remedy", "positive", "negative")
_LISTS = ("patterns", "positive", "negative", "links", "needles", "because")
_TEXTS = ("id", "phase", "cause", "remedy", "standalone")


@dataclass(frozen=True, slots=True)
class Signature:
    """A known failure.

    Attributes:
        id: its name: lower case, digits, hyphens.
        phase: when it shows: `build`, or `run` (importing or using what was built).
        patterns: one of them is in the text of the error, in one line with single spaces. A named group may be used in
            `cause` and `remedy`: `{name}`, or `{ text @name text}`, which is left out where the group found nothing;
            `name2` stands for `name` as well.
        cause: a clause without a full stop.
        remedy: one or two sentences, without the last full stop.
        positive: errors that it explains; `negative`: texts that it must not explain. Tests run both.
        links: where upstream discusses it.
        general: whether it is often only the consequence of something else, or a side show.
        standalone: `error`: a line with it is an error in whatever form; `warning`: such a line counts if there is no
            error; `hint`: such a line never counts by itself, but may be what another row's `because` asks for; empty:
            only what has the form of an error is looked at.
        needles: texts of which one is in every line that the patterns of a standalone row find.
        because: ids of which one is the cause if it was told before as a hint or a warning.
        origin: the file it comes from.
    """

    id: str
    phase: Literal["build", "run"]
    patterns: tuple[re.Pattern[str], ...]
    cause: str
    remedy: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    links: tuple[str, ...] = ()
    general: bool = False
    standalone: Literal["", "error", "warning", "hint"] = ""
    needles: tuple[str, ...] = ()
    because: tuple[str, ...] = ()
    origin: str = ""

    def match(self, text: str) -> re.Match[str] | None:
        """Where it finds itself in the text of an error."""
        return next(filter(None, (pattern.search(text) for pattern in self.patterns)), None)


def signature_directories() -> tuple[Path, ...]:
    """Where the user's are: `WHEELSMITH_SIGNATURES` (separated as in PATH), else `signatures` beside the settings."""
    from platformdirs import user_config_path

    named = os.environ.get(VARIABLE)
    if named is not None:
        return tuple(Path(part) for part in named.split(os.pathsep) if part)
    return (user_config_path("wheelsmith") / "signatures",)


def signatures() -> tuple[Signature, ...]:
    """All: the user's, then wheelsmith's.

    Raises:
        UsageError: a file of the user's cannot be read, or a row in it is wrong.
    """
    own: list[Signature] = []
    for directory in signature_directories():
        if os.environ.get(VARIABLE) and not directory.is_dir():
            raise UsageError(f"There is no directory of signatures {directory}.", f"Correct {VARIABLE}.")
        for path in sorted(directory.glob("*.toml")) if directory.is_dir() else ():
            try:
                own += _parse(path.read_bytes(), str(path))
            except OSError as error:
                raise UsageError(f"The signatures {path} cannot be read: {error.strerror}.", "Correct it.") from error
    taken = {signature.id for signature in own}
    return (*own, *(signature for signature in shipped() if signature.id not in taken))


@cache
def shipped() -> tuple[Signature, ...]:
    """Wheelsmith's own."""
    directory = files(__package__).joinpath("signatures")
    found = sorted((item for item in directory.iterdir() if item.name.endswith(".toml")), key=lambda item: item.name)
    return tuple(row for item in found for row in _parse(item.read_bytes(), item.name))


def _parse(data: bytes, origin: str) -> list[Signature]:
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"The signatures {origin} are no TOML: {error}.", "Correct the file.") from error
    rows = table.get("failure")
    if set(table) != {"failure"} or not isinstance(rows, list):
        raise UsageError(f"{origin} needs [[failure]] tables, and nothing else.", "See docs/diagnostics.md.")
    found = [_row(row, number, origin) for number, row in enumerate(rows, 1)]
    double = {row.id for row in found if [other.id for other in found].count(row.id) > 1}
    if double:
        raise UsageError(f"{origin} has the id {min(double)!r} twice.", "Rename one, or join them.")
    return found


def _row(row: object, number: int, origin: str) -> Signature:
    place = f"{origin}, [[failure]] {number}"
    if not isinstance(row, dict):
        raise _wrong(place, "is no table")
    if isinstance(row.get("id"), str):
        place = f"{place} ({row['id']})"
    _refuse_keys(row, place)
    lists = {key: tuple(row.get(key, ())) for key in _LISTS}
    texts = {key: str(row.get(key, "")) for key in _TEXTS}
    _refuse_values(texts, lists, place)
    try:
        patterns = tuple(re.compile(text) for text in lists["patterns"])
    except re.error as error:
        raise _wrong(place, f"has a pattern that is no regular expression: {error}") from error
    names = {name.rstrip("0123456789") for pattern in patterns for name in pattern.groupindex}
    for text in (texts["cause"], texts["remedy"]):
        for name in re.findall(r"\{(?:[^{}@]*@)?(\w+)[^{}]*\}", text):
            if name not in names:
                raise _wrong(place, f"uses {{{name}}}, which no pattern has as a group")
    return Signature(
        texts["id"],
        cast('Literal["build", "run"]', texts["phase"]),
        patterns,
        texts["cause"],
        texts["remedy"],
        lists["positive"],
        lists["negative"],
        lists["links"],
        bool(row.get("general", False)),
        cast('Literal["", "error", "warning", "hint"]', texts["standalone"]),
        lists["needles"],
        lists["because"],
        origin,
    )


def _refuse_keys(row: dict[str, object], place: str) -> None:
    for key in sorted(row.keys() - {*_LISTS, *_TEXTS, "general"}):
        raise _wrong(place, f"has the unknown key {key!r}")
    for key in _REQUIRED:
        if not row.get(key):
            raise _wrong(place, f"lacks {key!r}")
    for key, value in row.items():
        if key in _LISTS:
            fits = isinstance(value, list) and all(isinstance(item, str) and item for item in value)
        else:
            fits = isinstance(value, bool if key == "general" else str)
        if not fits:
            wanted = "a list of texts" if key in _LISTS else "true or false" if key == "general" else "a text"
            raise _wrong(place, f"needs {wanted} as {key!r}")


def _refuse_values(texts: dict[str, str], lists: dict[str, tuple[str, ...]], place: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", texts["id"]):
        raise _wrong(place, "needs an id of lower case letters, digits and hyphens")
    if texts["phase"] not in ("build", "run"):
        raise _wrong(place, "needs one of build, run as phase")
    if texts["standalone"] not in ("", "error", "warning", "hint"):
        raise _wrong(place, "needs error, warning or hint as standalone")
    if bool(texts["standalone"]) != bool(lists["needles"]):
        raise _wrong(place, "needs both standalone and needles, or neither")
    if texts["remedy"].endswith(".") or texts["cause"].endswith("."):
        raise _wrong(place, "needs cause and remedy without the last full stop")


def _wrong(place: str, what: str) -> UsageError:
    return UsageError(f"{place} {what}.", "See docs/diagnostics.md for the fields of a signature.")
