"""`wheelsmith build`: compile, prove, publish."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.cli.matrix import add_cells, listing, tell_ci
from wheelsmith.cli.options import (
    Commands,
    Parser,
    add_command,
    add_index,
    add_isolation,
    add_jobs,
    add_network,
    add_store,
    add_target,
    location,
    target_arguments,
)
from wheelsmith.errors import UsageError

if TYPE_CHECKING:
    from wheelsmith import BuildOptions, BuildResult


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(commands, "build", execute, "compile, prove and publish a package")
    add_target(parser, optional=True)
    group = parser.add_argument_group("many builds")
    group.add_argument(
        "--matrix", metavar="FILE", help="build every cell of a matrix instead of one package (docs/matrix.md)"
    )
    add_cells(group)
    group.add_argument("--skip-refused", action="store_true", help="build the others where cells cannot be built")
    group.add_argument(
        "--report", metavar="DIR", help="write matrix.json, summary.md, junit.xml, outputs.env and the logs there"
    )
    add_index(parser)
    add_store(parser)
    add_network(parser)
    parser.add_argument("--offline", action="store_true", help="fetch nothing")
    add_isolation(parser)
    add_jobs(parser)
    parser.add_argument("--memory", metavar="SIZE", help="memory for all of them, as in 12GB (default: what is free)")
    parser.add_argument(
        "--cache",
        metavar="DIR|URL",
        type=location,
        help="compile cache to share: a directory, s3://…, redis://… (with the key in WHEELSMITH_CACHE_KEY: a wheel's"
        " code is what such machines put there; docs/security.md)",
    )
    parser.add_argument("--cache-readonly", action="store_true", help="take from the cache, and put nothing into it")
    parser.add_argument("--no-cache", action="store_true", help="compile everything, whatever was compiled before")
    parser.add_argument(
        "--stop-after",
        type=float,
        metavar="MIN",
        help="start no compiler after MIN minutes, let those that run end, and exit with 130: the next run continues",
    )
    parser.add_argument(
        "--host-compiler",
        metavar="CXX",
        help="the C++ compiler that nvcc uses, as in g++-13 (default: CUDAHOSTCXX, NVCC_CCBIN, else nvcc's own choice)",
    )
    parser.add_argument(
        "--no-publish",
        action="store_true",
        help="leave the wheel in the store: nothing is taken for good, and the next try may differ",
    )
    parser.add_argument("--sign", metavar="KEY", help="sign the provenance (see `wheelsmith verify --help`)")
    group = parser.add_argument_group("container")
    group.add_argument(
        "--container",
        choices=("auto", "docker", "podman", "buildah", "none"),
        default="auto",
        help="build in NVIDIA's devel image; auto (default): only where this machine has no CUDA toolkit that fits",
    )
    group.add_argument("--container-image", metavar="IMAGE", help="another image with the toolkit: mirror, digest, own")
    parser.add_argument("--verbose", action="store_true", help="show the compilers' output")


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    if options.matrix is not None:
        return _matrix(options)
    if options.requirement is None:
        raise UsageError("No package is named.", "Give one, as in `wheelsmith build cuvec`, or --matrix FILE.")
    made = wheelsmith.plan(options.requirement, **target_arguments(options))
    place = wheelsmith.choose_place(
        made, container=options.container, toolkit=options.toolkit, image=options.container_image
    )
    if place.engine is not None:
        return wheelsmith.build_in_container(
            options.words,
            made,
            place,
            index=options.index,
            store=options.store,
            recipes=options.recipes,
            sign=options.sign,
            index_url=options.index_url,
            torch_index=options.torch_index,
            cache=None if options.no_cache else options.cache,
            cache_readonly=options.cache_readonly,
            offline=options.offline,
            python=options.python,
            listener=Reporter(verbose=True),  # without a live line: what runs inside has its own
        )
    with Reporter(verbose=options.verbose, quiet=options.quiet) as listener:
        result = wheelsmith.build(
            made,
            index=options.index,
            store=options.store,
            stop_after=options.stop_after,
            publish=not options.no_publish,
            listener=listener,
            **build_arguments(options),
        )
    if options.json:
        show.as_json(result.to_dict())
    else:
        _summary(result, options.index, options.recipes)
    return 0


def build_arguments(options: argparse.Namespace) -> BuildOptions:
    """How to build, as `wheelsmith.build` and `wheelsmith.build_matrix` take it."""
    return {
        "jobs": options.jobs,
        "memory": options.memory,
        "cache": options.cache,
        "use_cache": not options.no_cache,
        "cache_readonly": options.cache_readonly,
        "offline": options.offline,
        "require_isolation": options.require_isolation,
        "index_url": options.index_url,
        "torch_index": options.torch_index,
        "toolkit": options.toolkit,
        "host_compiler": options.host_compiler,
        "sign": options.sign,
    }


def _matrix(options: argparse.Namespace) -> int:
    """Build a matrix."""
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter

    told = {"--gpu": options.gpu, "--arch": options.arch, "--python": options.python, "--cuda": options.cuda}
    told |= {"--torch": options.torch, "--option": options.option, "the package": options.requirement}
    if given := [name for name, value in told.items() if value]:
        raise UsageError(
            f"--matrix says itself what is built, and {given[0]} does too.", f"Leave {given[0]} away, or --matrix."
        )
    with Reporter(verbose=options.verbose, quiet=options.quiet) as listener:
        made = wheelsmith.build_matrix(
            options.matrix,
            cells=options.cell,
            skip_refused=options.skip_refused,
            index=options.index,
            store=options.store,
            stop_after=options.stop_after,
            environment=options.env,
            recipes=options.recipes,
            listener=listener,
            **build_arguments(options),
        )
    document = made.to_dict()
    tell_ci(document, options.report)
    if options.json:
        show.as_json(document)
    else:
        listing(made)
    return made.exit_code


def _summary(result: BuildResult, index: str, recipes: Sequence[str]) -> None:
    from wheelsmith.cli import show

    plan, tools = result.plan, result.record["toolchain"]
    how = "from the store, nothing compiled" if result.reused else f"compiled in {result.seconds:.0f} s"
    print()
    show.facts(
        [
            ("wheel", str(result.wheel)),
            ("size", f"{result.record['wheel']['size']:,} bytes"),
            ("sha256", result.record["wheel"]["sha256"]),
            ("found in it", result.record["verdict"]["headline"]),
            *_found(result),
            ("built with", f"Python {tools['python']}, CUDA {tools['cuda']}, {tools['host_compiler']}"),
            ("how", f"{how}; {result.bytes_fetched:,} bytes of sources fetched"),
            *_cache(result),
            *([("report", str(result.page))] if result.page else []),
        ]
    )
    print()
    show.proof(result.record["report"], result.record["verdict"])
    print()
    if result.published is None:
        print("not published. To try it in an empty environment, and to publish it when it is right:")
        print(f"  wheelsmith try {shlex.quote(str(result.wheel))}{_recipes(recipes)}")
        print(f"  wheelsmith publish {shlex.quote(str(result.wheel))} --index {shlex.quote(index)}")
        return
    if "://" in index:
        print("install it with pip from the address under which the bucket is served:")
        print(f"  pip install --index-url https://…/simple/ --no-deps '{plan.requirement}'")
        return
    simple = f"file://{shlex.quote(str((Path(index) / 'simple').absolute()))}"
    print("install it with pip (its own dependencies then come from your usual index):")
    print(f"  pip install --index-url {simple} --no-deps '{plan.requirement}'")
    print("or serve the directory with any static web server and give pip that URL. To try it in an empty environment:")
    print(f"  wheelsmith try '{plan.requirement}' --index {shlex.quote(index)}{_recipes(recipes)}")


def _recipes(directories: Sequence[str]) -> str:
    """The option by which another command finds the recipe: its file says what to import."""
    return "".join(f" --recipes {shlex.quote(directory)}" for directory in directories)


def _found(result: BuildResult) -> list[tuple[str, str]]:
    """What else the checks of the finished wheel said."""
    drivers: dict[str, list[str]] = {}
    for arch, driver in result.record.get("drivers", {}).items():
        if driver is not None:
            drivers.setdefault(driver, []).append(arch)
    rows = [("driver", "; ".join(f"{driver} or newer for {', '.join(archs)}" for driver, archs in drivers.items()))]
    imports = [f"{module}: {says}" for module, says in result.record.get("imports", {}).items()]
    return [row for row in [*rows, ("imports", "; ".join(imports))] if row[1]]


def _cache(result: BuildResult) -> list[tuple[str, str]]:
    use = result.record["compile"].get("cache")
    if result.reused or not use or not use["hits"] + use["misses"]:
        return []
    device = f"; below the misses {use['device_hits']} device steps of {use['device_hits'] + use['device_misses']}"
    says = f"{use['hits']} of {use['hits'] + use['misses']} objects from the compile cache"
    whose = f"; taken only from builds of this recipe of {result.plan.name}"
    if use.get("sealed_with_key"):
        whose += " by machines that have the cache's key"
    return [("cache", says + (device if use["device_hits"] else "") + whose)]
