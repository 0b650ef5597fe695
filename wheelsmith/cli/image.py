"""`wheelsmith image`: images that install from the index."""

from __future__ import annotations

import argparse
from pathlib import Path

from wheelsmith.cli.options import Commands, Parser, add_command, add_group, add_store, define, natural

_ENGINES = ("auto", "docker", "podman", "buildah")


def configure(commands: Commands[Parser]) -> None:
    """Add the command and its own commands."""
    own = add_group(commands, "image", "write, build, push and measure images that install from the index")
    _configure_render(own)
    _configure_build(own)

    push = add_command(own, "push", _push, "push it, with the engine's own login")
    push.add_argument("tag", metavar="TAG", help="name of the image, with that of its registry")
    _add_engine(push)

    sizes = add_command(own, "sizes", _sizes, "how large it is, by layer and by package")
    sizes.add_argument("image", metavar="IMAGE", help="its name or number, in the engine's store")
    _add_engine(sizes)
    sizes.add_argument("--top", type=natural, default=15, metavar="N", help="packages to show (default: 15)")

    parts = add_command(
        own,
        "parts",
        _parts,
        "write what a Dockerfile needs beside wheels: hashes, dependencies, the preflight program, their papers",
    )
    parts.add_argument("wheels", nargs="+", metavar="WHEEL", help="files of wheels that go into the image")
    parts.add_argument("--output", required=True, metavar="DIR", help="where to write it")


def _configure_render(own: Commands[Parser]) -> None:
    render = add_command(
        own, "render", _render, "write a Dockerfile that installs packages from the private index, by hash"
    )
    render.add_argument("requirements", nargs="+", metavar="PACKAGE", help="such as vllm==0.15.1+cu128")
    render.add_argument("--index-url", required=True, metavar="URL", help="of the index's simple/, no credentials")
    render.add_argument("--index", metavar="DIR", help="directory of the same index, if it is at hand")
    render.add_argument("--gpu", metavar="NAMES", help="refuse wheels that do not run natively on these")
    render.add_argument("--python", default="3.12", metavar="X.Y", help="Python of the base image (default: 3.12)")
    render.add_argument("--base", metavar="IMAGE", help="base image (default: ubuntu:24.04)")
    render.add_argument("--preflight", action="store_true", help="check GPU and driver at its start (with --output)")
    render.add_argument("--output", metavar="DIR", help="write files there (default: print the Dockerfile)")
    add_store(render)


def _configure_build(own: Commands[Parser]) -> None:
    build = add_command(own, "build", _build, "build an image with the engine that is there")
    build.add_argument(
        "directory", nargs="?", default=".", metavar="DIR", help="the context (default: the current directory)"
    )
    build.add_argument("--tag", default="", metavar="TAG", help="name of the image")
    build.add_argument("--file", metavar="DOCKERFILE", help="default: Dockerfile in the context")
    build.add_argument("--target", default="", metavar="STAGE", help="stage to stop at")
    build.add_argument(
        "--build-arg", action="append", default=[], type=define, metavar="NAME=VALUE", help="value of an ARG"
    )
    build.add_argument(
        "--secret",
        action="append",
        default=[],
        type=define,
        metavar="ID=FILE",
        help="file that RUN may mount; no layer has it",
    )
    build.add_argument("--network", choices=("default", "host", "none"), default="default", help="of RUN")
    build.add_argument("--epoch", type=int, metavar="SECONDS", help="time of every file (SOURCE_DATE_EPOCH)")
    build.add_argument("--output", metavar="DIR", help="write the stage's files there instead of keeping an image")
    _add_engine(build)


def _add_engine(parser: Parser) -> None:
    parser.add_argument("--engine", choices=_ENGINES, default="auto", help="default: the first that works")


def _render(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show
    from wheelsmith.cli.progress import Reporter
    from wheelsmith.errors import UsageError

    if options.preflight and options.output is None:
        raise UsageError("--preflight makes a second file.", "Say where to write them: --output DIR.")
    with Reporter(quiet=options.quiet) as listener:
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
    written = []
    if options.output is not None:
        directory = Path(options.output)
        written.append(show.write(directory / "Dockerfile", rendered.dockerfile))
        if rendered.preflight is not None:
            written.append(show.write(directory / "preflight.pyz", rendered.preflight))
    if options.json:
        show.as_json(
            {
                "schema_version": 1,
                "dockerfile": rendered.dockerfile,
                "requirements": [pin.requirement for pin in rendered.pins],
                "files": written,
            }
        )
    else:
        print("".join(f"{path}\n" for path in written) or rendered.dockerfile, end="")
    return 0


def _build(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    with show.only_json(options.json):
        code = wheelsmith.image_build(
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
    return _ended(options, code)


def _push(options: argparse.Namespace) -> int:
    import wheelsmith
    from wheelsmith.cli import show

    with show.only_json(options.json):
        code = wheelsmith.image_push(options.tag, engine=options.engine)
    return _ended(options, code)


def _ended(options: argparse.Namespace, code: int) -> int:
    from wheelsmith.cli import show

    if options.json:
        show.as_json({"schema_version": 1, "tag": options.tag, "exit_code": code})
    return code


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
    from wheelsmith.cli import show

    files = [str(path) for path in wheelsmith.image_parts(options.wheels, options.output)]
    if options.json:
        show.as_json({"schema_version": 1, "files": files})
    else:
        print("".join(f"{path}\n" for path in files), end="")
    return 0
