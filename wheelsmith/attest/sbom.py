"""The bill of materials inside a wheel: CycloneDX 1.6 as JSON, in `.dist-info/sboms/` (PEP 770).

In: the wheel's name and its `Material`s. Out: bytes that depend on nothing else: no time, no random number, no tool
version, so that equal builds stay equal. Read back, an SBOM that is none is an `InvalidWheelError`.
Format: ECMA-424 (CycloneDX 1.6); package URLs: ECMA-427.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from wheelsmith.errors import InvalidWheelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Path below the `.dist-info` directory. auditwheel writes `auditwheel.cdx.json` beside it when it grafts libraries.
SBOM_FILE = "sboms/wheelsmith.cdx.json"

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:wheelsmith:sbom")
_SPDX: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    # https://spdx.org/licenses: words that only a text of this licence has
    ("Apache-2.0 WITH LLVM-exception", (b"apache license", b"llvm exceptions to the apache 2.0 license")),
    ("Apache-2.0", (b"apache license", b"version 2.0, january 2004")),
    ("MIT", (b"permission is hereby granted, free of charge, to any person obtaining a copy", b"the software is")),
    ("BSD-3-Clause", (b"redistribution and use in source and binary forms", b"endorse or promote products")),
    ("BSD-2-Clause", (b"redistribution and use in source and binary forms", b"binary form must reproduce")),
    ("BSL-1.0", (b"boost software license - version 1.0",)),
    ("MPL-2.0", (b"mozilla public license version 2.0",)),
    ("Zlib", (b"altered source versions must be plainly marked",)),
    ("ISC", (b"permission to use, copy, modify, and/or distribute this software for any purpose",)),
    ("CC0-1.0", (b"cc0 1.0 universal",)),
)
_FAMILY = {"Apache-2.0 WITH LLVM-exception": "Apache-2.0", "BSD-3-Clause": "BSD-2-Clause"}  # and what else then fits
_TYPES = {"source": "library", "requirement": "library", "toolkit": "framework", "compiler": "application"}


@dataclass(frozen=True, slots=True)
class LicenceFile:
    """A licence in the wheel: its path below `.dist-info/`, and its SPDX expression; empty: not recognised."""

    path: str
    spdx: str = ""


@dataclass(frozen=True, slots=True)
class Material:
    """One thing that a wheel was made from.

    Attributes:
        kind: `source` (a tree that was compiled), `requirement` (a package of the build environment), `toolkit`,
            or `compiler`.
        name: what people call it.
        version: version, commit, or empty.
        purl: package URL; empty where none says more than the name.
        sha256: of the file, hex. A lock that admits several files of one release gives several.
        commit: git commit, hex; empty if it is not from git.
        url: where it comes from; empty where that is a matter of configuration or of one machine.
        licences: the licence files that came with it.
    """

    kind: Literal["source", "requirement", "toolkit", "compiler"]
    name: str
    version: str
    purl: str = ""
    sha256: tuple[str, ...] = ()
    commit: str = ""
    url: str = ""
    licences: tuple[LicenceFile, ...] = ()


def spdx_id(text: bytes) -> str:
    """The SPDX expression of a licence's text; empty where none is recognised, or several are."""
    words = b" ".join(text.lower().split())
    fitting = [name for name, all_of in _SPDX if all(phrase in words for phrase in all_of)]
    fitting = [name for name in fitting if name not in {_FAMILY.get(other) for other in fitting}]
    return fitting[0] if len(fitting) == 1 else ""


def package_url(kind: str, name: str, version: str, **qualifiers: str) -> str:
    """A package URL; `name` may have a namespace before its last `/`. Empty qualifiers are left out."""
    path = "/".join(quote(part, safe="") for part in name.split("/"))
    query = "&".join(f"{key}={quote(value, safe=':/')}" for key, value in sorted(qualifiers.items()) if value)
    at = "@" + quote(version, safe=":") if version else ""
    return f"pkg:{kind}/{path}{at}{'?' if query else ''}{query}"


def make_sbom(name: str, version: str, materials: Sequence[Material]) -> bytes:
    """The SBOM of the wheel of `name` `version`.

    Build requirements and the compiler have the scope `excluded`: they made the wheel and are not part of it. The
    serial number is a digest of the content.
    """
    wheel = package_url("pypi", name, version)
    listed = sorted(materials, key=lambda m: (tuple(_TYPES).index(m.kind), m.name, m.version, m.purl))
    components = [_component(f"{item.kind}-{number}", item) for number, item in enumerate(listed, 1)]
    parts = [part["bom-ref"] for part in components if part["scope"] == "required"]
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "wheelsmith"}]},
            "component": {"type": "library", "bom-ref": "wheel", "name": name, "version": version, "purl": wheel},
        },
        "components": components,
        "dependencies": [{"ref": "wheel", "dependsOn": parts}, *({"ref": part} for part in parts)],
    }
    document["serialNumber"] = uuid.uuid5(_NAMESPACE, json.dumps(document, sort_keys=True)).urn
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _component(reference: str, item: Material) -> dict[str, object]:
    optional: dict[str, object] = {
        "version": item.version,
        "purl": item.purl,
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in sorted(set(item.sha256))],
        "externalReferences": [{"type": "vcs" if item.commit else "distribution", "url": item.url}] if item.url else [],
        "pedigree": {"commits": [{"uid": item.commit}]} if item.commit else {},
        "licenses": _licences(item),
        "properties": [
            {"name": "wheelsmith:kind", "value": item.kind},
            *({"name": "wheelsmith:licence-file", "value": file.path} for file in item.licences),
        ],
    }
    return {
        "type": _TYPES[item.kind],
        "bom-ref": reference,
        "name": item.name,
        "scope": "required" if item.kind in {"source", "toolkit"} else "excluded",
        **{key: value for key, value in optional.items() if value},
    }


def _licences(item: Material) -> Sequence[Mapping[str, object]]:
    """What the licence files of a component say (CycloneDX: `licenses`): one expression, or a list of identifiers and
    of the files that were not recognised."""
    known = sorted({file.spdx for file in item.licences if file.spdx})
    unknown = sorted(file.path for file in item.licences if not file.spdx)
    if len(known) == 1 and not unknown:
        return [{"expression": known[0]}]
    return [
        *({"license": {"id": name} if " " not in name else {"name": name}} for name in known),
        *({"license": {"name": f"as in {path}"}} for path in unknown),
    ]


def count_components(data: bytes, where: str) -> int:
    """How many components an SBOM lists. `where` names it in messages.

    Raises:
        InvalidWheelError: it is no CycloneDX document.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _no_sbom(where, "it is no JSON") from error
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise _no_sbom(where, "its bomFormat is not CycloneDX")
    components = document.get("components")
    if not isinstance(components, list) or not all(isinstance(c, dict) and c.get("name") for c in components):
        raise _no_sbom(where, "its components are no list of named things")
    return len(components)


def _no_sbom(where: str, why: str) -> InvalidWheelError:
    return InvalidWheelError(f"{where} is no CycloneDX SBOM: {why}.", "Build the wheel again, or get it again.")
