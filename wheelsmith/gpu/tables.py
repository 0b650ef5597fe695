"""The tables of facts: ours beside this file, and the user's own over them.

In: `gpus`, `toolkits`, `drivers` or `torch`. Out: the values of that table. The user's are TOML files of the same names
in the directory `WHEELSMITH_FACTS`, else in `facts` of the user's configuration directory. They hold only what is added
or changed: tables are merged, lists are continued, other values are replaced. Fails with `FactsError`, which names file
and line. Ours are checked by the tests; the preflight of images, which has no msgspec, carries
the user's as they were checked when it was made (`own_tables`).
"""

from __future__ import annotations

import os
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from wheelsmith.errors import FactsError

NAMES = ("gpus", "toolkits", "drivers", "torch")
_REMEDY = "CONTRIBUTING says what each table holds; wheelsmith's own lie in wheelsmith/gpu."


def facts_directory() -> Path | None:
    """Where the user's own tables are; None: there are none.

    Raises:
        FactsError: `WHEELSMITH_FACTS` names no directory.
    """
    if named := os.environ.get("WHEELSMITH_FACTS"):
        if not Path(named).is_dir():
            raise FactsError(f"WHEELSMITH_FACTS names {named}, which is no directory.", "Correct or unset it.")
        return Path(named)
    try:
        from platformdirs import user_config_path
    except ImportError:  # the preflight of an image
        return None
    usual = user_config_path("wheelsmith") / "facts"
    return usual if usual.is_dir() else None


def own_tables() -> dict[str, bytes]:
    """The user's files of facts by their names, after they were checked.

    Raises:
        FactsError: as `table`.
    """
    directory = facts_directory()
    if directory is None:
        return {}
    for name in NAMES:
        table(name)
    return {f"{name}.toml": path.read_bytes() for name in NAMES if (path := directory / f"{name}.toml").exists()}


def table(name: str) -> dict[str, Any]:
    """The table `name`: ours with the user's over it, read once.

    Raises:
        FactsError: the user's cannot be read, or has an unknown key, a bad value or another schema version.
    """
    return _table(name, facts_key())


def facts_key() -> tuple[str | None, ...]:
    """What decides which tables count: results made of them are kept under it."""
    return tuple(os.environ.get(name) for name in ("WHEELSMITH_FACTS", "XDG_CONFIG_HOME", "HOME"))


@cache
def _table(name: str, _key: tuple[str | None, ...]) -> dict[str, Any]:
    ours = tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text("utf-8"))
    carried = files(__package__).joinpath("own")
    if carried.is_dir():  # the preflight of an image: what counts is what counted when it was made
        file = carried.joinpath(f"{name}.toml")
        return dict(_merge(ours, tomllib.loads(file.read_text("utf-8")))) if file.is_file() else ours
    directory = facts_directory()
    if directory is None:
        return ours
    for path in sorted(directory.glob("*.toml")):
        if path.stem not in NAMES:
            raise FactsError(f"{path} is no table of facts.", f"Known are {', '.join(f'{n}.toml' for n in NAMES)}.")
    path = directory / f"{name}.toml"
    if not path.exists():
        return ours
    from wheelsmith.gpu.schema import TABLES
    from wheelsmith.tomlfile import read_toml

    _, text = read_toml(path, TABLES[name], FactsError, _REMEDY)
    merged: dict[str, Any] = _merge(ours, tomllib.loads(text))
    return merged


def _merge(ours: Any, theirs: Any) -> Any:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours | {key: _merge(ours[key], value) if key in ours else value for key, value in theirs.items()}
    if isinstance(ours, list) and isinstance(theirs, list):
        return ours + [item for item in theirs if item not in ours]
    return theirs
