"""The command line's parser, and arguments that several commands share.

In: words. Out: an `argparse.Namespace`. Fails with `UsageError`, which names the nearest word that is right.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NoReturn

from wheelsmith.errors import IsolationError, UsageError, did_you_mean

if TYPE_CHECKING:
    from wheelsmith import TargetOptions

#: What a group of commands is, to whom a command is added.
Commands = argparse._SubParsersAction

_ALMOST_A_URL = re.compile(
    r"(s3|gs|az|file|redis|rediss|memory|https?)(?!://)(?::|/|(?=//)){1,2}/?(?=.)", re.IGNORECASE
)


class Parser(argparse.ArgumentParser):
    """A parser that refuses what it does not know with cause and remedy, and takes no shortened option."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        text = message.removeprefix("argument ")
        raise UsageError(f"{text[:1].upper()}{text[1:]}.", f"`{self.prog} --help` says what there is.")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            what = action.option_strings[0] if action.option_strings else (action.metavar or action.dest)
            raise UsageError(f"{what}: {value!r} is unknown.", did_you_mean(str(value), map(str, action.choices)))

    @property
    def options(self) -> list[str]:
        """Every long option that it takes."""
        return [word for action in self._actions for word in action.option_strings if word.startswith("--")]


def add_command(
    commands: Commands[Parser], name: str, execute: Callable[[argparse.Namespace], int], summary: str, **more: object
) -> Parser:
    """Add a command that `execute` runs; each takes `--json` and `--quiet`."""
    parser = commands.add_parser(name, help=summary, **more)  # type: ignore[arg-type]  # keywords of `Parser`
    add_common(parser, default=argparse.SUPPRESS)
    parser.set_defaults(execute=execute, parser=parser)
    return parser


def add_group(commands: Commands[Parser], name: str, summary: str) -> Commands[Parser]:
    """Add a command that consists of commands."""
    parser = commands.add_parser(name, help=summary, description=summary)
    return parser.add_subparsers(dest=f"{name}_command", required=True, metavar="COMMAND")


def add_common(parser: Parser, *, default: object) -> None:
    """`--json` and `--quiet`. SUPPRESS: what stands before the command is not undone by the command's own default."""
    parser.add_argument(
        "--json", action="store_true", default=default, help="print JSON (`wheelsmith schema` tells its form)"
    )
    parser.add_argument("--quiet", action="store_true", default=default, help="tell of warnings and errors only")


def add_target(parser: Parser, *, optional: bool = False) -> None:
    """The package and what to build it for."""
    parser.add_argument(
        "requirement", nargs="?" if optional else None, help="package and version, such as vllm==0.15.1"
    )
    group = parser.add_argument_group("target (defaults come from the recipe)")
    group.add_argument("--gpu", metavar="NAMES", help='GPUs, such as "RTX 5090,A40", 12.0, or native (those here)')
    group.add_argument("--arch", metavar="LIST", help='what to compile for, such as "8.6;12.0", "9.0+PTX" or a GPU')
    group.add_argument("--python", metavar="X.Y", help="the Python that it is built for and with")
    group.add_argument("--cuda", metavar="X.Y", help="release of the CUDA toolkit, such as 12.8")
    group.add_argument("--torch", metavar="VERSION|nightly", help="the torch that it is compiled against")
    group.add_argument(
        "--driver",
        metavar="VERSION|native",
        help="the driver that the wheel must run on, such as 570: it chooses CUDA and torch",
    )
    group.add_argument(
        "--local",
        metavar="LABEL",
        help="local version of the wheel (default: the recipe's, such as cu130, and what is not its default)",
    )
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


def target_arguments(options: argparse.Namespace) -> TargetOptions:
    """What `wheelsmith.plan` takes, from the options of `add_target`."""
    environment: Literal["isolated", "current"] = options.env
    return {
        "gpu": options.gpu,
        "arch": options.arch,
        "python": options.python,
        "cuda": options.cuda,
        "torch": options.torch,
        "driver": options.driver,
        "local": options.local,
        "environment": environment,
        "options": dict(options.option),
        "recipes": options.recipes,
    }


def add_store(parser: Parser) -> None:
    """`--store`."""
    parser.add_argument("--store", metavar="DIR", help="where sources, environments and results are kept")


def add_index(parser: Parser) -> None:
    """`--index`."""
    parser.add_argument(
        "--index",
        metavar="DIR|URL",
        default="dist",
        type=location,
        help="the package index: a directory or s3://… (default: dist)",
    )


def add_network(parser: Parser) -> None:
    """`--index-url` and `--toolkit`."""
    parser.add_argument("--index-url", metavar="URL", help="package index for sdists and build requirements")
    parser.add_argument("--torch-index", metavar="URL", help="package index that has the builds for --torch nightly")
    parser.add_argument(
        "--toolkit", metavar="auto|wheels|DIR", default="auto", help="where the CUDA toolkit comes from"
    )


def add_jobs(parser: Parser) -> None:
    """`--jobs`."""
    parser.add_argument("--jobs", type=natural, metavar="N", help="compilers at once (default: what fits)")


def natural(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def location(text: str) -> str:
    """A directory or a URL; what is almost a URL is a slip of the hand, not a directory of that name."""
    if not text:
        raise argparse.ArgumentTypeError("the location is empty")
    almost = _ALMOST_A_URL.match(text)
    if almost is not None:
        meant = f"{almost[1].lower()}://{text[almost.end() :].lstrip('/')}"
        raise UsageError(f"{text!r} is no URL.", f"Did you mean {meant}? For a directory of that name write ./{text}.")
    return text


def define(text: str) -> tuple[str, str]:
    """`NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def unknown_words(parser: Parser, words: Sequence[str]) -> UsageError:
    """What to say of words that no command understands."""
    option = next((word for word in words if word.startswith("-")), None)
    if option is None:
        return UsageError(
            f"`{parser.prog}` does not take {' '.join(map(repr, words))}.",
            f"`{parser.prog} --help` says what it takes.",
        )
    name = option.partition("=")[0]
    return UsageError(f"`{parser.prog}` has no option {name}.", did_you_mean(name, parser.options))


def add_isolation(parser: argparse.ArgumentParser) -> None:
    """Add the option that refuses to run strangers' code unconfined."""
    parser.add_argument(
        "--require-isolation",
        action="store_true",
        help=f"refuse (exit code {IsolationError.exit_code}) where the kernel allows no confinement of the build",
    )
