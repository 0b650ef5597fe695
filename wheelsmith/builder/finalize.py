"""From the backend's wheel to a proved one: strip, repair, seal, and check it against the plan's promises.

In: a plan, the raw wheel, and what it was made by. Out: the sealed wheel and the JSON-ready proof. Fails with
`ContractError`, `NotPortableError` and `InvalidWheelError`; the raw wheel stays as it is.
"""

from __future__ import annotations

import re
import zipfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.errors import ContractError
from wheelsmith.events import Listener, Note
from wheelsmith.fsutil import read_plain, remove_tree
from wheelsmith.planning.model import CANONICAL, EPOCH, NIGHTLY, Plan

if TYPE_CHECKING:
    from wheelsmith.builder.tools import Tools
    from wheelsmith.compat.torch_abi import TorchExports
    from wheelsmith.documents.builds import ProofFacts, StripFacts, TorchRangeFacts
    from wheelsmith.store import Store
    from wheelsmith.toolchain.environment import BuildEnvironment
    from wheelsmith.wheel.report import WheelReport


def prove(
    plan: Plan,
    store: Store,
    raw: Path,
    tools: Tools,
    extra: dict[str, bytes],
    listener: Listener,
) -> tuple[Path, ProofFacts]:
    """Strip, repair, seal and check the backend's wheel; the result lies beside it."""
    from wheelsmith.builder.imports import check_imports
    from wheelsmith.compat.contract import check
    from wheelsmith.compat.verdict import enforce, enforce_present
    from wheelsmith.wheel.inspect import inspect_path
    from wheelsmith.wheel.paths import check_paths
    from wheelsmith.wheel.repair import repair
    from wheelsmith.wheel.requirements import RequirementEdits
    from wheelsmith.wheel.seal import seal

    root = raw.parent.parent
    work = root / "proof"
    remove_tree(work)
    (work / "repaired").mkdir(parents=True)
    slimmer: StripFacts | None = None
    if tools.strip is not None:
        from wheelsmith.wheel.strip import strip_wheel

        stripped = strip_wheel(raw, work, tool=tools.strip, epoch=EPOCH)
        raw = stripped.wheel
        slimmer = {"bytes_before": stripped.before, "bytes_after": stripped.after}
        listener(Note("proof", f"stripped: {stripped.before:,} bytes of libraries are now {stripped.after:,}"))
    repaired = repair(
        raw,
        work / "repaired",
        exclude=plan.exclude,
        library_dirs=(tools.toolkit.root / "lib64",),
        epoch=EPOCH,
        listener=listener,
    )
    pins = {"torch": _torch_version(plan, tools.environment)} if plan.target.torch else {}
    served = _served(plan, repaired, pins["torch"], listener) if pins and plan.serves_torch else None
    pins |= {} if served is None else {"torch": served["requires"]}
    requires = RequirementEdits(pins, tuple((item.requirement, item.becomes) for item in plan.rewrites))
    seal_it = partial(seal, repaired, work, local_version=plan.local_version, epoch=EPOCH, extra=extra)
    sealed = seal_it(requires=requires)
    report = inspect_path(sealed)
    if _lacks_torch(plan, report):
        listener(Note("proof", f"its metadata say nothing of torch, which it links: it now requires {pins['torch']}"))
        sealed = seal_it(requires=replace(requires, missing=("torch",)))
        report = inspect_path(sealed)
    if report.version != plan.wheel_version:
        raise ContractError(
            f"The wheel's version is {report.version}, not {plan.wheel_version}.",
            "Tell the project its version through the recipe's [build.env].",
        )
    exported = _torch_exports(plan, tools.environment)
    enforce(verdict := check(report, plan.target.archs, plan.promises, plan.limits, exported, plan.target.cuda))
    with zipfile.ZipFile(sealed) as archive:
        enforce_present(archive.namelist(), plan.limits)
    own = {str(store.root), str(Path.home()), str(Path.cwd())}
    forbidden = sorted(path for path in own if not f"{CANONICAL}/".startswith(f"{path.rstrip('/')}/"))
    leaks = [name for name in check_paths(sealed, forbidden) if not _is_upstreams(sealed, name, root / "src")]
    if leaks and tools.isolation.canonical:
        raise ContractError(
            f"Paths of this machine are in the wheel: {', '.join(leaks)}.",
            "Find who writes them (debug information, RPATH, generated files) and patch it in the recipe.",
        )
    if leaks:
        listener(Note("proof", f"no canonical path here: machine paths are in {', '.join(leaks)}", warning=True))
    proof: ProofFacts = {
        "report": report.to_dict(),
        "verdict": verdict.to_dict(),
        "drivers": _drivers(report, plan),
        "imports": check_imports(plan, sealed, root, tools),
    }
    if slimmer is not None:
        proof["stripped"] = slimmer
    if served is not None:
        proof["torch"] = served
    return sealed, proof


