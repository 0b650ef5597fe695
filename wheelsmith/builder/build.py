"""The stages of a build in order: sources, toolchain, compile, proof, index. Called by the API only.

In: a plan and where to put things. Out: `BuildResult`. Each stage leaves its result in the store before the next one
starts; a second run continues there, and a finished plan is only looked up.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from wheelsmith.builder.causes import naming_fallbacks, naming_gaps
from wheelsmith.builder.destination import check_name, check_writable
from wheelsmith.builder.finalize import prove
from wheelsmith.builder.licences import licences, to_add
from wheelsmith.builder.model import RECORD_VERSION, BuildResult, Made, Settings
from wheelsmith.builder.page import write_page
from wheelsmith.builder.signing_key import refuse_key_in_reach
from wheelsmith.builder.tools import Tools
from wheelsmith.compile.preflight import preflight
from wheelsmith.compile.run import FAILED, PAGE, Effort, Supplies, compile_wheel
from wheelsmith.compile.sandbox import isolation_here
from wheelsmith.compile.timeline import SUFFIX
from wheelsmith.compile.versions import try_host_compiler
from wheelsmith.config import IMAGE_VARIABLE
from wheelsmith.contract import CHOICES_FILE, choices_to_bytes
from wheelsmith.errors import IsolationError, UsageError
from wheelsmith.events import Listener, Note, StageDone, StageStarted
from wheelsmith.fsutil import remove_tree, sha256_of
from wheelsmith.index.location import local_directory
from wheelsmith.index.publish import publish
from wheelsmith.planning.model import CANONICAL, Plan
from wheelsmith.recipe.loader import shipped_directory
from wheelsmith.store import Store, write_atomic
from wheelsmith.toolchain.ccache.cache import CacheSettings, cache_use, check_setting, open_cache
from wheelsmith.toolchain.ccache.entries import load_key, scope_of
from wheelsmith.toolchain.cuda import CudaToolkit, provide_toolkit
from wheelsmith.toolchain.environment import BuildEnvironment, provide_environment
from wheelsmith.toolchain.host import HostCompiler, find_host_compiler
from wheelsmith.toolchain.rust import rust_for
from wheelsmith.toolchain.uv import Uv

if TYPE_CHECKING:
    from wheelsmith.documents.builds import BuildRecord, CacheFacts, ToolchainFacts
    from wheelsmith.sources.model import Fetched


def run_fetch(plan: Plan, store: Store, settings: Settings, listener: Listener) -> int:
    """Bring in everything that a build of the plan needs from outside; bytes of sources fetched."""
    store.collect()
    fetched = provide_sources(plan, store, settings, listener)
    _toolchain(plan, store, settings, listener)
    return sum(item.bytes_fetched for item in fetched)


def run_build(plan: Plan, store: Store, settings: Settings, listener: Listener) -> BuildResult:
    """Build, prove and publish a plan, or only publish what the store already has."""
    started = time.monotonic()
    if settings.sign is not None and not settings.publish:
        remedy = "Leave one of --sign and --no-publish away."
        raise UsageError("A provenance is signed when its wheel is published.", remedy)
    if settings.sign is not None and local_directory(settings.index) is None:
        raise UsageError(
            f"A provenance cannot be signed on its way into {settings.index}.",
            "Build into a directory with --sign; `wheelsmith publish` then takes wheel and signed provenance there.",
        )
    for warning in plan.warnings:
        listener(Note("plan", warning, warning=True))
    if settings.publish:
        check_writable(settings.index)
    tools = prepare(plan, store, settings, listener)
    key = tools.key

    finished = store.place("wheels", key)
    reused, fetched = (finished / "build.json").is_file(), 0
    if not reused:
        if settings.publish:
            check_name(settings.index, plan, key)
        with store.lock(f"build-{key}"):
            made = make_wheel(plan, key, tools, store, settings, listener)
            fetched = made.bytes_fetched
            _keep(store, key, made)
            write_page(store.place("logs", f"{key}{SUFFIX}"), store.root / "wheels")
    record = json.loads((finished / "build.json").read_text("utf-8"))
    wheel = finished / record["wheel"]["filename"]
    published = publish([wheel], settings.index, listener=listener)[0] if settings.publish else None
    directory = local_directory(settings.index)
    if directory is not None and published is not None:
        wheel = directory / published.filename
        _publish_provenance(finished / record["provenance"], directory, settings.sign)
    log = store.place("logs", f"{key}.log")
    return BuildResult(
        plan=plan,
        wheel=wheel,
        published=published,
        record=record,
        log=log if log.is_file() else None,
        page=page if (page := log.with_suffix(PAGE)).is_file() else None,
        bytes_fetched=fetched,
        reused=reused,
        seconds=time.monotonic() - started,
    )


def prepare(plan: Plan, store: Store, settings: Settings, listener: Listener) -> Tools:
    """Find or make everything that compiles, and refuse a machine that cannot, before anything is compiled."""
    isolation = isolation_here()
    if settings.require_isolation and not isolation.confined:
        raise IsolationError(
            f"A build cannot be confined here, and that is required: {isolation.reason}.",
            "Run wheelsmith as root, allow unprivileged user namespaces (docs/security.md says how), or in a container"
            " give it the capabilities SYS_ADMIN and NET_ADMIN; or leave --require-isolation away.",
        )
    store.collect()
    _refuse_unfit_machine(plan, store, settings, listener)
    if settings.cached:
        check_setting(settings.cache)
    if settings.sign is not None:
        from wheelsmith.attest.signing import load_private_key

        load_private_key(settings.sign)
    strip = None
    if plan.strip:
        from wheelsmith.wheel.strip import find_strip

        strip = find_strip()
    environment, toolkit = _toolchain(plan, store, settings, listener)
    compiler, _ = try_host_compiler(plan, find_host_compiler(settings.host_compiler), toolkit, store.root)
    rust = rust_for(plan)
    key = _build_key(
        plan, environment, toolkit, compiler, [strip.version if strip else "", rust.version if rust else ""]
    )
    tools = Tools(environment, toolkit, compiler, strip, isolation, key, rust)
    if settings.sign is not None:
        refuse_key_in_reach(settings.sign, tools, store)
    return tools


def make_wheel(plan: Plan, name: str, tools: Tools, store: Store, settings: Settings, listener: Listener) -> Made:
    """Fetch, compile and prove in the work directory `name`, which stays until the caller removes it."""
    from wheelsmith.builder.dependencies import materials_of, statement_of
    from wheelsmith.sources.crates import crates_of

    started = _now()
    fetched = provide_sources(plan, store, settings, listener)
    log = store.place("logs", f"{name}.log")
    if not tools.isolation.confined:
        text = f"this build is not confined ({tools.isolation.reason}): {tools.isolation.unconfined}"
        listener(Note("compile", text, warning=True))
    with _stage("compile", listener, f"{plan.name} {plan.version}") as done, naming_gaps(plan, log):
        supplies, effort = equip(plan, tools, store, settings, listener)
        compiled = compile_wheel(plan, name, store, supplies=supplies, effort=effort, listener=listener)
        done(f"backend ran {compiled.seconds:.1f} s; {compiled.summary}")
    texts = licences(plan, compiled.wheel.parent.parent, compiled.wheel)
    materials = materials_of(plan, tools, crates_of(plan, store), texts)
    with _stage("proof", listener) as done:
        from wheelsmith.attest.provenance import SUFFIX
        from wheelsmith.attest.sbom import SBOM_FILE, make_sbom

        extra = {SBOM_FILE: make_sbom(plan.name, plan.wheel_version, materials), **to_add(texts)}
        if plan.limits.choice:
            extra[CHOICES_FILE] = choices_to_bytes(plan.limits.choice)
        with naming_fallbacks(plan, compiled):
            wheel, proof = prove(plan, store, compiled.wheel, tools, extra, listener)
        done(f"{wheel.name}, {wheel.stat().st_size:,} bytes")
    use = _cache_facts(plan, store.place("work", name) / "cache", settings) if settings.cached else None
    record: BuildRecord = {
        "schema_version": RECORD_VERSION,
        "key": tools.key,
        "plan_digest": plan.digest,
        "plan": plan.to_dict(),
        "sources": [{"what": i.what, "digest": i.digest, "served_by": i.served_by or None} for i in fetched],
        "wheel": {"filename": wheel.name, "sha256": sha256_of(wheel), "size": wheel.stat().st_size},
        "toolchain": _toolchain_facts(tools),
        "isolation": tools.isolation.to_dict(),
        "compile": {
            "seconds": round(compiled.seconds, 3),
            "jobs": compiled.jobs,
            "resumed": compiled.resumed,
            "summary": compiled.summary.to_dict(),
            "cache": use,
        },
        "provenance": f"{wheel.name}{SUFFIX}",
        **proof,
    }
    statement = statement_of(plan, tools.environment.lock, materials, record, started=started, finished=_now())
    return Made(wheel, record, statement, sum(item.bytes_fetched for item in fetched))


def equip(
    plan: Plan, tools: Tools, store: Store, settings: Settings, listener: Listener, *, names_once: bool = False
) -> tuple[Supplies, Effort]:
    """What the backend runs with, and what it may use. The sources must be in the store. `names_once`: see
    `CacheSettings`."""
    open_chain = partial(
        open_cache,
        settings=CacheSettings(
            store.root,
            scope_of(plan),
            settings.cache,
            settings.cache_readonly,
            names_once=names_once,
            last=settings.last,
        ),
        toolkit=tools.toolkit,
        packages=f"{tools.environment.digest} {plan.digest}",  # what else #include could find
        listener=listener,
    )
    supplies = Supplies(
        tools.environment,
        tools.toolkit,
        tools.isolation,
        lambda directory: _lay_out(plan, store, directory),
        tools.compiler,
        tools.rust,
    )
    effort = Effort(
        settings.jobs,
        settings.memory,
        open_chain if settings.cached else None,
        shipped_directory() / "models" / f"{plan.name}.json",
        settings.until,
        claims=settings.claims,
    )
    return supplies, effort


def _cache_facts(plan: Plan, place: Path, settings: Settings) -> CacheFacts:
    facts = asdict(cache_use(place)) | {"scope": scope_of(plan).digest, "readonly": settings.cache_readonly}
    return cast("CacheFacts", facts | {"sealed_with_key": load_key() is not None})


def _lay_out(plan: Plan, store: Store, directory: Path) -> None:
    """The sources, and the git that fetches nothing."""
    from wheelsmith.sources.git_shim import TOOLS, place_guard
    from wheelsmith.sources.stage import lay_out

    lay_out(plan, store, directory)
    place_guard(directory / Path(TOOLS).relative_to(CANONICAL))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def provide_sources(plan: Plan, store: Store, settings: Settings, listener: Listener) -> tuple[Fetched, ...]:
    """The plan's sources, verified, in the store."""
    # Here and in the proof, imports wait until they are needed: a finished plan is looked up without them.
    from wheelsmith.sources.fetch import fetch

    with _stage("sources", listener) as done:
        fetched = fetch(
            plan,
            store,
            offline=settings.offline,
            index_url=settings.index_url,
            mirrors=settings.mirrors,
            listener=listener,
        )
        size = sum(item.bytes_fetched for item in fetched)
        done(f"{len(fetched)} verified, {size:,} bytes fetched", reused=all(item.reused for item in fetched))
    return fetched


