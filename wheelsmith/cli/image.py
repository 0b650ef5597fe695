"""`wheelsmith image`: images that install from the index."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wheelsmith.cli.options import add_json, add_store

_ENGINES = ("auto", "docker", "podman", "buildah")


def configure(commands: Any) -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser("image", help="write, build, push and measure images that install from the index")
    own = parser.add_subparsers(dest="image_command", required=True, metavar="COMMAND")
    _configure_render(own)
    _configure_build(own)

    push = own.add_parser("push", help="push it, with the engine's own login")
    push.add_argument("tag", metavar="TAG")
    _add_engine(push)
    push.set_defaults(execute=_push)

    sizes = own.add_parser("sizes", help="how large it is, by layer and by package")
    sizes.add_argument("image", metavar="IMAGE")
    _add_engine(sizes)
    sizes.add_argument("--top", type=int, default=15, metavar="N", help="packages to show (default: 15)")
    add_json(sizes)
    sizes.set_defaults(execute=_sizes)

    parts = own.add_parser(
        "parts",
        help="write what a Dockerfile needs beside wheels: hashes, dependencies, the preflight program, their papers",
    )
    parts.add_argument("wheels", nargs="+", metavar="WHEEL")
    parts.add_argument("--output", required=True, metavar="DIR")
    parts.set_defaults(execute=_parts)


def _configure_render(own: Any) -> None:
    render = own.add_parser("render", help="write a Dockerfile that installs packages from the private index, by hash")
    render.add_argument("requirements", nargs="+", metavar="PACKAGE", help="such as vllm==0.15.1+cu128")
    render.add_argument("--index-url", required=True, metavar="URL", help="of the index's simple/, no credentials")
    render.add_argument("--index", metavar="DIR", help="directory of the same index, if it is at hand")
    render.add_argument("--gpu", metavar="NAMES", help="refuse wheels that do not run natively on these")
    render.add_argument("--python", default="3.12", metavar="X.Y", help="Python of the base image (default: 3.12)")
    render.add_argument("--base", metavar="IMAGE", help="base image (default: ubuntu:24.04)")
    render.add_argument("--preflight", action="store_true", help="check GPU and driver at its start (with --output)")
    render.add_argument("--output", metavar="DIR", help="write files there (default: print the Dockerfile)")
    add_store(render)
    render.set_defaults(execute=_render)


def _configure_build(own: Any) -> None:
    build = own.add_parser("build", help="build an image with the engine that is there")
    build.add_argument("directory", nargs="?", default=".", metavar="DIR")
    build.add_argument("--tag", default="", metavar="TAG")
    build.add_argument("--file", metavar="DOCKERFILE")
    build.add_argument("--target", default="", metavar="STAGE")
    build.add_argument("--build-arg", action="append", default=[], type=_pair, metavar="NAME=VALUE")
    build.add_argument("--secret", action="append", default=[], type=_pair, metavar="ID=FILE")
    build.add_argument("--network", choices=("default", "host", "none"), default="default", help="of RUN")
    build.add_argument("--epoch", type=int, metavar="SECONDS", help="time of every file (SOURCE_DATE_EPOCH)")
    build.add_argument("--output", metavar="DIR", help="write the stage's files there instead of keeping an image")
    _add_engine(build)
    build.set_defaults(execute=_build)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=_ENGINES, default="auto", help="default: the first that works")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _render(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli.progress import Reporter
    from wheelsmith.errors import UsageError

    if options.preflight and options.output is None:
        raise UsageError("--preflight makes a second file.", "Say where to write them: --output DIR.")
    with Reporter() as listener:
        rendered = wheelsmith.image_render(
            options.requirements,
            index_url=options.index_url,
            gpu=options.gpu,
            index=options.index,
            python=options.python,
            image=options.base,
            preflight=options.preflight,
            store=options.store,
            listener=listener,
        )
    if options.output is None:
        print(rendered.dockerfile, end="")
        return 0
    directory = Path(options.output)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "Dockerfile").write_text(rendered.dockerfile, "utf-8")
    print(directory / "Dockerfile")
    if rendered.preflight is not None:
        (directory / "preflight.pyz").write_bytes(rendered.preflight)
        print(directory / "preflight.pyz")
    return 0


def _build(options: argparse.Namespace) -> int:
    import wheelsmith

    return wheelsmith.image_build(
        options.directory,
        options.tag,
        engine=options.engine,
        dockerfile=options.file,
        target=options.target,
        arguments=dict(options.build_arg),
        secrets=dict(options.secret),
        network=options.network,
        epoch=options.epoch,
        output=options.output,
    )


def _push(options: argparse.Namespace) -> int:
    import wheelsmith

    return wheelsmith.image_push(options.tag, engine=options.engine)


def _sizes(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    sizes = wheelsmith.image_sizes(options.image, engine=options.engine)
    if options.json:
        show.as_json(sizes.to_dict())
        return 0
    show.facts([("image", sizes.image), ("size", f"{sizes.size / 1e6:,.1f} MB")])
    print()
    show.table(
        ("layer", "made by"), ([f"{item.size / 1e6:,.1f} MB", item.made_by[:120]] for item in sizes.layers if item.size)
    )
    print()
    show.table(
        ("package", "version", "kind", "size"),
        ([item.name, item.version, item.kind, f"{item.size / 1e6:,.1f} MB"] for item in sizes.packages[: options.top]),
    )
    return 0


def _parts(options: argparse.Namespace) -> int:
    import wheelsmith

    for path in wheelsmith.image_parts(options.wheels, options.output):
        print(path)
    return 0
