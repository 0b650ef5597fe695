"""A package's Cargo.toml on its own: what it inherits from its workspace written out, as publishing would.

In: manifests as tomllib reads them. Out: the text of one that needs no other. Nothing can fail: what is not of the
shape that cargo knows is left for cargo to refuse. Source: The Cargo Book, "Workspaces" and "The Manifest Format".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from wheelsmith.documents.table import JsonValue

Table = Mapping[str, JsonValue]

_DEPENDENCIES = ("dependencies", "build-dependencies")
#: What means nothing, or nothing good, in a package that others depend on.
_LEFT_OUT = {"workspace", "lints", "patch", "replace", "dev-dependencies", "profile"}


def table_of(value: JsonValue) -> dict[str, JsonValue]:
    """The value if it is a table; else an empty one."""
    return value if isinstance(value, dict) else {}


def inherits(manifest: Table) -> bool:
    """Whether anything in it is its workspace's."""
    return '"workspace": true' in json.dumps(manifest, default=str)


def standing_alone(manifest: Table, workspace: Table, repository: Mapping[str, str]) -> str:
    """The text of the manifest alone.

    Args:
        manifest: a package's.
        workspace: the [workspace] that it belongs to.
        repository: how a dependency names its repository: a neighbour there is that too, as in Cargo.lock.
    """

    def dependencies(value: JsonValue) -> JsonValue:
        return {name: _dependency(name, said, workspace, repository) for name, said in table_of(value).items()}

    def with_dependencies(table: Table) -> dict[str, JsonValue]:
        return {key: dependencies(value) if key in _DEPENDENCIES else value for key, value in table.items()}

    result = with_dependencies({key: value for key, value in manifest.items() if key not in _LEFT_OUT})
    shared = table_of(workspace.get("package"))
    said = {k: shared.get(k) if v == {"workspace": True} else v for k, v in table_of(manifest.get("package")).items()}
    result["package"] = {k: v for k, v in said.items() if v is not None and k != "workspace"}
    if "target" in manifest:
        result["target"] = {
            name: with_dependencies({k: v for k, v in table_of(table).items() if k not in _LEFT_OUT})
            for name, table in table_of(manifest["target"]).items()
        }
    return "".join(f"{toml_key(key)} = {toml_value(value)}\n" for key, value in result.items())


def _dependency(name: str, said: JsonValue, workspace: Table, repository: Mapping[str, str]) -> JsonValue:
    one = _versioned(said)
    if one.pop("workspace", False):
        base = _versioned(table_of(workspace.get("dependencies")).get(name))
        lists = (base.get("features"), one.get("features"))
        features = [item for listed in lists if isinstance(listed, list) for item in listed]
        one = {**base, **one, **({"features": features} if features else {})}
    if one.pop("path", None) is not None:
        one.update(repository)
    return one


def _versioned(said: JsonValue) -> dict[str, JsonValue]:
    return {"version": said} if isinstance(said, str) else dict(table_of(said))


def toml_key(name: str) -> str:
    """A key, bare where it can be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def toml_value(value: JsonValue) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(name)} = {toml_value(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value) if isinstance(value, (str, bool)) else str(value)