def _refuse_unfit_machine(plan: Plan, store: Store, settings: Settings, listener: Listener) -> None:
    for item in preflight(plan, store.root, settings.toolkit, settings.host_compiler):
        if item.error is not None and item.stops:
            raise item.error
        if item.error is not None:
            listener(Note("plan", item.error.cause, warning=True))


def _toolchain(
    plan: Plan, store: Store, settings: Settings, listener: Listener
) -> tuple[BuildEnvironment, CudaToolkit]:
    uv = Uv(settings.offline, settings.index_url, listener, settings.torch_index)
    with _stage("toolchain", listener) as done:
        toolkit = provide_toolkit(
            plan.target.cuda, math=plan.needs_cuda_libraries, choice=settings.toolkit, store=store, uv=uv
        )
        environment = provide_environment(plan, store, uv)
        done(
            f"Python {environment.interpreter.version}, CUDA {toolkit.release} ({toolkit.origin})",
            reused=environment.reused,
        )
    return environment, toolkit


def _build_key(
    plan: Plan, environment: BuildEnvironment, toolkit: CudaToolkit, compiler: HostCompiler, more: Sequence[str]
) -> str:
    """What the work directory and the wheel depend on: the plan, and the tools that a machine brings itself.

    That is also where they are, and in which image: what CMake has found out in one holds in no other.
    """
    parts = [plan.digest, environment.digest, toolkit.release, toolkit.identity, os.environ.get(IMAGE_VARIABLE, "")]
    parts += [compiler.facts, compiler.path if compiler.asked else "", platform.libc_ver()[1], *more]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _toolchain_facts(tools: Tools) -> ToolchainFacts:
    facts: ToolchainFacts = {
        "python": tools.environment.interpreter.version,
        "packages": dict(tools.environment.packages),
        "cuda": tools.toolkit.release,
        "cuda_origin": tools.toolkit.origin,
        "host_compiler": tools.compiler.facts,
        "libc": " ".join(platform.libc_ver()),
    }
    if tools.environment.served_by:
        facts["packages_served_by"] = tools.environment.served_by
    if tools.rust:
        facts["rust"] = tools.rust.version
    if tools.strip:
        facts["strip"] = tools.strip.version
    return facts


