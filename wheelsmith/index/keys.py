"""Where things are in an index, as keys relative to its root: the same for a directory and for a bucket.

In: names. Out: keys with `/` between their parts. Nothing can fail.

    <file>.whl, or files/<sha256>/<file>.whl     the wheel, immutable (`Entry.path` says which)
    <wheel>.metadata, <wheel>.provenance         its METADATA (PEP 658), its attestations (PEP 740)
    <wheel>.provenance.json                      how it was built: our own statement (SLSA), signed or not
    records/projects/<project>.json              the truth about a project (`ProjectRecord`); the rest follows from it
    records/publications/<publication>.json      which files one publication named (`Publication`)
    records/history/<project>/<time>-….json      copies of records, left by every change but a plain publish
    records/catalog.json                         which projects and variants there are
    simple/…                                     pages of all files
    <variant>/simple/…                           pages of what fits one variant, such as cu128-torch2.9
    variants/simple/…                            pages of all files and variant wheels, if there are any of those
    pub/<publication>/simple/…                   pages of one publication, which never change
    .wheelsmith/…                                a directory's writers only; no need to copy or serve it

A *place* is what stands before `simple/`: nothing, a variant, or `pub/<publication>`.
"""

from __future__ import annotations

import re

PROJECTS = "records/projects/"
PUBLICATIONS = "records/publications/"
HISTORY = "records/history/"
CATALOG = "records/catalog.json"
FILES = "files/"
KINDS = ("html", "json")

#: First folders that no variant may be called, because the index or its server uses them.
RESERVED = frozenset(
    {"api", "assets", "files", "health", "index", "legacy", "metrics", "people"}
    | {"project", "projects", "pub", "records", "simple", "static", "upload", "upstream"}
)

_PLACE = rf"(?:pub/[^/]+/|(?!(?:{'|'.join(sorted(RESERVED))})/)[^/]+/)?"
_PAGE = re.compile(rf"{_PLACE}simple/(?:(?:[^/]+/)?index\.(?:html|json)|[^/]+/[^/]+-variants\.json)")


def project_record(project: str) -> str:
    """The key of a project's record."""
    return f"{PROJECTS}{project}.json"


def publication_record(name: str) -> str:
    """The key of a publication's record."""
    return f"{PUBLICATIONS}{name}.json"


def publication_place(name: str) -> str:
    """The place of a publication's pages."""
    return f"pub/{name}"


def page(place: str, project: str | None, kind: str) -> str:
    """The key of a project's page, or of the list of all (None); `kind` is `html` or `json`."""
    folder = f"{place}/simple" if place else "simple"
    return f"{folder}/index.{kind}" if project is None else f"{folder}/{project}/index.{kind}"


def variants_json(place: str, project: str, version: str) -> str:
    """The key of `variants.json` of one version, beside the project's page (drafts of PEP 825)."""
    name = f"{project.replace('-', '_')}-{version}-variants.json"
    return f"{page(place, project, 'json').rpartition('/')[0]}/{name}"


def is_page(key: str) -> bool:
    """Whether `key` has the form of a page."""
    return _PAGE.fullmatch(key) is not None


def base(place: str) -> str:
    """The way from a project's page to the root of the index, as in a relative URL."""
    return "../" * (2 + len(place.split("/")) if place else 2)


def metadata(path: str) -> str:
    """The key of the METADATA beside the wheel at `path`."""
    return f"{path}.metadata"


def provenance(path: str) -> str:
    """The key of the attestations beside the wheel at `path`."""
    return f"{path}.provenance"


def statement(path: str) -> str:
    """The key of the build statement beside the wheel at `path` (`wheelsmith.attest.provenance`)."""
    return f"{path}.provenance.json"


def beside(path: str) -> tuple[str, str, str]:
    """The keys of all that lies beside the wheel at `path`."""
    return metadata(path), provenance(path), statement(path)
