"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from typing import Any


def add_target(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """The package and what to build it for."""
    parser.add_argument(
        "requirement", nargs="?" if optional else None, help="package and version, such as vllm==0.15.1"
    )
    group = parser.add_argument_group("target (defaults come from the recipe)")
    group.add_argument("--gpu", metavar="NAMES", help='GPUs, such as "RTX 5090,A40", 12.0, or native (those here)')
    group.add_argument("--arch", metavar="LIST", help='what to compile for, such as "8.6;12.0", "9.0+PTX" or a GPU')
    group.add_argument("--python", metavar="X.Y")
    group.add_argument("--cuda", metavar="X.Y", help="CUDA toolkit")
    group.add_argument("--torch", metavar="VERSION|nightly")
    group.add_argument(
        "--env",
        choices=("isolated", "current"),
        default="isolated",
        help="build with locked requirements of its own (default), or with the running interpreter's packages",
    )
    group.add_argument(
        "--option",
        metavar="NAME=on|off",
        action="append",
        default=[],
        type=_option,
        help="an option of the recipe, such as standalone=off (`wheelsmith recipes` lists them)",
    )
    group.add_argument("--recipes", metavar="DIR", action="append", default=[], help="a directory of your own recipes")


def _option(text: str) -> tuple[str, bool]:
    name, _, value = text.partition("=")
    if value not in {"on", "off"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=on or NAME=off")
    return name, value == "on"


def target_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What `wheelsmith.plan` takes, from the options of `add_target`."""
    return {
        "gpu": options.gpu,
        "arch": options.arch,
        "python": options.python,
        "cuda": options.cuda,
        "torch": options.torch,
        "environment": options.env,
        "options": dict(options.option),
        "recipes": options.recipes,
    }


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON with a schema version")


def add_store(parser: argparse.ArgumentParser) -> None:
    """`--store`."""
    parser.add_argument("--store", metavar="DIR", help="where sources, environments and results are kept")


def add_index(parser: argparse.ArgumentParser) -> None:
    """`--index`."""
    parser.add_argument(
        "--index", metavar="DIR|URL", default="dist", help="the package index: a directory or s3://… (default: dist)"
    )


def add_network(parser: argparse.ArgumentParser) -> None:
    """`--index-url` and `--toolkit`."""
    parser.add_argument("--index-url", metavar="URL", help="package index for sdists and build requirements")
    parser.add_argument("--torch-index", metavar="URL", help="package index that has the builds for --torch nightly")
    parser.add_argument(
        "--toolkit", metavar="auto|wheels|DIR", default="auto", help="where the CUDA toolkit comes from"
    )