def _keep(store: Store, key: str, made: Made) -> None:
    """Put the finished wheel into the store; then the work directory has served."""

    def make(directory: Path) -> None:
        shutil.move(made.wheel, directory / made.wheel.name)
        write_atomic(directory / made.record["provenance"], made.statement)
        write_atomic(directory / "build.json", json.dumps(made.record, indent=1, sort_keys=True).encode())

    store.make_directory("wheels", key, make)
    for name in (key, f"{key}{FAILED}"):
        remove_tree(store.place("work", name))


def _publish_provenance(statement: Path, index: Path, key: Path | None) -> None:
    """Put the provenance beside the published wheel, signed if there is a key; what is there is else left alone."""
    target = index / statement.name
    if key is not None:
        from wheelsmith.attest.signing import load_private_key, sign

        write_atomic(target, sign(statement.read_bytes(), load_private_key(key)))
    elif not target.is_file():
        write_atomic(target, statement.read_bytes())


class _Done:
    """Collects what a stage wants to say at its end."""

    def __init__(self) -> None:
        self.detail, self.reused = "", False

    def __call__(self, detail: str, *, reused: bool = False) -> None:
        self.detail, self.reused = detail, reused


@contextmanager
def _stage(name: str, listener: Listener, detail: str = "") -> Iterator[_Done]:
    listener(StageStarted(name, detail))
    started, done = time.monotonic(), _Done()
    yield done
    listener(StageDone(name, done.detail, time.monotonic() - started, done.reused))
