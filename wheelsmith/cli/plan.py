"""`wheelsmith plan`: print exactly what `build` would do."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wheelsmith.cli.options import Commands, Parser, add_command, add_target, target_arguments

if TYPE_CHECKING:
    from wheelsmith import LibraryRule, Plan, Rewrite


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "plan", execute, "print everything that a build would do")
    add_target(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show

    made = wheelsmith.plan(options.requirement, **target_arguments(options))
    if options.json:
        show.as_json({**made.to_dict(), "digest": made.digest, "wheel_version": made.wheel_version})
    else:
        show.facts(_rows(made))
    return 0


def _rows(made: Plan) -> list[tuple[str, str]]:
    target = made.target
    served = "; ".join(f"{gpu.name} is {gpu.arch.sm}" for gpu in target.gpus)
    pins = made.to_dict()["pins"]
    sources = [f"{made.source}"] + [f"{tree.name}: {tree.source}" for tree in made.trees]
    sources += map(str, made.crates)
    rows = [
        ("wheel", f"{made.name} {made.wheel_version}"),
        ("recipe", made.recipe),
        ("digest", made.digest),
        ("Python", f"{target.python} ({target.environment} environment)"),
        ("CUDA", target.cuda),
        ("torch", target.torch or "not used"),
        ("archs", f"{', '.join(a.sm for a in target.archs.native)}{f'  ({served})' if served else ''}"),
        *(
            [("options", ", ".join(f"{name}={'on' if on else 'off'}" for name, on in made.options))]
            if made.options
            else []
        ),
        ("sources", "\n".join(sources)),
        ("patches", "\n".join(str(patch) for patch in made.patches) or "none"),
        ("requires", "\n".join(_pinned(text, pins) for text in made.requires)),
        *([("requirements", "\n".join(map(_rewritten, made.rewrites)))] if made.rewrites else []),
        ("settings", "\n".join(f"{key}={value}" for key, value in made.config_settings) or "none"),
        ("variables", "\n".join(f"{key}={value}" for key, value in made.environment)),
        ("steps", "\n".join(_steps(made))),
        ("checks", "\n".join(_checks(made))),
        ("expect", _expectation(made)),
    ]
    return rows + [("warning", text) for text in made.warnings]


def _pinned(requirement: str, pins: dict[str, str]) -> str:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pin = pins.get(canonicalize_name(Requirement(requirement).name))
    return f"{requirement}  (locked: {pin}, by hash)" if pin else requirement


def _rewritten(rewrite: Rewrite) -> str:
    becomes = f"becomes {rewrite.becomes}" if rewrite.becomes else "goes"
    return f"{rewrite.requirement} {becomes} in the wheel: {rewrite.why}"


def _steps(made: Plan) -> list[str]:
    """What a build of this plan does, and nothing that it does not."""
    import wheelsmith

    environment = "check the running interpreter's packages"
    if made.target.environment == "isolated":
        environment = "install the build requirements by hash into an environment of their own"
    toolkit = f"find CUDA {made.target.cuda}"
    if made.target.cuda in wheelsmith.toolkits(in_wheels=True):
        toolkit += ", or assemble it from NVIDIA's wheels"
    return [
        f"fetch {_count(1 + len(made.trees), 'source tree')}; verify commit or SHA-256",
        environment,
        toolkit,
        *([f"apply {_count(len(made.patches), 'patch', 'es')}, exactly"] if made.patches else []),
        "run the PEP 517 backend at the canonical path, without network",
        f"{'strip, ' if made.strip else ''}repair with auditwheel, add SBOM and licences, seal reproducibly, check,"
        " publish",
    ]


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"


def _checks(made: Plan) -> list[str]:
    archs = ", ".join(arch.sm for arch in made.target.archs.native)
    words = {
        "native": f"native code for {archs}",
        "jit": f"native code or PTX for {archs}",
        "none": "no GPU code",
    }
    listed = [_promise(promise, words) for promise in made.promises]
    return [
        *listed,
        f"every other library with GPU code: {words['native']}",
        f"version is {made.wheel_version}; no path of the build machine inside",
        *_limits(made),
        f"the true manylinux tag (auditwheel; not grafted: {', '.join(made.exclude) or 'nothing excluded'})",
        f"imports in the build environment, without a GPU: {', '.join(made.imports) or 'none named'}",
    ]


def _promise(promise: LibraryRule, words: dict[str, str]) -> str:
    says = words[promise.code]
    if promise.archs is not None:
        served = ", ".join(map(str, promise.archs))
        code = "no GPU code; it is" if promise.code == "none" else f"{promise.code} code"
        says = f"{code} for {served}" if served else "serves none of the archs"
    lacks = "".join(f"; may lack {', '.join(lack.kernels)}: {lack.why}" for lack in promise.lacks)
    return f"{promise.path}: {says}{' (if present)' if promise.optional else ''}{lacks}"


def _limits(made: Plan) -> Iterator[str]:
    limits = made.limits
    if limits.forbidden:
        yield f"no code for {', '.join(map(str, limits.forbidden))}"
    if limits.max_size is not None:
        yield f"at most {limits.max_size:,} bytes"
    if limits.needed is not None:
        yield f"needs no libraries but {', '.join(limits.needed)}"
    if limits.present:
        yield f"holds {', '.join(limits.present)}"
    if limits.manylinux is not None:
        yield f"runs on {limits.manylinux}"
    if made.target.torch is not None:
        if made.serves_torch:
            yield f"requires those torch versions of {made.serves_torch} that define every torch symbol that it needs"
            yield f"where it needs more than torch's stable interface, torch {made.target.torch} alone"
        else:
            yield f"requires the torch that it was compiled against ({made.target.torch}), and no other"
            yield "that torch defines every torch symbol that it needs"


def _expectation(made: Plan) -> str:
    expect = made.expect
    if not expect.cpu_minutes:
        return (
            f"not known: nobody has built it with this recipe; {expect.memory_gb:g} GB of memory for one compiler and"
            f" {expect.disk_gb:g} GB of disk are assumed"
        )
    return (
        f"about {expect.cpu_minutes:g} CPU minutes, {expect.memory_gb:g} GB of memory for one compiler,"
        f" {expect.disk_gb:g} GB of disk"
    )