def _lacks_torch(plan: Plan, report: WheelReport) -> bool:
    """Whether it links torch's libraries and does not require torch: installed alone, it could not be imported."""
    linked = any(name.startswith(("libtorch", "libc10")) for item in report.libraries for name in item.needed)
    required = any(re.match(r"torch(?![\w.-])", text) for text in report.requires_dist)
    return plan.target.torch is not None and linked and not required


def _served(plan: Plan, wheel: Path, built: str, listener: Listener) -> TorchRangeFacts:
    """The torch versions that the wheel is to require, and how that is known."""
    from wheelsmith.compat.torch_range import torch_range
    from wheelsmith.wheel.inspect import inspect_path

    found = torch_range(inspect_path(wheel), built, plan.serves_torch)
    listener(Note("proof", f"requires torch {found.requires}: {found.why}"))
    return {"requires": found.requires, "proved": list(found.proved), "why": found.why}


def _drivers(report: WheelReport, plan: Plan) -> dict[str, str | None]:
    """Since which driver the wheel runs on each arch, as the judge says."""
    from wheelsmith.compat.choices import choices_of
    from wheelsmith.compat.judge import oldest_driver
    from wheelsmith.compat.summarise import summarise

    summary = summarise(report)
    archs = plan.target.archs.native
    return {str(arch): oldest_driver(summary, (arch.sm, arch.base), choices_of(plan.name)) for arch in archs}


def _is_upstreams(wheel: Path, name: str, source: Path) -> bool:
    """Whether a member of the wheel is a file of the source as it came, whatever it says: `/root` in somebody's
    JavaScript tells nothing about this machine. What the build wrote does not have the source's time."""
    top = source.resolve()
    original = (top / name).resolve()
    with zipfile.ZipFile(wheel) as archive, suppress(OSError, ValueError):  # a link, a pipe, a name that is too long
        if original.is_relative_to(top) and original.stat().st_mtime == EPOCH:
            data = archive.read(name)
            return data == read_plain(original, len(data) + 1)
    return False


def _torch_version(plan: Plan, environment: BuildEnvironment) -> str:
    """The torch that the wheel is to require: the one it was compiled against."""
    assert plan.target.torch is not None, "asked for only then"  # noqa: S101
    return dict(environment.packages)["torch"] if plan.target.torch == NIGHTLY else plan.target.torch


def _torch_exports(plan: Plan, environment: BuildEnvironment) -> TorchExports | None:
    """What the torch that the wheel was built against defines; None: it was built without one."""
    from wheelsmith.compat.torch_abi import exports_of_directory, shipped_exports

    version = dict(environment.packages).get("torch")
    if plan.target.torch is None or version is None:
        return None
    installed = environment.prefix / "lib" / f"python{plan.target.python}" / "site-packages" / "torch"
    return shipped_exports(version) or exports_of_directory(installed, version)
