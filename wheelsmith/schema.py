"""Values from outside held against frozen types: one way to read them, to say what is wrong, and to publish the schema.

In: TOML or JSON values and a `Table` (a msgspec Struct that knows no key but its own). Out: the table; or every place
that does not fit it, with a phrase; or its JSON Schema. Fails with `msgspec.ValidationError`. What a pattern cannot say
of a text is a `Text`, which checks itself when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Literal, Protocol, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, ValidationError

Path = tuple[str | int, ...]
T = TypeVar("T")

#: What msgspec's messages call things, in the words of people who write TOML.
_WORDS = {
    "object": "table",
    "array": "list",
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "true or false",
}


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all tables that people write have in common."""


class FromText(Protocol):
    """A type of its own that is written as text."""

    @classmethod
    def from_text(cls, text: str) -> FromText:
        """Read it; ValueError says what is wrong with the text."""


class Text(str):
    """A text with a rule: subclasses say which in `checked`."""

    __slots__ = ()

    @classmethod
    def from_text(cls, text: str) -> Text:
        """The text as `checked` gives it."""
        return cls(cls.checked(text))

    @staticmethod
    def checked(text: str) -> str:
        """The text, in its normal form; ValueError says what is wrong with it."""
        raise NotImplementedError


def matching(pattern: str, description: str) -> Meta:
    """Of a text: it matches `pattern`, which has no `|` at its top level, from end to end."""
    # Python's `$` would also match before a last line feed.
    return Meta(pattern=rf"^{pattern}\Z", description=description)


def read(kind: type[T], value: object) -> T:
    """`value` as a `kind`.

    Raises:
        ValidationError: it is none; `problems` says where.
    """
    return msgspec.convert(value, kind, dec_hook=_from_text)


def read_json(kind: type[T], data: bytes | str) -> T:
    """JSON as a `kind`.

    Raises:
        ValidationError: it is none, or no JSON.
    """
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_from_text)
    except ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValidationError(f"no JSON ({error})") from error


def told(error: ValidationError) -> str:
    """The place of a problem in JSON and what is wrong there: `subject.0.name: Expected str, got int`."""
    match = re.fullmatch(r"(.*?)(?: - at (?:`key` in )?`\$(.*)`)?", str(error), re.DOTALL)
    phrase, place = (match[1], match[2] or "") if match else (str(error), "")
    place = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", place).lstrip(".")
    if missing := re.fullmatch("Object missing required field `(.*)`", phrase):
        place, phrase = f"{place}.{missing[1]}".lstrip("."), "the key is missing"
    return f"{place or 'it'}: {phrase.replace('`', '')}"


def _from_text(kind: type[FromText], value: object) -> FromText:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")
    return kind.from_text(value)


class Unknown(str):
    """A problem that is a key nobody knows."""

    __slots__ = ()


class Missing(str):
    """A problem that is a key which is not there."""

    __slots__ = ()


def problems(kind: object, value: object) -> list[tuple[Path, str]]:
    """Every place where `value` is not of a `kind`, with a phrase; of a place and what is inside it, what is inside."""
    return list(_problems(kind, value, ()))


def _problems(kind: object, value: object, at: Path) -> Iterator[tuple[Path, str]]:
    inner = [found for key, part, item in _parts(kind, value) for found in _problems(part, item, (*at, key))]
    table = table_in(kind)
    if table is not None and isinstance(value, dict) and not _is_collection(kind):
        fields = _fields(table)
        if table.__struct_config__.forbid_unknown_fields:
            inner += [((*at, key), Unknown("unknown key")) for key in value if key not in fields]
        inner += [
            ((*at, name), Missing("missing key")) for name, it in fields.items() if it.required and name not in value
        ]
    if inner:
        yield from inner
        return
    try:
        read(cast("type[object]", kind), value)
    except ValidationError as error:
        yield at, _phrase(kind, value, str(error))


def _parts(kind: object, value: object) -> Iterator[tuple[str | int, object, object]]:
    """What `value` is made of: key, type and value of each."""
    kind = _plain(kind)
    if get_origin(kind) is dict and isinstance(value, dict):
        keys, values = get_args(kind)
        for key, item in value.items():
            yield key, _key(keys), key
            yield key, values, item
    elif get_origin(kind) is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            yield index, get_args(kind)[0], item
    elif isinstance(value, dict) and not _is_collection(kind) and (table := table_in(kind)) is not None:
        fields = _fields(table)
        for key, item in value.items():
            if key in fields:
                yield key, fields[key].type, item


def _key(kind: object) -> object:
    """The type of keys: `Annotated[str, VersionText]` means the second, which msgspec does not know for keys."""
    notes = get_args(kind)[1:]
    return next((note for note in notes if isinstance(note, type) and issubclass(note, Text)), kind)


def _phrase(kind: object, value: object, message: str) -> str:
    """What is wrong, in words; msgspec's own place is left out, as `problems` has a better one."""
    if "matching regex" in message:
        notes = [item.description for item in getattr(kind, "__metadata__", ()) if isinstance(item, Meta)]
        rule = message.partition("matching regex ")[2].partition(" - at ")[0].replace(r"\\Z", "$")
        return f"{value!r} does not match the pattern {rule}" + (f" ({notes[-1]})" if notes and notes[-1] else "")
    if message.startswith("Invalid enum value") and get_origin(plain := _plain(kind)) is Literal:
        known = [repr(item) for item in get_args(plain)]
        return f"expected {' or '.join(filter(None, (', '.join(known[:-1]), known[-1])))}, not {value!r}"
    text = message.rpartition(" - at `")[0] or message
    if not text.startswith("Expected `"):
        return text
    text = re.sub(r"`(\w+)`", lambda match: _WORDS.get(match[1], match[1]), text)
    return text[0].lower() + text[1:]


@cache
def _fields(table: type[Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {item.encode_name: item for item in msgspec.structs.fields(table)}


def _plain(kind: object) -> object:
    """A type without its notes and without `| None`."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    some = [item for item in get_args(kind) if item is not type(None)]
    return _plain(some[0]) if len(some) == 1 and type(None) in get_args(kind) else kind


def _is_collection(kind: object) -> bool:
    return get_origin(_plain(kind)) in {tuple, dict}


def table_in(kind: object) -> type[Struct] | None:
    """The table inside `tuple[Table, ...]`, `dict[str, Table]` or `Table | None`."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind
    for argument in get_args(kind):
        if (found := table_in(argument)) is not None:
            return found
    return None


def keys_at(table: type[Struct], location: Path) -> list[str]:
    """The valid keys of the table at a place."""
    is_element = False  # this part of the location is an index or a free key, not a field
    for part in location:
        if is_element:
            is_element = False
            continue
        field = _fields(table).get(str(part))
        inner = table_in(field.type) if field is not None else None
        if field is None or inner is None:
            return []
        table = inner
        is_element = _is_collection(field.type)
    return list(_fields(table))


def json_schema(kind: type[Struct], title: str) -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of a table."""
    _, made = msgspec.json.schema_components((kind,), schema_hook=_text_schema, ref_template="#/$defs/{name}")
    # JSON Schema's patterns have no `\Z`; their `$` means the same.
    parts: dict[str, dict[str, object]] = json.loads(json.dumps(made).replace(r'\\Z"', '$"'))
    top = parts.pop(kind.__name__)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top, "title": title, "$defs": parts}


def _text_schema(kind: type) -> dict[str, object]:
    return {"type": "string", **({"description": kind.__doc__} if kind.__doc__ else {})}
